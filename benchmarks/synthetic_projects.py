"""Projects that exist as soon as they are named: ``made-<files>x<bytes>-<serial>``.

Their pages, files and core metadata follow from the name alone and are the same on every run.
"""

from __future__ import annotations

import hashlib
import random
import re
from functools import lru_cache
from typing import Any, NamedTuple

_PROJECT = re.compile(r"made-(\d{1,5})x(\d{1,9})-(\d{1,6})")
_WHEEL = re.compile(r"made_(\d{1,5})x(\d{1,9})_(\d{1,6})-(\d+\.\d+)-py3-none-any\.whl")
_TAIL = 128
"""Bytes at the end of a file in which it differs from all others of its size."""
_PROSE = "This text has no meaning, but it has a usual length.\n" * 24


class Shown(NamedTuple):
    """A file as its page lists it."""

    filename: str
    sha256: str
    size: int
    metadata_sha256: str
    requires_python: str = ">=3.8"
    yanked: bool = False


def project(files: int, size: int = 11_264, serial: int = 0) -> str:
    return f"made-{files}x{size}-{serial}"


def listing(name: str) -> list[Shown] | None:
    """The files of the project; ``None`` if the name is not one of ours."""
    found = _PROJECT.fullmatch(name)
    if not found:
        return None
    files, size, _ = map(int, found.groups())
    return [_shown(f"{name.replace('-', '_')}-{_version(i)}", size) for i in range(files)]


def content(filename: str) -> tuple[bytes, int, bytes] | None:
    """Its bytes as a block, how much of the block counts, and a tail; ``None`` if not ours."""
    found = _WHEEL.fullmatch(filename)
    if not found:
        return None
    size = int(found[2])
    return _block(size), size - _TAIL, _tail(filename)


def metadata(filename: str) -> bytes | None:
    found = _WHEEL.fullmatch(filename)
    if not found:
        return None
    name = f"made-{found[1]}x{found[2]}-{found[3]}"
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {found[4]}\n\n{_PROSE}".encode()


def entry(file: Shown, files_url: str) -> dict[str, Any]:
    """The file as a JSON page has it, with all that the large index says about a file."""
    fields = {
        "core-metadata": {"sha256": file.metadata_sha256},
        "data-dist-info-metadata": {"sha256": file.metadata_sha256},
        "filename": file.filename,
        "hashes": {"sha256": file.sha256},
        "provenance": None,
        "requires-python": file.requires_python,
        "size": file.size,
        "upload-time": "2024-01-02T03:04:05.678901Z",
        "url": f"{files_url}{file.sha256[:2]}/{file.sha256[2:4]}/{file.sha256[4:]}/{file.filename}",
        "yanked": file.yanked,
    }
    if not file.metadata_sha256:
        fields["core-metadata"] = fields["data-dist-info-metadata"] = False
    return fields


def _version(number: int) -> str:
    return f"{number // 50}.{number % 50}"


def _shown(stem: str, size: int) -> Shown:
    filename = f"{stem}-py3-none-any.whl"
    digest = _digest(size).copy()
    digest.update(_tail(filename))
    beside = metadata(filename)
    assert beside is not None
    return Shown(filename, digest.hexdigest(), size, hashlib.sha256(beside).hexdigest())


def _tail(filename: str) -> bytes:
    return filename.encode().rjust(_TAIL, b"\0")


@lru_cache(maxsize=16)
def _block(size: int) -> bytes:
    """Incompressible bytes of that size."""
    noise = random.Random(1).randbytes(min(max(size, 1), 2**20))
    return (noise * (size // len(noise) + 1))[:size]


@lru_cache(maxsize=16)
def _digest(size: int) -> Any:
    return hashlib.sha256(memoryview(_block(size))[: size - _TAIL])
