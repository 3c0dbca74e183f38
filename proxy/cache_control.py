"""The ``Cache-Control`` header, of requests and of upstream's answers (RFC 9111, section 5.2).

Pure functions; the text is untrusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 2**31
"""Seconds; a larger number counts as this one (RFC 9111, section 1.2.2)."""

_DIRECTIVE = re.compile(r'([^\s,=;"]+)(?:\s*=\s*("[^"]*"|[^\s,]*))?')
_NUMBER = re.compile(r"[0-9]+", re.ASCII)


def directives(lines: Iterable[str]) -> dict[str, str]:
    """The directives of all lines, in lowercase; of one given twice, the first counts."""
    found: dict[str, str] = {}
    for name, value in _DIRECTIVE.findall(",".join(lines)):
        found.setdefault(name.lower(), value.strip('"'))
    return found


def delta_seconds(text: str | None) -> float | None:
    """A number of seconds (RFC 9111, section 1.2.2); None for anything else."""
    text = (text or "").strip()
    if not _NUMBER.fullmatch(text):
        return None
    return float(LONGEST if len(text) > 10 else min(int(text), LONGEST))
