"""Documents of PyPI's JSON API as an upstream sends them: what of them is true of our files too.

The page decides which releases and files there are, under the rules of its index. A document of
upstream only adds what a page does not have: descriptions, vulnerabilities, further digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from proxy.distributions import same_version

JsonDocument = dict[str, Any]

_FROM_PAGE = ("filename", "url", "yanked", "yanked_reason", "core-metadata")
"""Values of a file that the page alone decides, also where it has none."""


def parse_document(data: bytes) -> JsonDocument | None:
    """The document, if the bytes are one; its values may still be of any type."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    if isinstance(found, dict) and isinstance(found.get("info"), dict):
        return found
    return None


def is_about(theirs: JsonDocument, ours: JsonDocument) -> bool:
    """Whether upstream's ``info`` is about the release of our document: the same version, and at
    least one file with the same bytes. Else it may be of another project with the same name."""
    version = theirs["info"].get("version")
    if not isinstance(version, str) or not same_version(version[:255], ours["info"]["version"]):
        return False
    known = _by_bytes(theirs)
    return any(_identity(each) in known for each in ours["urls"])


def completed(ours: JsonDocument, theirs: JsonDocument) -> JsonDocument:
    """Our document with what upstream's has besides; ``is_about`` has to be true of them."""
    known = _by_bytes(theirs)
    info = {**theirs["info"], **{key: ours["info"][key] for key in ("yanked", "yanked_reason")}}
    found = {**theirs, "info": {**info, "version": ours["info"]["version"]}}
    found.pop("releases", None)
    found["urls"] = _completed_files(ours["urls"], known)
    if "releases" in ours:
        found["releases"] = {
            version: _completed_files(files, known) for version, files in ours["releases"].items()
        }
    return found


def _completed_files(
    files: Sequence[JsonDocument], known: Mapping[tuple[str, str], JsonDocument]
) -> list[JsonDocument]:
    return [_completed_file(each, known.get(_identity(each), {})) for each in files]


def _completed_file(ours: JsonDocument, theirs: JsonDocument) -> JsonDocument:
    decided = {key: value for key, value in ours.items() if value is not None or key in _FROM_PAGE}
    digests = theirs.get("digests")
    more = digests if isinstance(digests, dict) else {}
    return {**ours, **theirs, **decided, "digests": {**more, **ours["digests"]}}


def _by_bytes(document: JsonDocument) -> dict[tuple[str, str], JsonDocument]:
    """The files of all releases by name and sha256."""
    return {_identity(each): each for each in _files(document) if _identity(each)[1]}


def _files(document: JsonDocument) -> Iterator[JsonDocument]:
    releases = document.get("releases")
    lists = [document.get("urls"), *(releases.values() if isinstance(releases, dict) else ())]
    for files in lists:
        if isinstance(files, list):
            yield from (each for each in files if isinstance(each, dict))


def _identity(file: JsonDocument) -> tuple[str, str]:
    digests = file.get("digests")
    sha256 = digests.get("sha256") if isinstance(digests, dict) else None
    name = file.get("filename")
    return (name, sha256) if isinstance(name, str) and isinstance(sha256, str) else ("", "")
