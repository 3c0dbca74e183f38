"""The files of published packages on disk. Every change is durable when its function returns.

All functions block, and raise ``OSError``.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from proxy.model import SIBLING_SUFFIXES, YANKED_SUFFIX, File

SIDECARS = (*SIBLING_SUFFIXES, YANKED_SUFFIX)


def path_of(file: File) -> Path:
    """The place of a private file."""
    return Path(unquote(urlsplit(file.url).path))


def write_durably(path: Path, data: bytes) -> None:
    """Write a small file as a whole: after a crash it is the old one or the new one."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_durably(path: Path) -> None:
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names durable that were added to a folder, or removed."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def folder_below(root: Path, path: Path) -> str:
    """The folder of a listed file as the journal has it: below the root, unless a link leads out
    of that."""
    folder = path.parent
    return str(folder.relative_to(root) if folder.is_relative_to(root) else folder)


def place(source: Path, target: Path, beside: Mapping[str, bytes], *, replace: bool) -> None:
    """Give a file its name in the folder of its project, after the files beside it.

    The bytes of ``source`` are durable already. The caller keeps other writers out: a hard link
    would notice them, but change the times of a file that is listed already when ``source`` is
    removed. Raises ``FileExistsError`` unless ``replace``.
    """
    if not replace and target.exists():
        raise FileExistsError(target)
    # The files beside the former bytes do not belong to the new ones.
    put_beside(target, beside, alone=replace)
    source.chmod(0o644)
    source.rename(target)
    sync_folder(target.parent)


def put_beside(target: Path, beside: Mapping[str, bytes], *, alone: bool = False) -> None:
    """Write files beside a distribution; ``alone``: remove those of other suffixes."""
    if alone:
        remove_sidecars(target, set(SIDECARS) - beside.keys())
    for suffix, data in beside.items():
        write_durably(target.with_name(target.name + suffix), data)


def sidecars_of(path: Path) -> dict[str, bytes]:
    """The files beside a distribution, by suffix."""
    found = {}
    for suffix in SIDECARS:
        with suppress(FileNotFoundError):
            found[suffix] = path.with_name(path.name + suffix).read_bytes()
    return found


def remove_sidecars(target: Path, suffixes: Iterable[str] = SIDECARS) -> None:
    for suffix in suffixes:
        target.with_name(target.name + suffix).unlink(missing_ok=True)


def move_with_sidecars(source: Path, folder: Path) -> None:
    """Move a file into a folder of the same file system, and then the files beside it.

    The file moves first: files beside it are not listed without it. If it is there already, the
    rest is moved, as after a kill.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if source.exists():  # then what is there is of an earlier removal of the same bytes
        remove_sidecars(folder / source.name)
        (folder / source.name).unlink(missing_ok=True)  # of two links of one file none is renamed
        source.rename(folder / source.name)
    for suffix in SIDECARS:
        _move(source.with_name(source.name + suffix), folder)
    sync_folder(folder)
    sync_folder(source.parent)


def bring_back(folder: Path, filename: str, target: Path) -> None:
    """Undo ``move_with_sidecars``; the file goes last."""
    for suffix in SIDECARS:
        _move(folder / (filename + suffix), target.parent)
    (folder / filename).rename(target)
    sync_folder(target.parent)
    remove_empty(folder)


def keep_copy(source: Path, folder: Path) -> None:
    """Keep a file that is about to be replaced in a folder too, with its sidecars."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for suffix, data in sidecars_of(source).items():
        write_durably(folder / (source.name + suffix), data)
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        temporary.hardlink_to(source)
    except OSError:  # a file system without links
        shutil.copy2(source, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    temporary.replace(folder / source.name)
    temporary.unlink(missing_ok=True)  # of two links of one file none is renamed
    sync_folder(folder)
    sync_folder(folder.parent)


def _move(path: Path, folder: Path) -> None:
    with suppress(FileNotFoundError):
        path.rename(folder / path.name)


def remove_unfinished(folder: Path) -> None:
    """Remove what ``write_durably`` was writing when its process was killed."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def remove_with_sidecars(path: Path) -> None:
    """Remove a deleted file, the files beside it, and its folder if that is empty then."""
    remove_sidecars(path)
    path.unlink(missing_ok=True)
    remove_empty(path.parent)


def remove_empty(folder: Path) -> None:
    with suppress(OSError):  # the folder has other files
        folder.rmdir()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
