"""A folder of files that are ours: written only where they change, removed when they go.

Every file appears whole, by a rename, and what others put into the folder is left alone. All
methods block on the disk and raise ``OSError``.

Which files of a tree are ours: a list of paths, kept in the tree itself. Blocks on the disk.
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
from proxy.export.placing import Content, How, is_placed, is_right, place


class ForeignFile(ProxyError):
    """Something that is not ours is where a file of the tree has to be."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} was not written by this command and is in the way; move it elsewhere"


class FileAltered(ProxyError):
    """The bytes of a distribution are not those that its page names."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename)
        self.filename = filename

    def __str__(self) -> str:
        return (
            f"{self.filename} does not have the digest it should have;"
            " `waystation cache verify` drops what is damaged"
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """What was done to a tree, in files."""

    written: int
    unchanged: int
    removed: int


class Tree:
    """As a context manager it locks the folder, which is made if need be.

    Then come ``announce`` once, ``write`` and ``place`` as often as needed, and ``finish``. If
    it ends before that, the next run knows what this one may have written.
    """

    def __init__(self, root: Path, *, verify: bool = False) -> None:
        """``verify``: hash the distributions that are there already, too."""
        self.root = root
        self._verify = verify
        self._known: set[str] = set()
        self._done: set[str] = set()
        self._written = 0

    def __enter__(self) -> Self:
        """Raises ``ConfigurationError`` for a folder that is not empty and not ours."""
        self._check()
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
        """Say which files will be written, before the first one is. Raises ``ForeignFile``."""
        new = set(paths) - self._known
        for path in sorted(new):
            target = self.root / path
            self._check_parents(target)
            if os.path.lexists(target):
                raise ForeignFile(target)
        save_manifest(self.root, self._known | new)
        self._known |= new

    def write(self, path: str, data: bytes) -> None:
        """Have these bytes in the tree."""
        target = self._target(path)
        if target.is_symlink() or not target.is_file() or target.read_bytes() != data:
            self._fresh().write_bytes(data)
            self._appear(target)

    def place(self, path: str, content: Content, how: How) -> None:
        """Have this distribution in the tree. Raises ``FileAltered``."""
        target = self._target(path)
        if is_placed(target, content, how) and not (self._verify and not is_right(target, content)):
            return
        place(self._fresh(), content, how, self._readable)
        if not is_right(self._part, content):
            raise FileAltered(target.name)
        self._appear(target)

    def finish(self) -> Changes:
        """Remove what was not written again."""
        gone = sum(self._remove(self.root / path) for path in sorted(self._known - self._done))
        save_manifest(self.root, self._done)
        return Changes(self._written, len(self._done) - self._written, gone)

    def _check(self) -> None:
        state = self.root / STATE_FOLDER
        if self.root.exists() and not self.root.is_dir():
            raise ConfigurationError("DIR", f"{self.root} is not a directory", "name another one")
        others = self.root.is_dir() and any(each != state for each in self.root.iterdir())
        if state.is_symlink() or (others and load_manifest(self.root) is None):
            problem = f"{self.root} is not empty, and not a tree that this command wrote"
            raise ConfigurationError("DIR", problem, "name an empty or new directory")

    def _check_parents(self, target: Path) -> None:
        """A link in the place of a folder would lead out of the tree."""
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

    def _fresh(self) -> Path:
        self._part.unlink(missing_ok=True)
        return self._part

    def _appear(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._part, target)  # noqa: PTH105 (both sides are paths already)
        self._written += 1

    def _remove(self, target: Path) -> bool:
        """Whether it was there."""
        try:
            self._check_parents(target)
        except ForeignFile:
            return False
        if not os.path.lexists(target) or (target.is_dir() and not target.is_symlink()):
            return False  # it has gone, and maybe somebody put something else there
        target.unlink()
        for folder in target.relative_to(self.root).parents[:-1]:
            try:
                (self.root / folder).rmdir()
            except OSError:
                break  # something else is in it
        return True


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
