"""A directory, or a zip archive, of distributions as an index.

``follower`` notices changes, ``catalogue`` knows the contents of the files, ``page`` joins both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence, Set
from pathlib import Path

from proxy.errors import IndexUnavailable, NoSuchProject
from proxy.events import FileAnswered, Observer, Outcome, PageAnswered, PageChanged
from proxy.indexes.base import CheckFile
from proxy.indexes.explanation import Explanation
from proxy.indexes.local.catalogue import Catalogue
from proxy.indexes.local.file_table import ChangedProjects
from proxy.indexes.local.folder_tree import DirectoryTree
from proxy.indexes.local.follower import Follower
from proxy.indexes.local.kept_files import KeptFiles
from proxy.indexes.local.private_page import Contents, LocalPage, build_page
from proxy.indexes.local.zip_tree import ZipTree, is_zip
from proxy.model import METADATA, Artifact, Blob, File, ProjectName, ProjectPage
from proxy.runtime import end_tasks
from proxy.storage import BytesBlob, Claims, Key, RecordKind, Records, first_names

_log = logging.getLogger(__name__)

_ROOT_CHECK_INTERVAL = 5.0
"""Seconds between checks for changes without an event, such as a file system that is mounted on
the root."""
MAX_ABSENT_PROJECTS = 10_000
"""Projects that are remembered as absent; clients may ask for any name."""
_MAX_SINGLE_EVENTS = 1000
"""Changed projects that are announced one by one; more are announced by one event for all."""


class LocalDirectory:
    """Lists the files in ``root`` and in folders at any depth; ``root`` may be a zip archive.

    A folder in the root claims its name, also without files. A project that was ever here stays
    claimed, with an empty page, until ``release``; a claim is stored before an answer is made
    from it. While the directory cannot be read, every method raises ``IndexUnavailable``.

    With inotify, a page is valid until ``PageChanged``, which ``poll`` emits; without,
    ``fresh_until`` of each page has passed.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        records: Records,
        events: Observer,
        *,
        claims: Claims | None = None,
        legacy: bool = False,
        watch: bool = True,
        optional: bool = False,
        extra_files: bool = False,
        rescan: float = 300.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``claims``: those of the cache; without, names stay private while this object lives.

        ``optional``: until ``root`` exists for the first time, it counts as empty.
        ``extra_files``: list signatures and other files beside distributions.
        ``rescan``: seconds between full scans. ``clock``: Unix time in seconds.
        """
        root = Path(os.path.abspath(root))  # noqa: PTH100 (links are resolved at each scan)
        self._name = name
        self._events = events
        self._rescan = rescan
        self._records, self._clock, self._extra_files = records, clock, extra_files
        self._catalogue = Catalogue(Key(RecordKind.LOCAL_FILES, str(root)), records, clock)
        self._root = str(root)
        self._claims = claims or Claims()
        if not optional:
            self._claims.served.add(self._root)
        kind = ZipTree if is_zip(root) else DirectoryTree
        self._tree: ZipTree | DirectoryTree = kind(
            root,
            legacy=legacy,
            named=self._catalogue.named,
            clock=clock,
            extra_files=extra_files,
        )
        self._follower = Follower(
            name, self._tree, watch=watch, announce=self._forget, optional=optional
        )
        self._contents = Contents(name, self._follower, self._catalogue, self._tree.opened, records)
        self._answers: dict[ProjectName, LocalPage] = {}
        self._misses: dict[ProjectName, int] = {}
        """The generation in which a project was found to have no file and no claim here."""
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def root(self) -> str:
        """The absolute path."""
        return self._root

    @property
    def is_there(self) -> bool:
        """False only for an optional directory that has not appeared so far."""
        return not self._follower.awaited

    async def open(self) -> None:
        """Read names, and start to read files. A directory that cannot be read is no error yet."""
        await self._catalogue.load()
        with contextlib.suppress(IndexUnavailable):
            await self._follower.bring_up_to_date()
            if not self._follower.awaited:
                self._warn()
        await self._claims.save()
        self._task = asyncio.create_task(self._tend())
        self._task.add_done_callback(_report)

    async def close(self) -> None:
        if self._task:
            await end_tasks(self._task)
        await self._catalogue.close()
        await self._save()
        await self._follower.close()

    def poll(self) -> None:
        """Emit ``PageChanged`` for the changes so far. Takes microseconds."""
        self._follower.poll()

    async def projects(self) -> Set[ProjectName]:
        await self._follower.bring_up_to_date()
        await self._store_claims()
        follower = self._follower
        return follower.table.claimed() | follower.skipped.claims | self._remembered()

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        """``checked_after`` has no effect: each answer is checked when it is made."""
        found = await self._answer(project)
        self._events(PageAnswered(project, self._name, Outcome.LOCAL))
        return found.page

    async def held(self, project: ProjectName) -> Sequence[File]:
        """Its files, also if the project is quarantined and its page lists none. Raises as
        ``page``."""
        return (await self._answer(project)).held

    def kept_in(self, folder: Path) -> KeptFiles:
        """Files that were listed here and are kept in that folder now, each below its digest."""
        return KeptFiles(
            self._name, folder, self._records, self._clock, extra_files=self._extra_files
        )

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        found = await self._current(project, filename)
        file, entry = found.page.file(filename, digest), found.owner(filename)
        if check:
            await check(found.page)
        suffix = filename.removeprefix(entry.filename)
        if suffix == METADATA:
            blob: Blob = BytesBlob(await self._contents.metadata(entry, file))
        elif suffix:
            blob = self._tree.blob_beside(entry, suffix, self._changed_file)
        else:
            blob = self._tree.blob(entry, self._changed_file)
        self._events(FileAnswered(project, filename, self._name, Outcome.LOCAL))
        return Artifact(file, blob)

    async def _current(self, project: ProjectName, filename: str) -> LocalPage:
        """The page, with the file as it is: a new hard link to it changes its times without an
        event here. Raises ``NoSuchFile``."""
        found = await self._answer(project)
        found.page.file(filename)
        if not self._tree.is_outdated(entry := found.owner(filename)):
            return found
        self._follower.mark_stale(entry)
        return await self._answer(project)

    async def explain(self, project: ProjectName) -> Explanation:
        try:
            found = await self._answer(project)
        except (NoSuchProject, IndexUnavailable) as error:
            return Explanation.of_error(self._name, "local", error)
        return Explanation.of_page(self._name, "local", found.page)

    def _changed_file(self, filename: str) -> IndexUnavailable:
        return IndexUnavailable(self._name, f"the file {filename} has changed")

    async def release(self, project: ProjectName) -> None:
        """Give up the claim on a project, unless files or a folder of it are here."""
        with contextlib.suppress(IndexUnavailable):
            await self._follower.bring_up_to_date(project)  # it may have lost them a moment ago
            await self._follower.release(project)
        self._claims.forget(self._root, project)
        if self._claims_certainly(project):
            self._claims.add(self._root, [project])
            await self._claims.save()
        self._answers.pop(project, None)
        self._events(PageChanged(project))

    async def _answer(self, project: ProjectName) -> LocalPage:
        follower = self._follower
        if not follower.is_current():
            if follower.awaited and not follower.poll():
                raise NoSuchProject(project)
            await follower.bring_up_to_date(project)
        if (found := self._answers.get(project)) is not None:
            return found
        generation = follower.generation
        absent = self._misses.get(project) == generation
        if absent and not self._claims.is_claimed(project, self._root):  # by another process
            raise NoSuchProject(project)
        found = await self._build(project)
        await self._store_claims()
        if generation == follower.generation:
            self._answers[project] = found
        return found

    async def _build(self, project: ProjectName) -> LocalPage:
        if not self._may_be_here(project):
            if len(self._misses) >= MAX_ABSENT_PROJECTS:
                self._misses.clear()
            self._misses[project] = self._follower.generation
            raise NoSuchProject(project)
        listed = await self._contents.listed(project)
        if not (listed or self._is_claimed(project)):  # the files turned out to be of others
            raise NoSuchProject(project)
        fresh_until = None if self._follower.watching else 0.0
        status = self._follower.table.status(project)
        return build_page(project, self._name, listed, fresh_until, status)

    def _may_be_here(self, project: ProjectName) -> bool:
        """Whether the name is claimed, or a file may turn out to be the project's. Public names
        are not, so this asks no method of the table."""
        table, skipped = self._follower.table, self._follower.skipped.claims
        known = project in table.possible or project in table.named or project in skipped
        return known or self._claims.is_claimed(project, self._root)

    def _is_claimed(self, project: ProjectName) -> bool:
        follower = self._follower
        return (
            self._claims.is_claimed(project, self._root)
            or project in follower.skipped.claims
            or follower.table.claims(project)
        )

    def _claims_certainly(self, project: ProjectName) -> bool:
        """Whether the directory claims the name whatever the contents of its files are."""
        follower = self._follower
        return follower.table.claims(project, certainly=True) or project in follower.skipped.claims

    def _remembered(self) -> set[ProjectName]:
        """Names of earlier files; none while the directory is missing: they are withheld then."""
        if self._follower.awaited:
            return set()
        return {ProjectName(name) for name in self._claims.of(self._root)}

    async def _store_claims(self) -> None:
        """Called before an answer that a claim decides: the process may be killed right after."""
        if self._claims.unsaved:
            await self._claims.save()

    def _forget(self, changes: ChangedProjects) -> None:
        """Drop the pages of changed projects, claim their names, and emit ``PageChanged``."""
        table = self._follower.table
        self._claims.served.add(self._root)  # if it was awaited, it has just appeared
        if changes is None or len(changes) > _MAX_SINGLE_EVENTS:
            found = table.claimed(certainly=True) | self._follower.skipped.claims
            self._claims.add(self._root, found)
            self._answers.clear()
            self._events(PageChanged(None))
            return
        self._claims.add(self._root, [one for one in changes if self._claims_certainly(one)])
        for project in changes:
            self._answers.pop(project, None)
            self._events(PageChanged(project))

    async def _tend(self) -> None:
        """Read new files before a request needs them, and check for changes without an event."""
        tick, left = min(_ROOT_CHECK_INTERVAL, self._rescan), self._rescan
        while True:
            await self._contents.read_pending()
            await self._save()
            await asyncio.sleep(tick)
            left -= tick
            with contextlib.suppress(IndexUnavailable):
                await (self._follower.check_root() if left > 0 else self._follower.recheck())
            left = left if left > 0 else self._rescan

    async def _save(self) -> None:
        await self._claims.save()
        await self._catalogue.save(self._follower.table.all())

    def _warn(self) -> None:
        follower = self._follower
        here = follower.table.claimed() | follower.skipped.claims
        if empty := sorted(self._remembered() - here):
            _log.warning(
                "%s has no files of %s any more; these names stay private, and their pages are "
                "empty; `waystation cache purge PROJECT` gives a name up",
                self._name,
                first_names(empty),
            )


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.error("a local directory is no longer checked for changes", exc_info=error)
