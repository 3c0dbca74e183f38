"""Publishes uploads to a local index, by its rules about owners and conflicts.

The place of the packages makes the changes, so the rules are the same for a directory and for an
object store.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from proxy.distributions import version_of
from proxy.errors import (
    FileConflict,
    NoSuchFile,
    NoSuchProject,
    NotPermitted,
    UploadRefused,
    UploadTooLarge,
)
from proxy.model import PROVENANCE, File, Moment, ProjectName, ProjectPage, ProjectStatus
from proxy.publish.base import ChangeJournal, Content, PackageStore
from proxy.publish.incoming import IncomingUpload
from proxy.publish.joined_provenance import lacking_provenance
from proxy.publish.package_changes import Action, PackageChange
from proxy.publish.past_states import snapshots_of
from proxy.publish.upload_checks import UploadedRelease
from proxy.runtime import in_thread, size_text

IsUpstream = Callable[[ProjectName], Awaitable[bool]]
"""Whether another index, such as PyPI, has a project of that name. Raises ``ProxyError``."""
MakeProvenance = Callable[[str, str, str], Awaitable[bytes]]
"""Makes the provenance object (PEP 740) of the attestations of an upload, which it verifies, from
their list as JSON, the name of the file and its SHA-256. Raises ``UploadRefused``."""


async def no_provenance(attestations: str, filename: str, sha256: str) -> bytes:
    raise UploadRefused("this server does not verify attestations: upload without them")


class Limits(msgspec.Struct, frozen=True):
    """The limits of an index."""

    overwrite: bool = False
    """Whether a file may be replaced by other bytes of its name."""
    max_file: int = 2 * 2**30
    """Bytes of one file."""
    project_quota: int | None = None
    """Bytes of all files of a project."""
    user_quota: int | None = None
    """Bytes of all files that a user has published."""


class Editor(msgspec.Struct, frozen=True):
    """The user who makes a change. The caller has checked the right to upload."""

    name: str = ""
    """Empty where access is not controlled."""
    is_administrator: bool = False


class Publisher:
    """Publishes to one place, beside other processes that do the same."""

    def __init__(
        self,
        name: str,
        packages: PackageStore,
        limits: Limits,
        is_upstream: IsUpstream,
        clock: Callable[[], float] = time.time,
        make_provenance: MakeProvenance = no_provenance,
    ) -> None:
        self.name = name
        """That of the index."""
        self.packages = packages
        self.limits = limits
        self.clock = clock
        self.make_provenance = make_provenance
        self.is_upstream = is_upstream

    @property
    def journal(self) -> ChangeJournal:
        return self.packages.journal

    async def open(self) -> None:
        await self.packages.open()

    async def close(self) -> None:
        await self.packages.close()

    def receive(self) -> IncomingUpload:
        """A place for the bytes of an upload."""
        return IncomingUpload(self.packages.incoming, self.limits.max_file)

    async def publish(
        self,
        release: UploadedRelease,
        content: IncomingUpload,
        editor: Editor,
        beside: Mapping[str, bytes],
    ) -> bool:
        """Publish bytes whose checks have passed; False: the same bytes are there already.

        Attestations that such a file lacks are added. ``beside``: further files by suffix, such
        as signatures. Raises ``UploadRefused`` and ``OSError``.
        """

        async def prepare() -> list[PackageChange]:
            return await self._prepare(release, content, editor)

        if made := await self.packages.make(prepare, Content(content.path, beside)):
            await self.packages.spread(made)
            return True
        if PROVENANCE in beside:
            await self._attest(release, content, editor, beside[PROVENANCE])
        return False

    async def _attest(
        self,
        release: UploadedRelease,
        content: IncomingUpload,
        editor: Editor,
        provenance: bytes,
    ) -> None:
        """Add what the provenance of a file that is there already lacks."""
        index, project = self.packages.index, release.project
        lacking = await lacking_provenance(index, project, release.filename, provenance)
        if lacking is None:
            return

        async def prepare() -> list[PackageChange]:
            there = listed_file(await self.page(release.project), release.filename)
            if there is None or there.sha256 != content.digests["sha256"]:
                return []
            return [self.change_of_upload(Action.ATTEST, release, content, editor)]

        await self.packages.make(prepare, Content(content.path, {PROVENANCE: lacking}))

    async def _prepare(
        self, release: UploadedRelease, content: IncomingUpload, editor: Editor
    ) -> list[PackageChange]:
        page = await self.page(release.project)
        await self.require_editable(release.project, page, editor)
        action = await self.action_for(page, release.filename, content, editor)
        return [self.change_of_upload(action, release, content, editor)] if action else []

    async def action_for(
        self, page: ProjectPage | None, filename: str, content: IncomingUpload, editor: Editor
    ) -> Action | None:
        """The kind of change for an upload to the project of the page; None: its bytes are there
        already.

        Raises ``FileConflict`` and ``UploadTooLarge``.
        """
        there, digest = listed_file(page, filename), content.digests["sha256"]
        if there and there.sha256 == digest:
            return None
        await in_thread(self.check_conflict, filename, digest, there)
        await self.check_quotas(page, there, content.size, editor)
        return Action.REPLACE if there else Action.PUBLISH

    def change(
        self, action: Action, project: ProjectName, editor: Editor, detail: str = ""
    ) -> PackageChange:
        """A change that is to be made now."""
        return PackageChange(
            action=action, at=self.clock(), actor=editor.name, project=project, detail=detail
        )

    def change_of_upload(
        self,
        action: Action,
        release: UploadedRelease,
        content: IncomingUpload,
        editor: Editor,
        detail: str = "",
    ) -> PackageChange:
        return msgspec.structs.replace(
            self.change(action, release.project, editor, detail),
            version=release.version,
            filename=release.filename,
            sha256=content.digests["sha256"],
            size=content.size,
        )

    def change_of_file(
        self, action: Action, project: ProjectName, file: File, editor: Editor, detail: str = ""
    ) -> PackageChange:
        """``file``: as a page lists it, in this index or another."""
        return msgspec.structs.replace(
            self.change(action, project, editor, detail),
            version=version_of(file.filename, project) or "",
            filename=file.filename,
            sha256=file.sha256 or "",
            size=file.size or 0,
        )

    def change_of_status(
        self, project: ProjectName, status: ProjectStatus, editor: Editor
    ) -> PackageChange:
        """``PackageChange.status`` reads the detail."""
        detail = ": ".join(filter(None, (status.status, status.reason)))
        return self.change(Action.STATUS, project, editor, detail)

    async def page(self, project: ProjectName) -> ProjectPage | None:
        """The page of the project in this index; None if it has none. Raises ``ProxyError``."""
        try:
            return await self.packages.index.page(project)
        except NoSuchProject:
            return None

    async def require_editable(
        self, project: ProjectName, page: ProjectPage | None, editor: Editor
    ) -> None:
        """Raises ``NotPermitted`` if the user may not publish files of the project."""
        owners = await in_thread(self.journal.owners, project)
        if owners and editor.name not in owners and not editor.is_administrator:
            raise NotPermitted(f"{project} belongs to {', '.join(owners)}: ask for a right to it")
        if page and page.status and page.status.status in ("archived", "quarantined"):
            raise NotPermitted(f"{project} is {page.status.status}, and accepts no files")
        if page is not None or await in_thread(self.journal.is_claimed, project):
            return
        if await self.is_upstream(project):
            raise NotPermitted(
                f"the name {project} exists upstream: an administrator can claim the name for "
                f"this index with `waystation claim {project}`"
            )

    async def moment_of(self, snapshot: str) -> Moment | None:
        """The moment of a snapshot; None if there is none of that name. Raises ``OSError``."""
        found = (await in_thread(snapshots_of, self.journal)).get(snapshot)
        return Moment(found.at, self.name, found.number) if found else None

    def check_conflict(self, filename: str, digest: str, there: File | None) -> None:
        """Raises ``FileConflict``. A name keeps its bytes, also after the file was deleted."""
        if self.limits.overwrite:
            return
        if there:
            raise FileConflict(filename, f"with sha256 hash '{there.sha256}'")
        used = self.journal.last_of_file(filename, Action.PUBLISH, Action.REPLACE)
        if used and used.sha256 != digest:
            raise FileConflict(filename, "as a file of other bytes that has since been deleted")

    def check_size(self, size: int, named: str) -> None:
        """Raises ``UploadTooLarge``. ``named``: the file, in the message."""
        if size > (most := self.limits.max_file):
            limit = f"{self.name} takes at most {size_text(most)}"
            raise UploadTooLarge(f"{named} has {size_text(size)}: {limit}")

    async def check_quotas(
        self, page: ProjectPage | None, there: File | None, size: int, editor: Editor
    ) -> None:
        """Raises ``UploadTooLarge``."""
        more = size - ((there.size or 0) if there else 0)
        if (quota := self.limits.project_quota) is not None:
            used = sum(file.size or 0 for file in page.files) if page else 0
            _require_room(used + more, quota, "the project")
        if (quota := self.limits.user_quota) is not None:
            used = await in_thread(self.journal.bytes_of, editor.name)
            _require_room(used + size, quota, "all that you have published")


def listed_file(page: ProjectPage | None, filename: str) -> File | None:
    """The file of that name; None if the page, which may be missing, does not have one."""
    try:
        return page.file(filename) if page else None
    except NoSuchFile:
        return None


def has_file(page: ProjectPage | None, file: File) -> bool:
    """Whether the page, which may be missing, lists the same bytes under the same name."""
    there = listed_file(page, file.filename)
    return there is not None and there.sha256 == file.sha256


def _require_room(total: int, quota: int, whose: str) -> None:
    if total > quota:
        raise UploadTooLarge(f"{whose} would take {size_text(total)} of {size_text(quota)}")
