"""Packages in a directory: how each change is made on the disk, beside other processes.

A file gets its name in one step, when its bytes and all files beside it are durable, so that a
kill at any moment leaves nothing or all of it. The journal notes the change before and after;
the next change completes or forgets changes that a kill interrupted.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime
from itertools import chain, repeat
from pathlib import Path

from proxy.errors import NoSuchProject, UploadRefused
from proxy.indexes import LocalDirectory
from proxy.model import YANKED_SUFFIX, File, ProjectName
from proxy.publish.base import Content, Prepare
from proxy.publish.file_changes import FileChanges
from proxy.publish.file_uploads import FileUploads
from proxy.publish.incoming import set_upload_time
from proxy.publish.journal import PackageJournal
from proxy.publish.package_changes import Action, PackageChange
from proxy.publish.package_files import (
    folder_below,
    make_folder,
    path_of,
    remove_with_sidecars,
    sha256_of,
    sidecars_of,
)
from proxy.publish.past_states import needed_by_snapshots
from proxy.runtime import in_thread, open_spool, remove_abandoned

_SAME_TIME = 1e-5
"""Seconds by which two times may differ that are one: pages have microseconds."""
_ATTEMPTS = 5
"""How often changes without content are prepared again if others are faster."""
_OF_LISTED = (Action.REPLACE, Action.ATTEST, Action.YANK, Action.UNYANK, Action.DELETE)
"""Changes of files that are listed."""
_OF_JOURNAL = (Action.OWNERS, Action.CLAIM, Action.SNAPSHOT, Action.FORGET)
"""Changes of no file."""


class DirectoryPackages:
    """A ``PackageStore`` over a directory that is served."""

    def __init__(self, directory: LocalDirectory) -> None:
        self.index = directory
        self.root = Path(directory.root)
        self.journal = PackageJournal(self.root)
        self.incoming = self.journal.folder / "incoming"
        self._deleted = self.journal.folder / "deleted"
        """Each deleted file is in a folder of its digest."""
        self._files = FileChanges(self.root, self._deleted, self.journal)
        self._uploads = FileUploads(self.root, self._deleted, self.journal)
        self._turn = asyncio.Lock()
        self.kept = directory.kept_in(self._deleted)

    async def open(self) -> None:
        await self.tidy()

    async def spread(self, made: Sequence[PackageChange]) -> None:
        """All servers notice changes of a directory at once."""

    async def tidy(self) -> None:
        await in_thread(self._tidy)

    async def close(self) -> None:
        await self.kept.close()
        await in_thread(self.journal.close)

    def folder(self, project: ProjectName) -> Path:
        """The folder for new files of the project."""
        return self.root / project

    async def make(
        self,
        prepare: Prepare,
        content: Content | None = None,
        owners: Sequence[str] | None = None,
    ) -> list[PackageChange]:
        made = await self._attempt(prepare, content, owners)
        if made is None:
            async with self._turn:  # of all who were too late, each is prepared once more
                made = await self._attempts(prepare, content, owners)
        self.index.poll()
        return made

    @asynccontextmanager
    async def staged(self, file: File, folder: Path) -> AsyncIterator[Content]:
        with ExitStack() as closing:
            content = await in_thread(_stage, file, folder, closing)
            if await in_thread(sha256_of, content.path) != file.sha256:
                raise UploadRefused(f"{file.filename} was changed just now")
            yield content

    async def held(self, project: ProjectName) -> Sequence[File]:
        try:
            return await self.index.held(project)
        except NoSuchProject:
            return ()

    async def _attempts(
        self, prepare: Prepare, content: Content | None, owners: Sequence[str] | None
    ) -> list[PackageChange]:
        """A change without content, such as a roll-back, may take so long to prepare that others
        are always faster: the last attempt makes it in any case."""
        for left in chain(reversed(range(_ATTEMPTS)), repeat(0)):
            is_last = content is None and not left
            made = await self._attempt(prepare, content, owners, is_last=is_last)
            if made is not None:
                break
        return made or []

    async def _attempt(
        self,
        prepare: Prepare,
        content: Content | None,
        owners: Sequence[str] | None,
        *,
        is_last: bool = False,
    ) -> list[PackageChange] | None:
        """None: there were other changes in the meantime, so nothing was done."""
        after = await in_thread(self.journal.last_number)
        changes = await prepare()
        if not changes:
            return []
        paths = await self._listed_paths(changes)
        return await in_thread(
            self._make, changes, paths, content, owners, None if is_last else after
        )

    async def _listed_paths(self, changes: Sequence[PackageChange]) -> dict[str, Path]:
        """The paths of the changed files, by filename; they may be in any folder."""
        projects = dict.fromkeys(each.project for each in changes if each.action in _OF_LISTED)
        return {
            file.filename: path_of(file)
            for project in projects
            for file in await self.held(project)
        }

    def _make(
        self,
        changes: Sequence[PackageChange],
        paths: dict[str, Path],
        content: Content | None,
        owners: Sequence[str] | None,
        after: int | None,
    ) -> list[PackageChange] | None:
        """None: there are changes since the one of that number, so nothing was done."""
        with self.journal.exclusively():
            self._recover()
            if after is not None and self.journal.last_number() != after:
                return None
            if content is None:
                return self._change(changes, paths, owners or ())
            change = changes[0]
            target = paths.get(change.filename) or self.folder(change.project) / change.filename
            if owners is None:
                owners = [change.actor] if change.actor else []
            return self._uploads.make(changes, content, target, owners)

    def _change(
        self, changes: Sequence[PackageChange], paths: dict[str, Path], owners: Sequence[str]
    ) -> list[PackageChange]:
        others = [each for each in changes if each.action in _OF_JOURNAL]
        for change in others:
            self._note(change, owners)
        steps = [(self._folder_of(each, paths), each) for each in changes if each not in others]
        return others + self._files.make(steps)

    def _folder_of(self, change: PackageChange, paths: dict[str, Path]) -> str:
        """A file that is listed is changed where it is."""
        path = paths.get(change.filename) if change.action in _OF_LISTED else None
        return folder_below(self.root, path) if path else change.project

    def _note(self, change: PackageChange, owners: Sequence[str]) -> None:
        """Make a change that the journal alone remembers."""
        if change.action is Action.OWNERS:
            self.journal.set_owners(change, list(owners))
        elif change.action is Action.CLAIM:
            make_folder(self.folder(change.project))  # the folder keeps the name private
            self.journal.claim(change)
        else:
            self.journal.complete(change)
            if change.action is Action.FORGET:
                self._remove_replaced()

    def _remove_replaced(self) -> None:
        """Remove bytes that were kept for a snapshot alone, which is forgotten now."""
        replaced = {}
        for path in self._deleted.glob("*/*"):
            last = self.journal.last_of_file(path.name, Action.REPLACE)
            if last:  # there is none of a signature, or of a file that was only deleted
                replaced[path] = last.project
        kept = {(change.sha256, change.filename) for change in self.journal.deleted()}
        kept |= needed_by_snapshots(self.journal, *set(replaced.values()))
        for path in replaced:
            if (path.parent.name, path.name) not in kept:
                remove_with_sidecars(path)

    def _tidy(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if self.incoming.is_dir():
            remove_abandoned(self.incoming)
        with self.journal.exclusively():
            self._recover()

    def _recover(self) -> None:
        """Complete or undo the changes during which a process was killed."""
        self._files.finish()
        self._uploads.finish()


def _stage(file: File, folder: Path, closing: ExitStack) -> Content:
    """A spool file with the bytes, durable, and modified when they were uploaded; a hard link
    where that is possible. Blocks.

    It is locked, as all spool files, so that a process that starts leaves it alone.
    """
    listed = path_of(file)
    source, beside = listed.resolve(), sidecars_of(listed)
    if file.yanked is False:
        beside.pop(YANKED_SUFFIX, None)
    fd, path = open_spool(folder)
    closing.callback(os.close, fd)
    closing.callback(path.unlink, missing_ok=True)
    original = closing.enter_context(source.open("rb"))
    uploaded = datetime.fromisoformat(file.uploaded).timestamp() if file.uploaded else None
    if _can_link(source, uploaded):
        fcntl.flock(original, fcntl.LOCK_SH)
        if _link(source, path):
            os.fsync(original.fileno())
            return Content(path, beside)
    with path.open("wb") as copy:
        shutil.copyfileobj(original, copy, 2**20)
        copy.flush()
        modified = os.fstat(original.fileno()).st_mtime if uploaded is None else uploaded
        set_upload_time(copy.fileno(), modified)
        os.fsync(copy.fileno())
    return Content(path, beside)


def _can_link(source: Path, uploaded: float | None) -> bool:
    """Whether a link has the right time, and a mode that this process can set."""
    found = source.stat()
    same = uploaded is None or abs(found.st_mtime - uploaded) < _SAME_TIME
    return same and found.st_uid == os.geteuid()


def _link(source: Path, path: Path) -> bool:
    """Give ``source`` a second name instead of the empty spool file; False: that cannot be done."""
    linked = path.with_name(f"link-{path.name}")
    try:
        linked.hardlink_to(source)
    except OSError:  # another file system, or one without links
        return False
    linked.replace(path)
    return True
