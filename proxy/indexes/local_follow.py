"""Keeps a table of files in step with a directory: what changed before a request is seen by it.

Where the kernel tells about changes, a request costs one read of a queue, and only what has
changed is looked at again. Elsewhere it costs the stats of the root and of one project's files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from proxy.errors import IndexUnavailable
from proxy.indexes.local_scan import ROOT, Entry, Folder, Place, Skipped
from proxy.indexes.local_table import Table
from proxy.indexes.local_tree import Seen, Tree
from proxy.indexes.local_watch import CannotWatch, Marks, Watch
from proxy.model import ProjectName

_log = logging.getLogger(__name__)

Changes = set[ProjectName] | None
"""Whose pages are no longer what they were; None: nobody knows."""


class Follower:
    """The table, the marks of what has to be looked at again, and the means to do so."""

    def __init__(
        self,
        name: str,
        tree: Tree,
        *,
        watch: bool,
        confirm: Callable[[Entry], Entry],
        announce: Callable[[Changes], None],
    ) -> None:
        """``confirm`` gives entries their true projects; ``announce`` is told of changes."""
        self.table = Table()
        self.watching = watch
        """Whether the kernel tells about changes; else each request has to look."""
        self.skipped: dict[Place, str] = {}
        self._name = name
        self._tree = tree
        self._confirm = confirm
        self._announce = announce
        self._watch: Watch | None = None
        self._marks = Marks(everything=True)
        self._meanwhile = Marks()
        self._identity = (0, 0)
        self._stamps: dict[str, int] = {}
        self._surveys = 0
        self._trouble = ""
        self._lock = asyncio.Lock()  # whoever holds it changes the table
        self._survey_lock = asyncio.Lock()  # taken inside the other one, or alone

    def poll(self) -> None:
        """Take note of what has changed; reads a queue, never waits."""
        if self._watch and (marks := self._watch.read()):
            self._marks.add(marks)
            self._meanwhile.add(marks)
            self._announce(self._affected(marks))

    async def settle(self, project: ProjectName | None = None) -> None:
        """Bring the table up to date for a project; None: for the list of projects.

        Raises ``IndexUnavailable``, and from then on until the directory can be read again.
        """
        self.poll()
        if not self.watching and not self._marks.everything:
            self._marks.add(await self._checked(project))
        if self._marks or self._lock.locked():
            async with self._lock:
                await self._catch_up()

    async def recheck(self) -> None:
        """Compare everything, for what no event told; requests are answered meanwhile.

        Raises ``IndexUnavailable``.
        """
        await self.settle()
        surveys, self._meanwhile = self._surveys, Marks()
        try:
            async with self._survey_lock:
                identity, found = await asyncio.to_thread(self._tree.survey, self._watch)
        except (CannotWatch, OSError):
            self._marks.everything = True  # it is dealt with where requests wait for it
        else:
            async with self._lock:
                if surveys == self._surveys:
                    self._take_survey(found)
                    self._marks.add(self._meanwhile)  # what was found may be older than these
            self._marks.everything |= identity != self._identity
        await self.settle()

    async def check_root(self) -> None:
        """Notice another root, or none, in the old one's place. Raises ``IndexUnavailable``."""
        try:
            moved = await asyncio.to_thread(self._tree.identity) != self._identity
        except OSError:
            moved = True
        self._marks.everything |= moved
        await self.settle()

    def look_again(self, entry: Entry) -> None:
        """Before the next answer; this one was made of what may have changed."""
        self._marks.files.add(entry.place)

    def being_written(self, entry: Entry) -> bool:
        return self._watch is not None and entry.place in self._watch.writing

    def skip(self, skipped: Skipped) -> None:
        """Say once that a file is not listed, and why."""
        place, reason = skipped
        if self.skipped.get(place) != reason:
            self.skipped[place] = reason
            _log.warning("%s: %s is not listed: %s", self._name, "/".join(place), reason)

    async def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch:
            await asyncio.to_thread(watch.close)

    async def _checked(self, project: ProjectName | None) -> Marks:
        folders = self.table.folders if project is None else self.table.folders_of(project)
        stamps = {name: self._stamps.get(name, 0) for name in {ROOT, *folders}}
        entries = self.table.entries(project) if project else []
        try:
            return await asyncio.to_thread(self._tree.check, self._identity, stamps, entries)
        except OSError:
            return Marks(everything=True)

    async def _catch_up(self) -> None:
        """Look at all that is marked; the marks stay where that fails or is given up."""
        marks, self._marks = self._marks, Marks()
        try:
            if marks.everything:
                await self._start_over()
            elif marks:
                await self._look(marks)
        except OSError as error:
            self._marks.everything = True
            self._lose(error.strerror or str(error))
            raise IndexUnavailable(self._name, self._trouble) from error
        except BaseException:
            self._marks.add(marks)
            raise

    async def _look(self, marks: Marks) -> None:
        marks.files = self._places(marks)
        if not (marks.files or marks.folders):
            return
        known = self.table.folders
        try:
            seen = await asyncio.to_thread(self._tree.look, marks, known, self._watch)
        except CannotWatch as error:
            self._stop_watching(error)
            await self._start_over()
        else:
            self._take(seen)

    async def _start_over(self) -> None:
        """Watch and list everything anew."""
        old, self._watch = self._watch, None
        try:
            async with self._survey_lock:
                if old:
                    await asyncio.to_thread(old.close)
                self._watch = await asyncio.to_thread(Watch) if self.watching else None
                survey = await asyncio.to_thread(self._tree.survey, self._watch)
        except CannotWatch as error:
            self._stop_watching(error)
            await self._start_over()
            return
        self._identity, found = survey
        self._surveys += 1
        self._take_survey(found)
        self._announce(None)
        if self._trouble:
            _log.info("%s can be read again", self._name)
            self._trouble = ""

    def _take_survey(self, found: Mapping[str, Folder]) -> None:
        gone = self.table.folders - set(found)
        self._take(Seen({**found, **dict.fromkeys(gone)}, {}))

    def _take(self, seen: Seen) -> None:
        changes: set[ProjectName] = set()
        for name, folder in seen.folders.items():
            self._stamps[name] = folder.stamp if folder else 0
            entries = {k: self._confirm(e) for k, e in folder.entries.items()} if folder else None
            changes |= self.table.put_folder(name, entries)
            for skipped in folder.skipped if folder else ():
                self.skip(skipped)
        for place, found in seen.files.items():
            if isinstance(found, Skipped):
                self.skip(found)
            else:
                self.skipped.pop(place, None)
            entry = self._confirm(found) if isinstance(found, Entry) else None
            changes |= self.table.put(place, entry)
        if changes:
            self._announce(changes)

    def _affected(self, marks: Marks) -> Changes:
        if marks.everything or marks.folders:
            return None
        projects: set[ProjectName] = set()
        for place in self._places(marks):
            owners = self.table.owners(place)
            if owners is None:
                return None
            projects |= owners
        return projects

    def _places(self, marks: Marks) -> set[Place]:
        return marks.files | (self.table.links if marks.others else set())

    def _stop_watching(self, error: CannotWatch) -> None:
        self.watching = False
        _log.warning("%s: each request looks for changes by itself, since %s", self._name, error)

    def _lose(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.warning("%s cannot be read: %s", self._name, trouble)
            self._trouble = trouble
            self._announce(None)
