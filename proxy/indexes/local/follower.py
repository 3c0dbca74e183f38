"""Keeps a table of files up to date with a directory: a request sees every earlier change.

With inotify a request costs one look at a queue, and only changed entries are scanned again.
Without, it costs the stats of the root and of one project's files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import msgspec

from proxy.errors import IndexUnavailable
from proxy.indexes.local.file_table import ChangedProjects, DirectoryTable
from proxy.indexes.local.folder_tree import FileTree, Seen
from proxy.indexes.local.inotify import CannotWatch, Marks, Watcher
from proxy.indexes.local.scan import DirectoryEntry
from proxy.indexes.local.skip_log import RejectedFile, SkipLog
from proxy.model import ProjectName

_log = logging.getLogger(__name__)


class Follower:
    """The table, the marks of entries to scan again, and the callback for changed projects."""

    def __init__(
        self,
        name: str,
        tree: FileTree,
        *,
        watch: bool,
        announce: Callable[[ChangedProjects], None],
        optional: bool = False,
    ) -> None:
        """``announce`` is called with the projects that have changed. ``optional``: until the root
        exists for the first time, it counts as empty."""
        self.table = DirectoryTable()
        self.watching = watch
        """Whether inotify reports changes; else each request checks for them."""
        self.skipped = SkipLog(name, self.table.claims)
        self.awaited = optional
        """Whether the root is optional and has not existed so far."""
        self.generation = 0
        """Goes up whenever an answer that was made before may be wrong."""
        self._name = name
        self._tree = tree
        self._announce = announce
        self._watch: Watcher | None = None
        self._marks = Marks(everything=True)
        self._meanwhile = Marks()
        self._identity: tuple[int, ...] = ()
        self._surveys = 0
        self._trouble = ""
        self._lock = asyncio.Lock()  # locked while the table changes
        self._survey_lock = asyncio.Lock()  # taken inside the other one, or alone

    def poll(self) -> bool:
        """Read the queue of changes, without waiting. False: there is no root yet."""
        if self.awaited and not self._has_appeared():
            return False
        if self._watch and self._watch.has_events(0):
            self._read_events(self._watch)
        return True

    def is_current(self) -> bool:
        """Whether the table is up to date, as far as that can be known without waiting.

        The usual case of ``bring_up_to_date``, for every request.
        """
        if self.awaited or not self._watch or self._watch.has_events(0):
            return False
        marks = self._marks  # without its truth value, which is a further call
        marked = marks.everything or marks.others or marks.folders or marks.files
        return not marked and not self._lock.locked()

    def _read_events(self, watch: Watcher) -> None:
        if marks := watch.read():
            self._marks.add(marks)
            self._meanwhile.add(marks)
            self._announce_changes(self.table.affected(marks))

    def _has_appeared(self) -> bool:
        """Whether an optional root is there now.

        Every request looks, at the cost of a system call: a pause between looks would let a
        private name go upstream.
        """
        if not self._tree.exists():
            return False
        self.awaited = False
        self._announce_changes(None)
        return True

    async def bring_up_to_date(self, project: ProjectName | None = None) -> None:
        """Bring the table up to date for a project; None: for the list of projects.

        Raises ``IndexUnavailable``, and from then on until the directory can be read again.
        """
        if not self.poll():
            return
        if not self.watching and not self._marks.everything:
            entries = self.table.entries(project) if project else ()
            self._marks.add(await self._checked(self.table.stamps(project), entries))
        if self._marks or self._lock.locked():
            async with self._lock:
                await self._catch_up()

    async def recheck(self) -> None:
        """Scan everything, for changes without an event; requests are answered meanwhile.

        Raises ``IndexUnavailable``.
        """
        await self.bring_up_to_date()
        if self.awaited:
            return
        surveys, self._meanwhile = self._surveys, Marks()
        try:
            async with self._survey_lock:
                identity, found = await asyncio.to_thread(self._tree.scan_all, self._watch)
        except (CannotWatch, OSError):
            self._marks.everything = True  # it is dealt with where requests wait for it
        else:
            async with self._lock:
                if surveys == self._surveys:
                    self._take(found, everything=True)
                    self._marks.add(self._meanwhile)  # what was found may be older than these
                    self._forget_writers()
            self._marks.everything |= identity != self._identity
        await self.bring_up_to_date()

    async def check_root(self) -> None:
        """Notice another root, or none, in the old one's place. Raises ``IndexUnavailable``."""
        if self.awaited:
            await self.bring_up_to_date()
            return
        self._marks.add(await self._checked({}, ()))
        await self.bring_up_to_date()

    async def release(self, project: ProjectName) -> None:
        """Give up the claims of files that are not listed, if none of them exists any more."""
        marks = Marks(files=self.skipped.places(project))
        with suppress(OSError):  # what cannot be looked at may still be there
            seen = await asyncio.to_thread(self._tree.scan_marked, marks, (), None)
            self.skipped.forget(project, [at for at, found in seen.files.items() if found is None])

    def mark_stale(self, entry: DirectoryEntry) -> None:
        """Scan the entry again before the next answer; answers made now are not kept."""
        self.generation += 1
        self._marks.files.add(entry.place)

    def confirm(self, entry: DirectoryEntry, project: ProjectName) -> None:
        """Assign the file to the project that its content names."""
        if not entry.certain and self.table.get(entry.place) == entry:
            confirmed = msgspec.structs.replace(entry, project=project, certain=True)
            self._announce_changes(self.table.put(entry.place, confirmed))

    def skip(self, skipped: RejectedFile) -> None:
        """The file is not listed, and still claims its projects."""
        self._announce_changes(self.skipped.add(skipped))

    def being_written(self, entry: DirectoryEntry) -> bool:
        return self._watch is not None and entry.place in self._watch.writing

    async def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch:
            await asyncio.to_thread(watch.close)

    async def _checked(self, stamps: Mapping[str, int], entries: Iterable[DirectoryEntry]) -> Marks:
        """Marks for what of the root, these folders and these files is not what it was."""
        try:
            return await asyncio.to_thread(self._tree.check, self._identity, stamps, entries)
        except OSError:
            return Marks(everything=True)

    async def _catch_up(self) -> None:
        """Scan what is marked; the marks stay if that fails or is cancelled."""
        marks, self._marks = self._marks, Marks()
        try:
            if marks.everything:
                await self._start_over()
            elif marks:
                await self._look(marks)
        except OSError as error:
            self._marks.everything = True
            self._report_unreadable(error.strerror or str(error))
            raise IndexUnavailable(self._name, self._trouble) from error
        except BaseException:
            self._marks.add(marks)
            raise

    async def _look(self, marks: Marks) -> None:
        marks.files = self.table.places(marks)
        if not (marks.files or marks.folders):
            return
        try:
            seen, root = await asyncio.to_thread(self._scan_marked, marks)
        except CannotWatch as error:
            self._stop_watching(error)
            await self._start_over()
            return
        if root.everything:
            await self._start_over()
        else:
            self._take(seen)

    def _scan_marked(self, marks: Marks) -> tuple[Seen, Marks]:
        """The marks, and whether the root is still the same.

        Files vanish with their root as well, and while one of them is being read the kernel does
        not report that the root is gone.
        """
        seen = self._tree.scan_marked(marks, self.table.folders, self._watch)
        return seen, self._tree.check(self._identity, {}, ())

    async def _start_over(self) -> None:
        """Watch and list everything again."""
        old, self._watch = self._watch, None
        try:
            async with self._survey_lock:
                if old:
                    await asyncio.to_thread(old.close)
                self._watch = (
                    await asyncio.to_thread(self._tree.new_watch) if self.watching else None
                )
                self._identity, found = await asyncio.to_thread(self._tree.scan_all, self._watch)
        except CannotWatch as error:
            self._stop_watching(error)
            await self._start_over()
            return
        self._surveys += 1
        self._take(found, everything=True)
        self._announce_changes(None)
        if self._trouble:
            _log.info("%s can be read again", self._name)
            self._trouble = ""

    def _take(self, seen: Seen, *, everything: bool = False) -> None:
        changes = self.table.take(seen, everything=everything)
        claimed = {project for skipped in seen.skipped() for project in self.skipped.add(skipped)}
        self._announce_changes(changes if changes is None else changes | claimed)

    def _forget_writers(self) -> None:
        """Treat files as written that were not closed for long; a further write is noticed."""
        if self._watch and self._watch.writing:
            written = Marks(files=self._watch.writing.copy())
            self._watch.writing.clear()
            self._announce_changes(self.table.affected(written))

    def _announce_changes(self, changes: ChangedProjects) -> None:
        if changes is None or changes:
            self.generation += 1
            self._announce(changes)

    def _stop_watching(self, error: CannotWatch) -> None:
        self.watching = False
        _log.warning("%s: each request looks for changes by itself, since %s", self._name, error)

    def _report_unreadable(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.warning("%s cannot be read: %s", self._name, trouble)
            self._trouble = trouble
            self._announce_changes(None)
