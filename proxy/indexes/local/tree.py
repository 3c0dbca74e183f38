"""Looks at a directory: all of it, or what is marked. All methods block and are for threads;
they change nothing but what the watch follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from proxy.indexes.local.scan import (
    ROOT,
    Entry,
    Folder,
    changed,
    counts,
    list_folder,
    look,
    root_identity,
)
from proxy.indexes.local.skipped import Place, Skipped
from proxy.indexes.local.watch import Marks, Watch


class Seen(NamedTuple):
    """What was found where it was looked for; None: nothing is there any more."""

    folders: Mapping[str, Folder | None]
    files: Mapping[Place, Entry | Skipped | None]

    def skipped(self) -> Iterator[Skipped]:
        for folder in self.folders.values():
            yield from folder.skipped if folder else ()
        yield from (found for found in self.files.values() if isinstance(found, Skipped))


class Tree:
    """A root, and how it is looked at. All methods raise ``OSError``."""

    def __init__(self, root: Path, *, legacy: bool, clock: Callable[[], float]) -> None:
        self._given = root
        self._root = root
        """Without symbolic links, which may lead elsewhere later."""
        self._legacy = legacy
        self._clock = clock
        self._mounted = False

    def identity(self) -> tuple[int, int]:
        return root_identity(self._given)

    def survey(self, watch: Watch | None) -> tuple[tuple[int, int], Seen]:
        """The root's identity and everything in it. Raises ``CannotWatch``."""
        identity = self.identity()
        self._root = self._given.resolve(strict=True)
        mounted = self._root.is_mount()
        if self._mounted and not mounted:  # the empty place it was mounted on tells nothing
            raise OSError("its file system is not mounted any more")
        self._mounted = mounted
        root = self._list(ROOT, watch)
        if root is None:
            raise FileNotFoundError("the root has vanished")
        below = {name: self._list(name, watch) for name in root.folders}
        if self.identity() != identity:
            raise OSError("the root was replaced while it was read")
        return identity, Seen({ROOT: root, **below}, {})

    def look(self, marks: Marks, known: Iterable[str], watch: Watch | None) -> Seen:
        """What is marked. Raises ``CannotWatch``."""
        folders = {name: self._list(name, watch) for name in marks.folders}
        if root := folders.get(ROOT):
            new = (name for name in root.folders if name not in known)
            folders |= {name: self._list(name, watch) for name in new}
            folders |= dict.fromkeys(set(known) - {ROOT, *root.folders})
        files = {place: look(self._root, *place, legacy=self._legacy) for place in marks.files}
        return Seen(folders, files)

    def check(
        self, identity: tuple[int, int], stamps: Mapping[str, int], entries: Iterable[Entry]
    ) -> Marks:
        """Marks for which of these folders and files are no longer what they were."""
        if self.identity() != identity:
            return Marks(everything=True)
        moved = {name for name, stamp in stamps.items() if not self._unchanged(name, stamp)}
        return Marks(
            folders=moved,
            files={entry.place for entry in entries if changed(self._root, entry)},
        )

    def _list(self, folder: str, watch: Watch | None) -> Folder | None:
        """Watched before it is read, so that nothing comes between."""
        path = self._root / folder
        if not counts(folder) or not path.is_dir():
            return None
        try:
            if watch and (folder == ROOT or not path.is_symlink()):
                watch.follow(folder, path)
            return list_folder(self._root, folder, self._clock(), legacy=self._legacy)
        except FileNotFoundError:
            return None

    def _unchanged(self, folder: str, stamp: int) -> bool:
        try:
            return (self._root / folder).stat().st_mtime_ns == stamp
        except FileNotFoundError:
            return False
