"""Single values of other people's pages: the well-formed come through, the rest is unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from proxy.model import ProjectStatus

STATUSES = ("active", "archived", "quarantined", "deprecated")
QUARANTINED = "quarantined"

_HEX_LENGTHS = {
    "sha512": 128,
    "sha384": 96,
    "sha256": 64,
    "sha224": 56,
    "blake2b": 64,
    "sha1": 40,
    "md5": 32,
}
_HEX = re.compile(r"[0-9a-f]+\Z")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z\Z")
_PAIRS = re.compile(r"(?:\A|&)([A-Za-z0-9]+)=([^&]*)")
_FRAGMENT = re.compile(r"(?:\A|&)([a-z0-9]+)=([0-9a-fA-F]+)(?=&|\Z)")
_MAJOR_ONE = re.compile(r"0*1(?:\.[0-9]+)*\Z")

MAX_SIZE = 2**63 - 1
"""Bytes of a file; more is a mistake."""
_MAX_DEPTH = 32


def clean_text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def clean_hashes(value: Any) -> dict[str, str]:
    """Algorithm to lowercase hex. Of algorithms we know the length has to be right, too."""
    if not isinstance(value, Mapping):
        return {}
    found = {
        name.lower(): digits.lower()
        for name, digits in value.items()
        if isinstance(name, str) and isinstance(digits, str)
    }
    return {
        name: digits
        for name, digits in found.items()
        if _HEX.match(digits) and len(digits) == _HEX_LENGTHS.get(name, len(digits))
    }


def only_bad_hashes(told: Any) -> bool:
    """Whether the digests that are told cannot be checked, since none of them is one.

    A file without any is taken at its index's word; one with these is not to be trusted.
    """
    if isinstance(told, str):
        told = dict(_PAIRS.findall(told))
    if not isinstance(told, Mapping):
        return False
    known = {
        name: digits for name, digits in told.items() if digits and name.lower() in _HEX_LENGTHS
    }
    return bool(known) and not clean_hashes(known)


def fragment_hashes(fragment: str) -> dict[str, str]:
    """The hashes of algorithms we know in ``sha256=…``, the fragment of an address."""
    return {
        name: hex
        for name, hex in clean_hashes(dict(_FRAGMENT.findall(fragment))).items()
        if name in _HEX_LENGTHS
    }


def clean_metadata(candidates: Iterable[Any]) -> bool | dict[str, str]:
    """PEP 714: the first of several keys of the same meaning that is well-formed."""
    for value in candidates:
        if isinstance(value, bool):
            return value
        if known := clean_hashes(value):
            return known
    return False


def clean_size(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= MAX_SIZE else None


def clean_yanked(value: Any) -> bool | str:
    return value if isinstance(value, (bool, str)) and value else False


def clean_upload_time(value: Any) -> str | None:
    """PEP 700's ``yyyy-mm-ddThh:mm:ss[.ffffff]Z``, from any ISO 8601 that names its offset."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        if _TIME.match(value):
            return value
        utc = time.astimezone(UTC) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None
    return utc.isoformat().replace("+00:00", "Z") if utc else None


def clean_status(value: Any, reason: Any = None) -> ProjectStatus | None:
    """PEP 792, from ``{"status": …, "reason": …}`` or from the two by themselves."""
    if isinstance(value, Mapping):
        value, reason = value.get("status"), value.get("reason")
    return ProjectStatus(value, clean_text(reason)) if value in STATUSES else None


def is_supported_version(version: Any) -> bool:
    """Whether an API version (PEP 629) is one we understand; an absent one is 1.0."""
    if isinstance(version, bool) or not isinstance(version, (str, int, float)):
        return True
    return _MAJOR_ONE.match(str(version)) is not None


def unknown_keys(found: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """What else there is, but for what is nested so deeply that writing it could fail."""
    return {
        k: value for k, value in found.items() if k not in known and _shallow(value, _MAX_DEPTH)
    }


def _shallow(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return levels > 0 and all(_shallow(item, levels - 1) for item in value)
