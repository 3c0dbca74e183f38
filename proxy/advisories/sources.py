"""Documents of advisories from a folder or a zip archive, within limits."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MAX_RECORDS = 1_000_000
MAX_TOTAL = 2**30
"""Bytes of all records, unpacked."""
MAX_RECORD = 8 * 2**20
"""Bytes of one record; the largest of PyPI have a few hundred thousand."""
MAX_ARCHIVE = 512 * 2**20
"""Bytes of an archive; that of PyPI has about 32 million."""

_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError),
    OverflowError,
)


class UnusableAdvisories(Exception):
    """The source cannot be used as a whole; the message says why."""


def read_documents(
    source: Path, max_records: int = MAX_RECORDS, max_total: int = MAX_TOTAL
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all ``.json`` files of a folder or zip archive, at any depth.

    ``max_total``: bytes of all. Raises ``UnusableAdvisories`` and ``OSError``.
    """
    left = max_total
    count = 0
    for name, data in _of_folder(source) if source.is_dir() else _of_archive(source):
        count, left = count + 1, left - len(data)
        if count > max_records or left < 0:
            raise UnusableAdvisories(
                f"it has more than {max_records} records, or more than {max_total} bytes of them"
            )
        yield name, data


def state_of(source: Path) -> str:
    """A text that differs when the folder or archive has changed. Raises ``OSError``."""
    if not source.is_dir():
        found = source.stat()
        return f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"
    newest, count = 0, 0
    for path in _paths(source):
        found = path.stat()
        newest, count = max(newest, found.st_mtime_ns, found.st_ctime_ns), count + 1
    return f"{newest}-{count}"


def _paths(folder: Path) -> Iterator[Path]:
    """In a fixed order; links to folders are not followed."""

    def fail(error: OSError) -> None:
        raise error

    for base, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        for name in sorted(files):
            if name.endswith(".json"):
                yield Path(base, name)


def _of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in _paths(folder):
        with path.open("rb") as file:
            name = _printable(path.name)
            yield name, _limited(file, name)


def _of_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.stat().st_size > MAX_ARCHIVE:
        raise UnusableAdvisories(f"the archive has more than {MAX_ARCHIVE} bytes")
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".json"):
                    with archive.open(info) as member:
                        name = _printable(info.filename)
                        yield name, _limited(member, name)
    except _BROKEN as error:
        raise UnusableAdvisories("it is not a complete, valid zip archive") from error


def _printable(name: str) -> str:
    """For messages: names are hostile, and those of files may be no text."""
    return name.encode("ascii", "backslashreplace").decode() if name.isprintable() else ascii(name)


def _limited(file: IO[bytes], name: str) -> bytes:
    data = file.read(MAX_RECORD + 1)
    if len(data) > MAX_RECORD:
        raise UnusableAdvisories(f"{name} has more than {MAX_RECORD} bytes")
    return data
