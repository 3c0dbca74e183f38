"""Which files of a tree are ours: a list of paths, kept in the tree itself. Blocks on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Set
from pathlib import Path, PurePosixPath

import msgspec

from proxy.errors import ConfigurationError

STATE_FOLDER = ".waystation"
"""Below the root: the manifest, a lock, and the one file that is not finished yet."""

PART_FOLDER = f"{STATE_FOLDER}/part"
_MANIFEST = f"{STATE_FOLDER}/manifest.json"
_FORMAT = 1


class _ExportedFile(msgspec.Struct):
    format: int
    paths: list[str]


def load_manifest(root: Path) -> Set[str] | None:
    """The paths below ``root`` that are ours; None if nothing is known.

    Raises ``ConfigurationError`` for a list that we cannot have written.
    """
    try:
        data = (root / _MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        record = msgspec.json.decode(data, type=_ExportedFile)
    except msgspec.MsgspecError as error:
        raise _unreadable(root) from error
    if record.format != _FORMAT or not all(map(_is_inside, record.paths)):
        raise _unreadable(root)
    return set(record.paths)


def save_manifest(root: Path, paths: Iterable[str]) -> None:
    """Replace the list. Raises ``OSError``."""
    record = msgspec.json.encode(_ExportedFile(_FORMAT, sorted(paths)))
    part = root / PART_FOLDER
    part.write_bytes(msgspec.json.format(record, indent=1))
    os.replace(part, root / _MANIFEST)  # noqa: PTH105 (both sides are paths already)


def _is_inside(path: str) -> bool:
    """Files that are listed get removed, so a path must not lead out of the tree."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and pure.parts[0] not in ("/", STATE_FOLDER) and ".." not in pure.parts


def _unreadable(root: Path) -> ConfigurationError:
    problem = f"{root / _MANIFEST}, which lists what is ours there, cannot be read"
    return ConfigurationError("DIR", problem, "name an empty or new directory")
