"""Changes after publishing: yank, delete and restore files; the status, owners and claim of a name.

Every method raises ``UploadRefused`` for a change that is not possible or not permitted, other
``ProxyError`` if the index cannot be read, and ``OSError`` from the disk.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from proxy.distributions import same_version, version_of
from proxy.errors import NotPermitted, UploadRefused
from proxy.model import PROJECT_STATUSES, File, ProjectName, ProjectPage, ProjectStatus
from proxy.publish.package_changes import MAX_REASON, Action, PackageChange, reason_text
from proxy.publish.past_states import needed_by_snapshots
from proxy.publish.publisher import Editor, Publisher
from proxy.runtime import in_thread

MAX_USER = 500
"""Characters of the name of an owner; those of CI have the number or path of a repository."""


class Selection(msgspec.Struct, frozen=True):
    """Files of a project: those of a version, one by its name, or all."""

    project: ProjectName
    version: str = ""
    filename: str = ""

    def has(self, filename: str) -> bool:
        if self.filename:
            return filename == self.filename
        version = version_of(filename, self.project) or ""
        return not self.version or same_version(version, self.version)

    def __str__(self) -> str:
        wanted = self.filename or (f"version {self.version}" if self.version else "")
        return f"{wanted} of {self.project}" if wanted else self.project


class Upkeep:
    """Changes what a publisher has published."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._packages = publisher.packages
        self._journal = publisher.journal

    async def yank(self, selection: Selection, reason: str, editor: Editor) -> list[PackageChange]:
        """Mark files as yanked (PEP 592). Returns the changes, without files yanked already."""
        text = _reason(reason)

        async def prepare() -> list[PackageChange]:
            files = await self._files(selection, editor)
            wanted = [file for file in files if file.yanked != (text or True)]
            return self._of_files(Action.YANK, selection, wanted, editor, text)

        return await self._packages.make(prepare)

    async def unyank(self, selection: Selection, editor: Editor) -> list[PackageChange]:
        """Take the marks away. Returns the changes, without files that are not yanked."""

        async def prepare() -> list[PackageChange]:
            files = await self._files(selection, editor)
            wanted = [file for file in files if file.yanked is not False]
            return self._of_files(Action.UNYANK, selection, wanted, editor)

        return await self._packages.make(prepare)

    async def delete(self, selection: Selection, editor: Editor) -> list[PackageChange]:
        """Take files away, so that ``restore`` can bring them back until ``remove_deleted``.

        The name of the project stays private, and a filename keeps its bytes.
        """

        async def prepare() -> list[PackageChange]:
            files = await self._files(selection, editor)
            return self._of_files(Action.DELETE, selection, files, editor)

        return await self._packages.make(prepare)

    async def restore(self, selection: Selection, editor: Editor) -> list[PackageChange]:
        """Bring back deleted files."""

        async def prepare() -> list[PackageChange]:
            await self._require_owner(selection.project, editor)
            found = await in_thread(self._last_of_files, selection)
            return [self._again(Action.RESTORE, change, editor) for change in found]

        changes = await self._packages.make(prepare)
        if not changes:
            raise UploadRefused(f"no deleted file is kept of {selection}")
        return changes

    async def remove_deleted(self, before: float) -> int:
        """Remove the bytes of files that were deleted before that Unix time; returns how many.

        Bytes that a snapshot needs stay.
        """

        async def prepare() -> list[PackageChange]:
            old = await in_thread(self._not_needed, before)
            return [self._again(Action.REMOVE, change, Editor()) for change in old]

        return len(await self._packages.make(prepare))

    async def set_status(
        self, project: ProjectName, status: ProjectStatus, editor: Editor
    ) -> list[PackageChange]:
        """PEP 792. A quarantined project offers no files until its status is another one."""
        if status.status not in PROJECT_STATUSES:
            known = ", ".join(PROJECT_STATUSES)
            raise UploadRefused(f"there is no status {status.status!r}: use one of {known}")
        wanted = ProjectStatus(status.status, _reason(status.reason or "") or None)

        async def prepare() -> list[PackageChange]:
            await self._require_owner(project, editor)
            await self._page(project)
            return [self._publisher.change_of_status(project, wanted, editor)]

        return await self._packages.make(prepare)

    async def claim(self, project: ProjectName, editor: Editor) -> list[PackageChange]:
        """Reserve a name for this index that an upstream may have. For administrators."""
        if not editor.is_administrator:
            raise NotPermitted(f"only an administrator can claim {project}")

        async def prepare() -> list[PackageChange]:
            return [self._publisher.change(Action.CLAIM, project, editor)]

        return await self._packages.make(prepare)

    async def set_owners(
        self, project: ProjectName, users: Sequence[str], editor: Editor
    ) -> list[PackageChange]:
        """Only these users, and administrators, may change the project from now on."""
        names = sorted(set(users))
        for name in names:
            if not _can_be_user(name):
                raise UploadRefused(f"{name[:100]!a} cannot be the name of a user")

        async def prepare() -> list[PackageChange]:
            await self._require_owner(project, editor)
            return [self._publisher.change(Action.OWNERS, project, editor, " ".join(names))]

        return await self._packages.make(prepare, owners=names)

    async def _files(self, selection: Selection, editor: Editor) -> list[File]:
        await self._require_owner(selection.project, editor)
        page = await self._page(selection.project)
        files = [file for file in page.files if selection.has(file.filename)]
        if not files:
            raise UploadRefused(f"there is no file {selection} in {self._publisher.name}")
        return files

    async def _page(self, project: ProjectName) -> ProjectPage:
        page = await self._publisher.page(project)
        if page is None:
            raise UploadRefused(f"{self._publisher.name} has no project {project}")
        return page

    async def _require_owner(self, project: ProjectName, editor: Editor) -> None:
        owners = await in_thread(self._journal.owners, project)
        if owners and editor.name not in owners and not editor.is_administrator:
            raise NotPermitted(f"{project} belongs to {', '.join(owners)}")

    def _not_needed(self, before: float) -> list[PackageChange]:
        """The deletions before that Unix time of files that no snapshot has."""
        old = [change for change in self._journal.deleted() if change.at < before]
        needed = needed_by_snapshots(self._journal, *{change.project for change in old})
        return [change for change in old if (change.sha256, change.filename) not in needed]

    def _last_of_files(self, selection: Selection) -> list[PackageChange]:
        """The newest change of each selected file that was ever here, whose bytes may be kept."""
        changes = self._journal.changes_of(selection.project)
        newest = {
            change.filename: change
            for change in changes
            if change.filename and change.action is not Action.REMOVE  # of earlier bytes
        }
        return [change for name, change in newest.items() if selection.has(name)]

    def _of_files(
        self,
        action: Action,
        selection: Selection,
        files: Sequence[File],
        editor: Editor,
        detail: str = "",
    ) -> list[PackageChange]:
        change = self._publisher.change_of_file
        return [change(action, selection.project, file, editor, detail) for file in files]

    def _again(self, action: Action, change: PackageChange, editor: Editor) -> PackageChange:
        at = self._publisher.clock()
        return msgspec.structs.replace(change, action=action, at=at, actor=editor.name, number=0)


def _reason(text: str) -> str:
    """Raises ``UploadRefused``."""
    if len(text) > MAX_REASON:
        raise UploadRefused(f"the reason has more than {MAX_REASON} characters: shorten it")
    return reason_text(text)


def _can_be_user(name: str) -> bool:
    return name.isprintable() and 0 < len(name.strip()) == len(name) <= MAX_USER
