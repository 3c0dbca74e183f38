"""Makes pages of parsed values, of JSON and HTML alike: malformed values and refused files go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from proxy.distributions import version_of
from proxy.model import (
    EXTRA_SUFFIXES,
    File,
    ProjectName,
    ProjectPage,
    ProjectStatus,
    distribution_of,
)
from proxy.simple.urls import origin, roots

MAX_FILES = 250_000
"""Files of a page; the largest projects of PyPI have about 30,000."""
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
_UPLOAD_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z\Z"
)
_PAIRS = re.compile(r"(?:\A|&)([A-Za-z0-9]+)=([^&]*)")
_FRAGMENT = re.compile(r"(?:\A|&)([a-z0-9]+)=([0-9a-fA-F]+)(?=&|\Z)")
_MAJOR_ONE = re.compile(r"0*1(?:\.[0-9]+)*\Z")

MAX_SIZE = 2**63 - 1
"""Bytes of a file; a larger value is a mistake."""
_MAX_DEPTH = 32


def make_page(
    project: ProjectName,
    files: Iterable[File],
    *,
    versions: Any = None,
    status: ProjectStatus | None,
    source: str,
    meta: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> ProjectPage:
    """A page of these files. The first file of a name counts: later ones cannot drop its digest.

    A quarantined project has no files (PEP 792). Versions that are not a list of texts are
    replaced with those of the file names.
    """
    if status is not None and status.status == QUARANTINED:
        files = ()
    listed = tuple(files)
    if len({file.filename for file in listed}) < len(listed):
        by_name: dict[str, File] = {}
        for file in listed:
            by_name.setdefault(file.filename, file)
        listed = tuple(by_name.values())
    if not isinstance(versions, list) or not set(map(type, versions)) <= {str}:
        found = (version_of(file.filename, project) for file in listed)
        versions = dict.fromkeys(version for version in found if version)
    return ProjectPage(
        project,
        listed,
        tuple(versions),
        status,
        source,
        meta=meta or {},
        extra=extra or {},
    )


def gather_extra_files(page: ProjectPage) -> ProjectPage:
    """The page with listed signatures and the like as files beside their distributions.

    Those at another address than beside the distribution stay files of their own.
    """
    by_name = {file.filename: file for file in page.files}
    beside: dict[str, list[str]] = {}
    for file in page.files:
        owner = by_name.get(distribution_of(file.filename))
        suffix = file.filename.removeprefix(owner.filename) if owner else ""
        if owner and suffix in EXTRA_SUFFIXES and file.url == owner.url + suffix:
            beside.setdefault(owner.filename, []).append(suffix)
    if not beside:
        return page
    gone = {name + suffix for name, suffixes in beside.items() for suffix in suffixes}
    files = (_with_beside(file, beside.get(file.filename, ())) for file in page.files)
    kept = tuple(file for file in files if file.filename not in gone)
    return msgspec.structs.replace(page, files=kept)


def _with_beside(file: File, suffixes: Iterable[str]) -> File:
    found = tuple(sorted({*file.beside, *suffixes}))
    return file if found == file.beside else msgspec.structs.replace(file, beside=found)


def without_extra_files(page: ProjectPage) -> ProjectPage:
    """The page without announcements of further files beside distributions."""
    if not any(file.beside for file in page.files):
        return page
    files = (msgspec.structs.replace(file, beside=()) for file in page.files)
    return msgspec.structs.replace(page, files=tuple(files))


def drop_refused_hosts(
    page: ProjectPage, allowed: Callable[[str], bool]
) -> tuple[ProjectPage, list[File]]:
    """The page without the files on refused servers, and those files, for the log.

    ``allowed`` is called once for each ``https://host[:port]``. A provenance address on a refused
    server is removed from its file.
    """
    provenance = [file.provenance for file in page.files if file.provenance]
    servers = roots([*(file.url for file in page.files), *provenance])
    if all(allowed(server.rstrip("/")) for server in servers):
        return page, []
    ask = lru_cache(maxsize=None)(allowed)
    kept: list[File] = []
    refused: list[File] = []
    for file in page.files:
        if not ask(origin(file.url)):
            refused.append(file)
        elif file.provenance and not ask(origin(file.provenance)):
            kept.append(msgspec.structs.replace(file, provenance=None))
        else:
            kept.append(file)
    return msgspec.structs.replace(page, files=tuple(kept)), refused


def clean_text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def clean_hashes(value: Any) -> dict[str, str]:
    """Algorithm to lowercase hex. Digests of known algorithms must have the right length."""
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


def only_bad_hashes(value: Any) -> bool:
    """Whether a file has digests of known algorithms, and all are malformed.

    A file without digests is accepted as it is; a file with malformed ones is not trusted.
    """
    if isinstance(value, str):
        value = dict(_PAIRS.findall(value))
    if not isinstance(value, Mapping):
        return False
    known = {name: each for name, each in value.items() if each and name.lower() in _HEX_LENGTHS}
    return bool(known) and not clean_hashes(known)


def fragment_hashes(fragment: str) -> dict[str, str]:
    """The hashes of known algorithms in ``sha256=…``, the fragment of an address."""
    return {
        name: hex
        for name, hex in clean_hashes(dict(_FRAGMENT.findall(fragment))).items()
        if name in _HEX_LENGTHS
    }


def clean_metadata(candidates: Iterable[Any]) -> bool | dict[str, str]:
    """The first well-formed value of several keys with the same meaning (PEP 714)."""
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
    """``yyyy-mm-ddThh:mm:ss[.ffffff]Z`` (PEP 700), from any ISO 8601 time with an offset.

    None for the first and the last year, which have no date in every zone and rounding.
    """
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        if time.year in (MINYEAR, MAXYEAR):
            return None
        if _UPLOAD_TIME.match(value):
            return value
        utc = time.astimezone(UTC) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None
    return utc.isoformat().replace("+00:00", "Z") if utc else None


def clean_status(value: Any, reason: Any = None) -> ProjectStatus | None:
    """The status (PEP 792), from ``{"status": …, "reason": …}`` or from two single values."""
    if isinstance(value, Mapping):
        value, reason = value.get("status"), value.get("reason")
    return ProjectStatus(value, clean_text(reason)) if value in STATUSES else None


def is_supported_version(version: Any) -> bool:
    """Whether an API version (PEP 629) is supported; an absent version counts as 1.0."""
    if isinstance(version, bool) or not isinstance(version, (str, int, float)):
        return True
    return _MAJOR_ONE.match(str(version)) is not None


def unknown_keys(found: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """All other values, without those that are nested so deeply that encoding could fail."""
    return {
        k: value for k, value in found.items() if k not in known and _shallow(value, _MAX_DEPTH)
    }


def _shallow(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return levels > 0 and all(_shallow(item, levels - 1) for item in value)
