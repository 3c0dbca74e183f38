"""Files as PyPI's pages in JSON list them, checked in batches.

C code checks one property of all files of a batch at a time. Checks of each property of each
file would take ten times as long for a page of 10,000 files.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from proxy.distributions import is_plain_filename, plain_filename_pattern
from proxy.model import File, ProjectName, Sha256
from proxy.simple.page import MAX_SIZE
from proxy.simple.urls import are_plain, joined

BATCH_SIZE = 256
"""Files of a batch. One unusual file causes a second check of others in the same batch."""
COMPILE_PATTERN_FROM = 300
"""Files of a page from which on compiling a pattern for the project takes less time."""


class FileRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True, rename="kebab"):
    filename: str
    url: str
    hashes: Sha256
    requires_python: str | None = None
    core_metadata: bool | Sha256 | None = None
    data_dist_info_metadata: msgspec.Raw = msgspec.Raw(b"null")
    """The older name of the same field; not decoded if the newer one is present."""
    size: Annotated[int, Meta(ge=0, le=MAX_SIZE)] | None = None
    upload_time: str | None = None
    yanked: bool | str | None = None
    provenance: str | None = None


_decode_metadata = msgspec.json.Decoder(bool | Sha256 | None).decode
Named = Callable[[Sequence[str]], bool]
Examine = Callable[[FileRecord], File | None]


def fill_metadata(files: Sequence[FileRecord]) -> None:
    """Fill ``core_metadata`` from the field's older name. Raises ``ValidationError``."""
    for file in files:
        if file.core_metadata is None:
            file.core_metadata = _decode_metadata(file.data_dist_info_metadata)


def resolve_addresses(files: Sequence[FileRecord], base: str) -> None:
    """Make relative addresses absolute, on pages that have them."""
    if not files or files[0].url.startswith("http"):
        return
    for file in files:
        file.url = joined(base, file.url) or file.url
        if file.provenance:
            file.provenance = joined(base, file.provenance) or file.provenance


def convert_files(
    project: ProjectName, files: Sequence[FileRecord], examine: Examine
) -> list[File]:
    """Ordinary files as they are; ``examine`` converts the others, or drops them (None)."""
    named = _by_pattern(project) if len(files) >= COMPILE_PATTERN_FROM else _one_by_one(project)
    shared: dict[str, str] = {}  # a page has few different texts, each thousands of times
    found: list[File] = []
    for start in range(0, len(files), BATCH_SIZE):
        for part in _sorted_out(files[start : start + BATCH_SIZE], named):
            if isinstance(part, FileRecord):
                found.extend(filter(None, [examine(part)]))
            else:
                found.extend([_file(file, shared) for file in part])
    return found


def _sorted_out(
    files: Sequence[FileRecord], named: Named
) -> Iterator[Sequence[FileRecord] | FileRecord]:
    """Ordinary files in runs, and all other files one by one."""
    if _are_ordinary(files, named):
        yield files
    elif len(files) == 1:
        yield files[0]
    else:
        half = len(files) // 2
        yield from _sorted_out(files[:half], named)
        yield from _sorted_out(files[half:], named)


def _file(file: FileRecord, shared: dict[str, str]) -> File:
    metadata, python = file.core_metadata, file.requires_python
    return File(
        file.filename,
        file.url,
        file.hashes,
        file.size,
        shared.setdefault(python, python) if python else None,
        file.upload_time or None,
        file.yanked or False,
        False if metadata is None or not file.filename.endswith(".whl") else metadata,
        file.provenance or None,
    )


def _are_ordinary(files: Sequence[FileRecord], named: Named) -> bool:
    """Whether no value of these files needs a closer check."""
    metadata = [file.core_metadata for file in files]
    digests = [each.sha256 for each in metadata if type(each) is Sha256]
    provenance = [file.provenance for file in files if file.provenance]
    return (
        named([file.filename for file in files])
        and are_plain([*[file.url for file in files], *provenance])
        and _are_digests([*[file.hashes.sha256 for file in files], *digests])
        and _are_times([file.upload_time for file in files if file.upload_time])
    )


def _are_digests(texts: Sequence[str]) -> bool:
    """Whether all texts, whose lengths are checked already, are lowercase hex."""
    return not "".join(texts).encode().translate(None, b"0123456789abcdef")


_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_ODD_YEARS = (b"0001-", b"9999-")
_SHAPES = {b"0000-00-00T00:00:00Z"} | {
    b"0000-00-00T00:00:00.%bZ" % (b"0" * digits) for digits in range(1, 7)
}


def _are_times(texts: Sequence[str]) -> bool:
    """Whether all are times in the form of PEP 700, and none in the first or last year."""
    joined = "\n".join(texts).encode()
    if texts and not _SHAPES.issuperset(joined.translate(_AS_ZEROS).split(b"\n")):
        return False
    if joined.startswith(_ODD_YEARS) or any(b"\n%b" % year in joined for year in _ODD_YEARS):
        return False
    try:
        deque(map(datetime.fromisoformat, texts), maxlen=0)  # a loop for C alone
    except ValueError:
        return False
    return True


@lru_cache(maxsize=64)
def _by_pattern(project: ProjectName) -> Named:
    """A check that file names are plainly of the project, by a compiled pattern."""
    match = re.compile(rf"(?:{plain_filename_pattern(project)}\n)*\Z").match

    def named(filenames: Sequence[str]) -> bool:
        lines = "\n".join([*filenames, ""])
        return bool(match(lines)) and lines.count("\n") == len(filenames)

    return named


def _one_by_one(project: ProjectName) -> Named:
    """The same check without a compiled pattern, for few files."""
    return lambda filenames: all(is_plain_filename(name, project) for name in filenames)
