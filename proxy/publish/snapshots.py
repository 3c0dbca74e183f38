"""Snapshots of a local index: names for what it shows, and the roll-back to one.

A snapshot is a change in the journal, so it costs nothing: what the index showed follows from the
changes before it. The bytes of its files are kept as long as it exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from proxy.errors import NotPermitted, UploadRefused
from proxy.model import File, Moment, ProjectName, ProjectStatus
from proxy.publish.base import KeptPlace
from proxy.publish.package_changes import NO_PROJECT, Action, PackageChange, yank_detail
from proxy.publish.past_states import PastFile, PastProject, Snapshot, snapshots_of, state_at
from proxy.publish.publisher import Editor, Publisher
from proxy.runtime import in_thread

_SNAPSHOT_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}\Z", re.ASCII)


class Snapshots:
    """Of one index. Every change of them is for administrators.

    Methods raise ``UploadRefused`` for what is not possible or not permitted, other
    ``ProxyError`` if the index cannot be read, and ``OSError`` from the disk.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._packages = publisher.packages

    async def all(self) -> list[Snapshot]:
        """The oldest first."""
        return list((await self._known()).values())

    async def create(self, name: str, editor: Editor) -> list[PackageChange]:
        """Give a name to what the index shows now."""
        _require_administrator(editor)
        if not _SNAPSHOT_NAME.match(name):
            raise UploadRefused(
                f"{name!a} cannot be the name of a snapshot: use at most 63 lower-case letters, "
                "digits, dots, dashes and underscores, and a letter first"
            )

        async def prepare() -> list[PackageChange]:
            if name in await self._known():
                raise UploadRefused(f"there is a snapshot {name} already: choose another name")
            return [self._publisher.change(Action.SNAPSHOT, NO_PROJECT, editor, name)]

        return await self._packages.make(prepare)

    async def delete(self, name: str, editor: Editor) -> list[PackageChange]:
        """Forget a snapshot. Files that it alone needs are removed as other deleted files."""
        _require_administrator(editor)

        async def prepare() -> list[PackageChange]:
            await self._found(name)
            return [self._publisher.change(Action.FORGET, NO_PROJECT, editor, name)]

        return await self._packages.make(prepare)

    async def restore(
        self, name: str, editor: Editor, *, incomplete: bool = False
    ) -> list[PackageChange]:
        """Restore the files, yanks and statuses that the index had at the snapshot.

        Everything published since is deleted, and can be restored as other deleted files. Owners
        and claims stay. ``incomplete``: leave out files whose bytes are gone, such as those that
        were removed by hand; else they are an error, and nothing is changed.
        """
        _require_administrator(editor)

        async def prepare() -> list[PackageChange]:
            snapshot = await self._found(name)
            rollback = _Rollback(self._publisher, snapshot, editor)
            for project in await self._projects():
                await rollback.add(project)
            if rollback.missing and not incomplete:
                count, first = len(rollback.missing), rollback.missing[0]
                raise UploadRefused(
                    f"nothing was changed, as {count} files of {name} are not kept any more, such "
                    f"as {first}: restore the others alone with --incomplete"
                )
            return rollback.changes

        return await self._packages.make(prepare)

    async def _projects(self) -> list[ProjectName]:
        changed = await in_thread(self._publisher.journal.first_changes)
        names = {change.project for change in changed}
        return sorted(names | set(await self._packages.index.projects()))

    async def _known(self) -> Mapping[str, Snapshot]:
        return await in_thread(snapshots_of, self._publisher.journal)

    async def _found(self, name: str) -> Snapshot:
        if found := (await self._known()).get(name):
            return found
        raise UploadRefused(f"{self._publisher.name} has no snapshot {name!a}")


class _Rollback:
    """Collects the changes after which projects are as they were."""

    def __init__(self, publisher: Publisher, snapshot: Snapshot, editor: Editor) -> None:
        self._publisher = publisher
        self._moment = Moment(snapshot.at, publisher.name, snapshot.number)
        self._why = f"snapshot {snapshot.name}"
        self._editor = editor
        self.changes: list[PackageChange] = []
        self.missing: list[str] = []
        """Files that cannot be brought back."""

    async def add(self, project: ProjectName) -> None:
        packages, page = self._publisher.packages, await self._publisher.page(project)
        changes = await in_thread(self._publisher.journal.changes_of, project)
        past = state_at(changes, self._moment)
        present = {file.filename: file for file in await packages.held(project)}
        kept = await packages.kept.find(
            (each.sha256, name) for name, each in past.files.items() if each.is_listed
        )
        self.changes += self._deletions(project, present, past)
        for name, each in past.files.items():
            if each.was_listed(kept.get((each.sha256, name)) or present.get(name), self._moment):
                self.changes += self._brought_back(project, name, each, present, kept)
        status = page.status if page else None
        if past.has_status and status != past.status:
            wanted = past.status or ProjectStatus("active")
            self.changes.append(self._publisher.change_of_status(project, wanted, self._editor))

    def _deletions(
        self, project: ProjectName, present: Mapping[str, File], past: PastProject
    ) -> Iterator[PackageChange]:
        for file in present.values():
            state = past.file(file)
            if state.sha256 != file.sha256 or not state.was_listed(file, self._moment):
                yield self._of_file(Action.DELETE, project, file, self._why)

    def _brought_back(
        self,
        project: ProjectName,
        name: str,
        past: PastFile,
        present: Mapping[str, File],
        kept: Mapping[KeptPlace, File],
    ) -> Iterator[PackageChange]:
        file = present.get(name)
        if file is None or file.sha256 != past.sha256:
            file = kept.get((past.sha256, name))
            if file is None:
                self.missing.append(name)
                return
            yield self._of_file(Action.RESTORE, project, file, self._why)
        if past.yanked is not None and past.yanked != file.yanked:
            yanks = past.yanked is not False
            detail = yank_detail(past.yanked) if yanks else self._why
            yield self._of_file(Action.YANK if yanks else Action.UNYANK, project, file, detail)

    def _of_file(
        self, action: Action, project: ProjectName, file: File, detail: str
    ) -> PackageChange:
        return self._publisher.change_of_file(action, project, file, self._editor, detail)


def _require_administrator(editor: Editor) -> None:
    if not editor.is_administrator:
        raise NotPermitted("snapshots are made, deleted and restored by administrators")
