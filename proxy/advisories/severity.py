"""How severe a fault is: a CVSS base score, from vectors (CVSS 2 to 4) or from a word.

The ``cvss`` package (LGPL-3.0-or-later) computes scores; it is optional, and imported here only.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec

import msgspec

BANDS = {"critical": 9.0, "high": 7.0, "medium": 4.0, "low": 0.1}
"""The lowest score of each band (CVSS 3.1, section 5)."""
_WORDS = {"CRITICAL": 9.0, "HIGH": 7.0, "MODERATE": 4.0, "MEDIUM": 4.0, "LOW": 0.1}
_NEWEST_FIRST = ("CVSS_V4", "CVSS_V3", "CVSS_V2")
_LONGEST_VECTOR = 512
"""Characters; the longest meaningful vector has about 200."""


class Severity(msgspec.Struct):
    """An entry of ``severity`` in a record."""

    type: str = ""
    score: str = ""
    """A vector such as ``CVSS:3.1/AV:N/...``, not a number."""


def can_compute() -> bool:
    """Whether the ``cvss`` package is installed."""
    return find_spec("cvss") is not None


def score_of(entries: Iterable[Severity]) -> float | None:
    """The highest base score of the newest CVSS version that has a usable vector."""
    given = list(entries)
    for kind in _NEWEST_FIRST:
        scores = [_base_score(kind, each.score) for each in given if each.type == kind]
        known = [score for score in scores if score is not None]
        if known:
            return max(known)
    return None


def score_of_word(word: object) -> float | None:
    """The lowest score of a band, from a word of GitHub's advisories."""
    return _WORDS.get(word.upper()) if isinstance(word, str) else None


def band_of(score: float | None) -> str:
    """``unknown`` for None, ``none`` for a score of 0."""
    if score is None:
        return "unknown"
    return next((band for band, lowest in BANDS.items() if score >= lowest), "none")


@lru_cache(maxsize=16_384)
def _base_score(kind: str, vector: str) -> float | None:
    """None for a vector that is malformed."""
    if len(vector) > _LONGEST_VECTOR:
        return None
    import cvss

    classes = {"CVSS_V2": cvss.CVSS2, "CVSS_V3": cvss.CVSS3, "CVSS_V4": cvss.CVSS4}
    try:
        calculated = classes[kind](vector)
        return float(calculated.base_score)
    except Exception:  # noqa: BLE001 (hostile vectors raise anything)
        return None
