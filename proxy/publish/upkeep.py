"""Changes after publishing: yank, delete and restore files; the status, owners and claim of a name.

Every method raises ``UploadRefused`` for a change that is not possible or not permitted, other
``ProxyError`` if the index cannot be read, and ``OSError`` from the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from proxy.distributions import same_version, version_of
from proxy.errors import NotPermitted, UploadRefused
from proxy.model import (
    PROJECT_STATUSES,
    STATUS_FILE,
    YANKED_SUFFIX,
    File,
    ProjectName,
    ProjectPage,
    ProjectStatus,
)
from proxy.publish.journal import Action, PackageChange
from proxy.publish.package_files import (
    bring_back,
    make_folder,
    move_with_sidecars,
    path_of,
    remove_durably,
    remove_with_sidecars,
    write_durably,
)
from proxy.publish.publisher import Editor, Publisher
from proxy.runtime import in_thread


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
        self._journal = publisher.journal
        self._deleted = publisher.journal.folder / "deleted"

    async def yank(self, selection: Selection, reason: str, editor: Editor) -> list[PackageChange]:
        """Mark files as yanked (PEP 592). Returns the changes, without files yanked already."""
        text = " ".join(reason.split())
        files = [f for f in await self._files(selection, editor) if f.yanked != (text or True)]
        return await self._change(files, selection, Action.YANK, editor, text)

    async def unyank(self, selection: Selection, editor: Editor) -> list[PackageChange]:
        """Take the marks away. Returns the changes, without files that are not yanked."""
        files = [f for f in await self._files(selection, editor) if f.yanked is not False]
        return await self._change(files, selection, Action.UNYANK, editor)

    async def delete(self, selection: Selection, editor: Editor) -> list[PackageChange]:
        """Take files away, so that ``restore`` can bring them back until ``remove_deleted``.

        The name of the project stays private, and a filename keeps its bytes.
        """
        files = await self._files(selection, editor)
        return await self._change(files, selection, Action.DELETE, editor)

    async def restore(self, selection: Selection, editor: Editor) -> list[PackageChange]:
        """Bring back deleted files."""
        await self._require_owner(selection.project, editor)
        changes = await in_thread(self._restore, selection, editor)
        self._publisher.directory.poll()
        if not changes:
            raise UploadRefused(f"no deleted file is kept of {selection}")
        return changes

    async def remove_deleted(self, before: float) -> int:
        """Remove the bytes of files that were deleted before that Unix time; returns how many."""
        return await in_thread(self._remove_deleted, before)

    async def set_status(
        self, project: ProjectName, status: ProjectStatus, editor: Editor
    ) -> list[PackageChange]:
        """PEP 792. A quarantined project offers no files until its status is another one."""
        if status.status not in PROJECT_STATUSES:
            known = ", ".join(PROJECT_STATUSES)
            raise UploadRefused(f"there is no status {status.status!r}: use one of {known}")
        await self._require_owner(project, editor)
        await self._page(project)
        detail = ": ".join(filter(None, (status.status, status.reason)))
        change = self._of_project(Action.STATUS, project, editor, detail)
        await in_thread(self._write_status, status, change)
        self._publisher.directory.poll()
        return [change]

    async def claim(self, project: ProjectName, editor: Editor) -> list[PackageChange]:
        """Reserve a name for this index that an upstream may have. For administrators."""
        if not editor.is_administrator:
            raise NotPermitted(f"only an administrator can claim {project}")
        change = self._of_project(Action.CLAIM, project, editor)
        await in_thread(self._claim, change)
        self._publisher.directory.poll()
        return [change]

    async def set_owners(
        self, project: ProjectName, users: Sequence[str], editor: Editor
    ) -> list[PackageChange]:
        """Only these users, and administrators, may change the project from now on."""
        await self._require_owner(project, editor)
        names = sorted(set(users))
        change = self._of_project(Action.OWNERS, project, editor, " ".join(names))
        await in_thread(self._journal.set_owners, change, names)
        return [change]

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

    async def _change(
        self,
        files: Iterable[File],
        selection: Selection,
        action: Action,
        editor: Editor,
        detail: str = "",
    ) -> list[PackageChange]:
        """Make the change of each file, with its entry in the journal."""
        pairs = [
            (path_of(file), self._of_file(action, selection, file, editor, detail))
            for file in files
        ]
        act = {Action.YANK: _yank, Action.UNYANK: _unyank, Action.DELETE: self._move}[action]
        await in_thread(self._make, act, pairs)
        self._publisher.directory.poll()
        return [change for _, change in pairs]

    def _make(
        self,
        act: Callable[[Path, PackageChange], None],
        pairs: Sequence[tuple[Path, PackageChange]],
    ) -> None:
        with self._journal.exclusively():
            for path, change in pairs:
                act(path, change)
                self._journal.complete(change)

    def _move(self, path: Path, change: PackageChange) -> None:
        move_with_sidecars(path, self._deleted / change.sha256)

    def _restore(self, selection: Selection, editor: Editor) -> list[PackageChange]:
        restored = []
        with self._journal.exclusively():
            for change in self._last_of_files(selection):
                folder = self._deleted / change.sha256
                target = self._publisher.folder(change.project) / change.filename
                if target.exists() or not (folder / change.filename).is_file():
                    continue  # it was published again, or is not kept any more
                make_folder(target.parent)
                bring_back(folder, change.filename, target)
                restored.append(self._again(Action.RESTORE, change, editor))
                self._journal.complete(restored[-1])
        return restored

    def _remove_deleted(self, before: float) -> int:
        if not self._deleted.is_dir():
            return 0
        with self._journal.exclusively():
            gone = [
                change
                for change in self._journal.deleted()
                if change.at < before
                and (self._deleted / change.sha256 / change.filename).is_file()
            ]
            for change in gone:
                remove_with_sidecars(self._deleted / change.sha256 / change.filename)
                self._journal.complete(self._again(Action.REMOVE, change, Editor()))
        return len(gone)

    def _last_of_files(self, selection: Selection) -> list[PackageChange]:
        """The newest change of each selected file that was ever here."""
        changes = self._journal.changes_of(selection.project)
        newest = {change.filename: change for change in changes if change.filename}
        return [change for name, change in newest.items() if selection.has(name)]

    def _write_status(self, status: ProjectStatus, change: PackageChange) -> None:
        folder = self._publisher.folder(change.project)
        with self._journal.exclusively():
            make_folder(folder)
            if status.status == "active":
                remove_durably(folder / STATUS_FILE)
            else:
                write_durably(folder / STATUS_FILE, msgspec.json.encode(status))
            self._journal.complete(change)

    def _claim(self, change: PackageChange) -> None:
        with self._journal.exclusively():
            make_folder(self._publisher.folder(change.project))  # the folder keeps the name private
            self._journal.claim(change)

    def _of_file(
        self, action: Action, selection: Selection, file: File, editor: Editor, detail: str
    ) -> PackageChange:
        project = selection.project
        return PackageChange(
            action=action,
            at=self._publisher.clock(),
            actor=editor.name,
            project=project,
            version=version_of(file.filename, project) or "",
            filename=file.filename,
            sha256=file.sha256 or "",
            size=file.size or 0,
            detail=detail,
        )

    def _again(self, action: Action, change: PackageChange, editor: Editor) -> PackageChange:
        at = self._publisher.clock()
        return msgspec.structs.replace(change, action=action, at=at, actor=editor.name, number=0)

    def _of_project(
        self, action: Action, project: ProjectName, editor: Editor, detail: str = ""
    ) -> PackageChange:
        at = self._publisher.clock()
        return PackageChange(
            action=action, at=at, actor=editor.name, project=project, detail=detail
        )


def _yank(path: Path, change: PackageChange) -> None:
    write_durably(path.with_name(path.name + YANKED_SUFFIX), change.detail.encode())


def _unyank(path: Path, change: PackageChange) -> None:
    remove_durably(path.with_name(path.name + YANKED_SUFFIX))
