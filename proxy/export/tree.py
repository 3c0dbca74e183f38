"""The folder of an export: changed files are written, files that are gone are removed.

Each file appears complete, by a rename. A manifest in the folder lists the files that exports
wrote; other files are never touched. All methods block on the disk and raise ``OSError``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

import msgspec

from proxy.errors import ConfigurationError, ProxyError
from proxy.export.placing import FileContent, Placement, has_digest, is_placed, place


class ForeignFile(ProxyError):
    """A file that no export wrote is at the path of a file of the tree."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} was not written by this command and is in the way; move it elsewhere"


class FileAltered(ProxyError):
    """A distribution does not have the digest that its page lists."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename)
        self.filename = filename

    def __str__(self) -> str:
        return (
            f"{self.filename} does not have the digest that its page lists;"
            " `waystation cache verify` removes damaged files"
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """The numbers of files that an export wrote, left unchanged and removed."""

    written: int
    unchanged: int
    removed: int


class Tree:
    """A context manager that creates and locks the folder.

    In it, call ``announce`` once, ``write`` and ``place`` for each file, and ``finish``. If an
    export is interrupted, the next one knows which files it may have written.
    """

    def __init__(self, root: Path, *, verify: bool = False) -> None:
        """``verify``: also hash the distributions that are placed already."""
        self.root = root
        self._verify = verify
        self._known: set[str] = set()
        self._done: set[str] = set()
        self._written = 0

    def __enter__(self) -> Self:
        """Raises ``ConfigurationError`` for a folder with files that no export wrote."""
        self._check_root()
        (self.root / STATE_FOLDER).mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.root / STATE_FOLDER / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise ConfigurationError(
                "DIR", f"another process is writing to {self.root}", "wait for it to end"
            ) from None
        self._known = set(load_manifest(self.root) or ())
        self._part = self.root / PART_FOLDER
        self._part.unlink(missing_ok=True)
        self._part.touch()
        self._readable = self._part.stat().st_mode & 0o444
        return self

    def __exit__(self, *_: object) -> None:
        self._part.unlink(missing_ok=True)
        os.close(self._lock)

    def announce(self, paths: Iterable[str]) -> None:
        """Record which files will be written, before the first one is. Raises ``ForeignFile``."""
        new = set(paths) - self._known
        for path in sorted(new):
            target = self.root / path
            self._check_parents(target)
            if os.path.lexists(target):
                raise ForeignFile(target)
        save_manifest(self.root, self._known | new)
        self._known |= new

    def write(self, path: str, data: bytes) -> None:
        """Write a file, unless it has these bytes already."""
        target = self._target(path)
        if target.is_symlink() or not target.is_file() or target.read_bytes() != data:
            self._new_part().write_bytes(data)
            self._move_into_place(target)

    def place(self, path: str, content: FileContent, how: Placement) -> None:
        """Place a distribution, unless it is placed already. Raises ``FileAltered``."""
        target = self._target(path)
        if is_placed(target, content, how) and not (
            self._verify and not has_digest(target, content)
        ):
            return
        place(self._new_part(), content, how, self._readable)
        if not has_digest(self._part, content):
            raise FileAltered(target.name)
        self._move_into_place(target)

    def read_state(self, name: str) -> bytes | None:
        """The state that ``write_state`` stored in an earlier export; None: there is none."""
        try:
            return (self.root / STATE_FOLDER / name).read_bytes()
        except FileNotFoundError:
            return None

    def write_state(self, name: str, data: bytes) -> None:
        """Store data about the tree, which is not a part of it."""
        self._new_part().write_bytes(data)
        os.replace(self._part, self.root / STATE_FOLDER / name)  # noqa: PTH105 (both are paths)

    def finish(self) -> Changes:
        """Remove files of earlier exports that are not in this one."""
        gone = sum(self._remove(self.root / path) for path in sorted(self._known - self._done))
        save_manifest(self.root, self._done)
        return Changes(self._written, len(self._done) - self._written, gone)

    def _check_root(self) -> None:
        state = self.root / STATE_FOLDER
        if self.root.exists() and not self.root.is_dir():
            raise ConfigurationError("DIR", f"{self.root} is not a directory", "name another one")
        others = self.root.is_dir() and any(each != state for each in self.root.iterdir())
        if state.is_symlink() or (others and load_manifest(self.root) is None):
            problem = f"{self.root} is not empty, and not a tree that this command wrote"
            raise ConfigurationError("DIR", problem, "name an empty or new directory")

    def _check_parents(self, target: Path) -> None:
        """Refuse a symbolic link in place of a folder, which would lead out of the tree."""
        for parent in target.relative_to(self.root).parents[:-1]:
            folder = self.root / parent
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise ForeignFile(folder)

    def _target(self, path: str) -> Path:
        assert path in self._known, f"{path} was not announced"
        self._done.add(path)
        target = self.root / path
        self._check_parents(target)
        return target

    def _new_part(self) -> Path:
        self._part.unlink(missing_ok=True)
        return self._part

    def _move_into_place(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._part, target)  # noqa: PTH105 (both sides are paths already)
        self._written += 1

    def _remove(self, target: Path) -> bool:
        """Remove a file and folders that become empty. Returns whether the file existed."""
        try:
            self._check_parents(target)
        except ForeignFile:
            return False
        if not os.path.lexists(target) or (target.is_dir() and not target.is_symlink()):
            return False  # removed by others, perhaps replaced by a folder
        target.unlink()
        for folder in target.relative_to(self.root).parents[:-1]:
            try:
                (self.root / folder).rmdir()
            except OSError:
                break  # the folder is not empty
        return True


STATE_FOLDER = ".waystation"
"""Below the root: the manifest, a lock, and the file that is being written."""

PART_FOLDER = f"{STATE_FOLDER}/part"
_MANIFEST = f"{STATE_FOLDER}/manifest.json"
_MANIFEST_FORMAT = 1


class _TreeManifest(msgspec.Struct):
    format: int
    paths: list[str]


def load_manifest(root: Path) -> Set[str] | None:
    """The paths below ``root`` that exports wrote; None without a manifest.

    Raises ``ConfigurationError`` for an invalid manifest.
    """
    try:
        data = (root / _MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        record = msgspec.json.decode(data, type=_TreeManifest)
    except msgspec.MsgspecError as error:
        raise _unreadable_manifest(root) from error
    if record.format != _MANIFEST_FORMAT or not all(map(_is_inside, record.paths)):
        raise _unreadable_manifest(root)
    return set(record.paths)


def save_manifest(root: Path, paths: Iterable[str]) -> None:
    """Replace the manifest. Raises ``OSError``."""
    record = msgspec.json.encode(_TreeManifest(_MANIFEST_FORMAT, sorted(paths)))
    part = root / PART_FOLDER
    part.write_bytes(msgspec.json.format(record, indent=1))
    os.replace(part, root / _MANIFEST)  # noqa: PTH105 (both sides are paths already)


def _is_inside(path: str) -> bool:
    """Listed files may be removed, so no path may lead out of the tree."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and pure.parts[0] not in ("/", STATE_FOLDER) and ".." not in pure.parts


def _unreadable_manifest(root: Path) -> ConfigurationError:
    problem = f"{root / _MANIFEST}, the manifest of the tree, is invalid"
    return ConfigurationError("DIR", problem, "name an empty or new directory")
