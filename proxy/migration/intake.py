"""Takes what a source offers into a local index, by the rules of uploads.

Digests are those that the source names, names and metadata agree with the archive, other bytes
under a used name conflict, attestations verify, quotas hold. The journal has the source of each
file. Files that were taken before an interruption are skipped when the command is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from proxy.errors import ProxyError, UploadRefused
from proxy.migration.offer_checks import (
    attestations_of,
    check_in_place,
    digest_of,
    release_of,
    require_digest,
    strongest_digest,
)
from proxy.migration.offers import Offer, StatusOffer, read_small
from proxy.model import (
    MAX_EXTRA_FILE,
    PROVENANCE,
    SIGNATURE,
    YANKED_SUFFIX,
    Blob,
    File,
    ProjectName,
    ProjectPage,
    ProjectStatus,
    new_hash,
)
from proxy.publish import (
    Action,
    Content,
    Editor,
    IncomingUpload,
    PackageChange,
    Publisher,
    Selection,
    Upkeep,
    UploadedRelease,
    check_archive,
    listed_file,
    yank_detail,
)
from proxy.runtime import in_thread


class IntakeResult(StrEnum):
    """The outcome of an offer that was not refused."""

    PUBLISHED = "took"
    PRESENT = "skipped"
    """The index has the same bytes already."""
    YANKED = "yanked"
    """The index has the same bytes, and gets the mark that the source has by now."""


class _Known(NamedTuple):
    release: UploadedRelease
    page: ProjectPage | None
    """Of the project, in the index."""
    there: File | None
    """The file of that name in the index."""
    is_present: bool
    """It has the offered bytes."""

    def lacks_yank(self, offer: Offer) -> bool:
        return bool(self.there and self.there.yanked is False and offer.yanked is not False)


class Intake:
    """From one source into one index, for an administrator.

    A project that is new to the index is claimed with its first file. It belongs to ``owners``: the
    administrator who takes files of others does not own them by that.
    """

    def __init__(
        self,
        publisher: Publisher,
        editor: Editor,
        label: str,
        *,
        owners: Sequence[str] = (),
        with_provenance: bool = True,
        claimed: Callable[[str, bool], None] = lambda project, public: None,
    ) -> None:
        """``label`` as in ``PackageSource``. ``with_provenance``: take attestations too.

        ``claimed`` is called with each claimed name, and whether an upstream has it as well.
        """
        self._publisher = publisher
        self._editor = editor
        self._label = label
        self._owners = owners
        self._with_provenance = with_provenance
        self._claimed = claimed

    async def take(
        self, offer: Offer, arrived: Callable[[int], None] = lambda size: None
    ) -> IntakeResult:
        """Publish the file unless it is there; ``arrived`` gets the number of bytes so far.

        Raises ``UploadRefused`` and other ``ProxyError`` for a file that cannot be taken, and
        ``OSError`` from the disk of the index.
        """
        known = await self._known(offer)
        if known.is_present:
            return await self._yanked_too(offer, known)
        content = self._publisher.receive()
        try:
            await self._receive(offer, content, arrived)
            return await self._publish(offer, known.release, content)
        finally:
            await content.discard()

    async def examine(self, offer: Offer) -> IntakeResult:
        """The outcome that ``take`` would have, as far as is known without a download.

        Raises as ``take``.
        """
        known = await self._known(offer)
        if known.is_present:
            return IntakeResult.YANKED if known.lacks_yank(offer) else IntakeResult.PRESENT
        await self._publisher.check_quotas(known.page, known.there, offer.size or 0, self._editor)
        blob = await offer.open("")
        if path := blob.local_path():
            await in_thread(check_in_place, path, known.release)
            for name in strongest_digest(offer):
                require_digest(offer, name, await digest_of(blob, name))
        if await self._is_new(known.release.project, known.page):
            await self._announce(known.release)
        return IntakeResult.PUBLISHED

    async def take_status(self, offer: StatusOffer) -> bool:
        """Whether the project gets the status that it has at the source, after its files: not if
        the index has ever given it one, or has no such project. Raises as ``take``."""
        there = await self._publisher.page(offer.project) is not None
        if not (there and await self.lacks_status(offer)):
            return False
        reason = yank_detail(offer.status.reason or True) or None
        status = ProjectStatus(offer.status.status, reason)
        await Upkeep(self._publisher).set_status(offer.project, status, self._editor)
        return True

    async def lacks_status(self, offer: StatusOffer) -> bool:
        """Whether it would get it, if it has files by then. Raises as ``take``."""
        page = await self._publisher.page(offer.project)
        if (page and page.status) or offer.status.status == "active":
            return False
        changes = await in_thread(self._publisher.journal.changes_of, offer.project)
        return not any(each.action is Action.STATUS for each in changes)

    async def _known(self, offer: Offer) -> _Known:
        """The subject of the offer, and the files of it in the index. Raises, before the bytes are
        read, as ``take``."""
        blob = await offer.open("")
        release = await in_thread(release_of, offer, blob.local_path())
        page = await self._publisher.page(release.project)
        self._publisher.check_size(offer.size or 0, "it")
        there, digest = listed_file(page, offer.filename), offer.hashes.get("sha256", "")
        same = await self._is_same(offer, blob, release.project, there) if there else None
        if page is not None and not same:
            await self._publisher.require_editable(release.project, page, self._editor)
        if same is False or (there is None and digest):
            await in_thread(self._publisher.check_conflict, offer.filename, digest, there)
        return _Known(release, page, there, is_present=bool(same))

    async def _yanked_too(self, offer: Offer, known: _Known) -> IntakeResult:
        """Take over a yank that is newer than the file; a mark is never taken away."""
        if not known.lacks_yank(offer):
            return IntakeResult.PRESENT
        selection = Selection(known.release.project, filename=offer.filename)
        await Upkeep(self._publisher).yank(selection, yank_detail(offer.yanked), self._editor)
        return IntakeResult.YANKED

    async def _is_same(
        self, offer: Offer, blob: Blob, project: ProjectName, there: File
    ) -> bool | None:
        """Whether the index has the offered bytes; None: that is known only after a download."""
        for name in strongest_digest(offer):
            if name in there.hashes:
                return offer.hashes[name] == there.hashes[name]
            listed = await self._publisher.packages.index.file(project, there.filename)
            return offer.hashes[name] == await digest_of(listed.blob, name)
        return there.sha256 == await digest_of(blob, "sha256") if blob.local_path() else None

    async def _receive(
        self, offer: Offer, content: IncomingUpload, arrived: Callable[[int], None]
    ) -> None:
        checks = {name: new_hash(name) for name in strongest_digest(offer)}
        async for piece in (await offer.open("")).chunks():
            for check in checks.values():
                check.update(piece)
            await content.write(piece)
            arrived(content.size)
        for name, check in checks.items():
            require_digest(offer, name, check.hexdigest())
        if offer.size not in (None, content.size):
            raise UploadRefused(f"it has {content.size} bytes instead of {offer.size}")
        now, uploaded = self._publisher.clock(), offer.uploaded
        await content.finish(None if uploaded is None else max(0.0, min(uploaded, now)))

    async def _beside(self, offer: Offer, digest: str) -> dict[str, bytes]:
        """The files beside the distribution, by suffix; attestations are verified."""
        found: dict[str, bytes] = {}
        if SIGNATURE in offer.beside:
            found[SIGNATURE] = await read_small(await offer.open(SIGNATURE), MAX_EXTRA_FILE)
        if PROVENANCE in offer.beside and self._with_provenance:
            document = await read_small(await offer.open(PROVENANCE), MAX_EXTRA_FILE)
            attestations = attestations_of(document)
            make = self._publisher.make_provenance
            found[PROVENANCE] = await make(attestations, offer.filename, digest)
        if offer.yanked is not False:
            found[YANKED_SUFFIX] = yank_detail(offer.yanked).encode()
        return found

    async def _publish(
        self, offer: Offer, release: UploadedRelease, content: IncomingUpload
    ) -> IntakeResult:
        publisher = self._publisher
        await in_thread(check_archive, content.path, release, {})
        beside = await self._beside(offer, content.digests["sha256"])
        is_new = await self._is_new(release.project, await publisher.page(release.project))

        async def prepare() -> list[PackageChange]:
            page = await publisher.page(release.project)
            action = await publisher.action_for(page, offer.filename, content, self._editor)
            if action is None:
                return []
            change = publisher.change_of_upload(action, release, content, self._editor, self._label)
            if offer.yanked is False:
                return [change]
            why = yank_detail(offer.yanked)
            return [change, msgspec.structs.replace(change, action=Action.YANK, detail=why)]

        made = await publisher.packages.make(
            prepare, Content(content.path, beside), owners=self._owners
        )
        if made and is_new:
            await Upkeep(publisher).claim(release.project, self._editor)
            await self._announce(release)
        return IntakeResult.PUBLISHED if made else IntakeResult.PRESENT

    async def _is_new(self, project: ProjectName, page: ProjectPage | None) -> bool:
        """Whether the project has no files in the index, and is not claimed."""
        if page and page.files:
            return False
        return not await in_thread(self._publisher.journal.is_claimed, project)

    async def _announce(self, release: UploadedRelease) -> None:
        """Report the claim, and whether it hides a project of an upstream that answers."""
        try:
            public = await self._publisher.is_upstream(release.project)
        except ProxyError:
            public = False
        self._claimed(release.project, public)
