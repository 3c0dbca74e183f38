"""A local index as it was at some moment: ``/NAME/+asof/…``."""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress

import msgspec

from proxy.distributions import version_of
from proxy.errors import IndexUnavailable, NoSuchFile, ProxyError, reason
from proxy.indexes import CheckFile, Explanation, page_of_files
from proxy.model import (
    Artifact,
    File,
    Moment,
    ProjectName,
    ProjectPage,
    ProjectStatus,
    with_distributions,
)
from proxy.publish.package_changes import Action
from proxy.publish.past_states import PastProject, state_at
from proxy.publish.publisher import Publisher, has_file
from proxy.runtime import in_thread

_FRESH = 1.0
"""Seconds for which a page may be repeated: kept bytes may be removed by any process."""


class PastIndex:
    """The files, yanks and statuses of the moment, as far as the bytes are still kept.

    A name that is private now is never looked for in another index: the page of one that was not
    there then is empty. So is the page of a project that is quarantined now.
    """

    def __init__(self, publisher: Publisher, moment: Moment) -> None:
        self.name = publisher.packages.index.name
        self._publisher = publisher
        self._moment = moment.of_index(publisher.name)

    async def projects(self) -> Set[ProjectName]:
        """The names of then. A name of files that were copied in by hand was always there."""
        names = set(await self._publisher.packages.index.projects())
        try:
            first = await in_thread(self._publisher.journal.first_changes)
        except OSError as error:
            raise IndexUnavailable(self.name, reason(error)) from error
        return names - {
            change.project
            for change in first
            if change.action in (Action.PUBLISH, Action.CLAIM)
            and not self._moment.counts(change.number, change.at)
        }

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        page = await self._publisher.packages.index.page(project, checked_after)
        return await self._past(page)

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        index = self._publisher.packages.index
        today = await index.page(project)
        past = await self._past(today)
        file = past.file(filename, digest)
        owner = _owner(past, filename)
        if has_file(today, owner):

            async def check_past(_: ProjectPage) -> None:
                if check:
                    await check(past)

            with suppress(NoSuchFile):  # it was deleted just now
                return await index.file(project, filename, owner.sha256, check_past)
        if check:
            await check(past)
        suffix = filename.removeprefix(owner.filename)
        blob = await self._publisher.packages.kept.blob(
            (owner.sha256 or "", owner.filename), suffix
        )
        # Its bytes may be removed at any time: no answer is made from memory.
        return Artifact(file, blob, not_after=self._publisher.clock())

    async def explain(self, project: ProjectName) -> Explanation:
        found = await self._publisher.packages.index.explain(project)
        if found.page is None:
            return found
        try:
            page = await self._past(found.page)
        except ProxyError as error:
            return Explanation.without_page(self.name, "local", "unavailable", str(error))
        detail = "as it was then, by the journal of its changes"
        return Explanation.of_page(self.name, "local", page, detail=detail)

    async def _past(self, today: ProjectPage) -> ProjectPage:
        """The page at the moment. Raises ``IndexUnavailable``."""
        state = await self._state(today.project)
        status = state.status if state.has_status else today.status
        if _is_quarantined(today.status):
            status = today.status
        files = [] if _is_quarantined(status) else await self._files(today, state)
        listed = [(version_of(file.filename, today.project) or "", file) for file in files]
        now = self._publisher.clock()
        page = page_of_files(today.project, self.name, listed, now + _FRESH, status)
        return msgspec.structs.replace(page, checked=now)

    async def _state(self, project: ProjectName) -> PastProject:
        """Raises ``IndexUnavailable``."""
        try:
            changes = await in_thread(self._publisher.journal.changes_of, project)
        except OSError as error:
            raise IndexUnavailable(self.name, reason(error)) from error
        return state_at(changes, self._moment)

    async def _files(self, today: ProjectPage, state: PastProject) -> list[File]:
        """The files that were listed then, and whose bytes are here. Raises as ``_state``."""
        known = {file.filename: file for file in today.files}
        wanted = {name: each for name, each in state.files.items() if each.is_listed}
        wanted |= {
            name: state.file(file) for name, file in known.items() if name not in state.files
        }
        kept = await self._publisher.packages.kept.find(
            (each.sha256, name)
            for name, each in wanted.items()
            if name not in known or known[name].sha256 != each.sha256
        )
        files = list[File]()
        for name, each in wanted.items():
            file = kept.get((each.sha256, name)) or known.get(name)
            if file and file.sha256 == each.sha256 and each.was_listed(file, self._moment):
                yanked = file.yanked if each.yanked is None else each.yanked
                files.append(msgspec.structs.replace(file, yanked=yanked))
        return files


def _owner(page: ProjectPage, filename: str) -> File:
    """The distribution of that name, or beside which the file of that name is."""
    for name in with_distributions(filename):
        for file in page.files:
            if file.filename == name:
                return file
    raise NoSuchFile(page.project, filename)


def _is_quarantined(status: ProjectStatus | None) -> bool:
    return status is not None and status.status == "quarantined"
