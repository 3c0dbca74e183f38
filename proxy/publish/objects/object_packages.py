"""Packages in an object store: how each change is made, beside other processes.

First the bytes are stored, under a key that no other upload uses; then the step that publishes
them is created. A kill before that leaves objects to which no step leads, which are removed a day
later; a kill after it leaves the file published.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from proxy.distributions import (
    DistributionKind,
    UnusableArchive,
    kind_of,
    read_sdist_metadata,
    read_wheel_metadata,
    requires_python_of,
)
from proxy.errors import IndexUnavailable, StoreUnavailable, UploadRefused
from proxy.model import METADATA, YANKED_SUFFIX, File, ProjectName
from proxy.publish.base import Content, Prepare
from proxy.publish.incoming import remove_spool, set_upload_time, write_all
from proxy.publish.objects.folded import Folded, place_of
from proxy.publish.objects.object_files import ObjectFiles
from proxy.publish.objects.object_index import ObjectIndex
from proxy.publish.objects.object_log import LOOK_INTERVAL
from proxy.publish.objects.steps import FILES, ChangeStep, StoredFile, numbered
from proxy.publish.package_changes import Action, PackageChange, yank_detail
from proxy.runtime import in_thread, open_spool, remove_abandoned
from proxy.scale import can_create

log = logging.getLogger(__name__)

MAX_COMMIT = 3600.0
"""Seconds from the start of an upload to its step, at most: older objects without a step are
removed."""
LEFT_AGE = 86400.0
"""Seconds after which objects to which no step leads count as left by a dead process."""
CLOCK = "v1/probe/packages"
"""An object that is written to learn the time of the store."""


class ObjectPackages:
    """A ``PackageStore`` over the objects of an index."""

    def __init__(
        self, index: ObjectIndex, incoming: Path, spread: float = 1.5 * LOOK_INTERVAL
    ) -> None:
        """``incoming``: a folder for spool files, of this index alone. ``spread``: seconds after
        which all machines that reach the store know a change."""
        self.index = index
        self.incoming = incoming
        self._log = index.log
        self._calls = index.log.calls
        self._spread = spread
        self._turn = asyncio.Lock()
        self._is_safe = False

    @property
    def journal(self) -> Folded:
        return self._log.state

    @property
    def kept(self) -> ObjectFiles:
        return self.index.files

    async def open(self) -> None:
        if self.incoming.is_dir():
            await in_thread(remove_abandoned, self.incoming)

    async def close(self) -> None:
        """The log belongs to the index."""

    async def held(self, project: ProjectName) -> Sequence[File]:
        return self.index.held(project)

    async def make(
        self,
        prepare: Prepare,
        content: Content | None = None,
        owners: Sequence[str] | None = None,
    ) -> list[PackageChange]:
        if content is None:
            return await self._add(prepare, None, owners)
        await self._log.catch_up()
        changes = await prepare()  # refused before anything is sent to the store
        if not changes:
            return []
        began = time.monotonic()
        file = await self._store(changes[0], content)
        try:
            made = await self._add(prepare, file, owners, began)
        except (StoreUnavailable, IndexUnavailable):
            raise  # the step may be stored nevertheless
        except Exception:
            await self._remove(file.folder)
            raise
        if not made:
            await self._remove(file.folder)
        return made

    @asynccontextmanager
    async def staged(self, file: File, folder: Path) -> AsyncIterator[Content]:
        project = self._project_of(file)
        artifact = await self.index.file(project, file.filename, file.address_digest)
        fd, path = await in_thread(open_spool, folder)
        try:
            async with aclosing(artifact.blob.chunks()) as chunks:
                async for chunk in chunks:
                    await in_thread(write_all, fd, chunk)
            await in_thread(_finish, fd, file.uploaded_at)
            yield Content(path, await self._beside(project, file))
        finally:
            await in_thread(remove_spool, fd, path)

    async def spread(self, made: Sequence[PackageChange]) -> None:
        """Only a new name needs time: a machine that lacks it would ask upstream for it."""
        if made and self.journal.changes_of(made[0].project)[0] == made[0]:
            await asyncio.sleep(self._spread)

    async def tidy(self) -> None:
        """Remove objects to which no step leads. All times are those of the store's clock."""
        await self._calls.put(CLOCK, b"")
        await self._log.catch_up()
        written = await self._calls.get(CLOCK)
        now = written.meta["last_modified"].timestamp() if written else 0.0
        kept = await in_thread(self.journal.kept_folders)
        async for part in self._calls.list(FILES):
            old = (each.path for each in part if each.stored < now - LEFT_AGE)
            left = [path for path in old if _folder_of(path) not in kept]
            if left:
                await self._calls.delete(left)
                log.info(
                    "%s: removed %d objects that belong to no file", self.index.name, len(left)
                )

    async def _add(
        self,
        prepare: Prepare,
        file: StoredFile | None,
        owners: Sequence[str] | None,
        began: float | None = None,
    ) -> list[PackageChange]:
        """Add a step; the changes are prepared again after each step of another process."""
        async with self._turn:
            await self._require_conditions()
            while True:
                await self._log.catch_up()
                number = self.journal.number
                changes = list(self.journal.possible(await prepare()))
                if not changes:
                    return []
                if began is not None and time.monotonic() - began > MAX_COMMIT:
                    raise OSError("it took more than an hour; upload the file again")
                step = ChangeStep(
                    secrets.token_hex(8),
                    numbered(changes, number + 1),
                    file,
                    None if owners is None else tuple(owners),
                )
                unused = self._unused_after(changes)
                if await self._log.add(step):
                    break
        for folder in unused:
            await self._remove(folder)
        return list(step.changes)

    async def _require_conditions(self) -> None:
        """Raises ``IndexUnavailable`` for a store in which two processes could take one number."""
        if not self._is_safe and not await can_create(self._calls):
            reason = "its object store creates what exists already, so that no change is safe"
            raise IndexUnavailable(self.index.name, reason)
        self._is_safe = True

    def _unused_after(self, changes: Sequence[PackageChange]) -> list[str]:
        """The folders of deleted files that the changes remove."""
        return [
            self.journal.published[each.project].deleted[place_of(each)].stored.folder
            for each in changes
            if each.action is Action.REMOVE
        ]

    async def _store(self, change: PackageChange, content: Content) -> StoredFile:
        """Store the bytes and the files beside them, for one upload.

        For a change that attests, store only the files beside: the bytes are there.
        """
        attests = change.action is Action.ATTEST
        described = (None, None) if attests else await in_thread(_described, content.path, change)
        python, metadata = described
        beside = dict(content.beside)
        beside.pop(YANKED_SUFFIX, None)  # a change of its own says so
        if metadata is not None:
            beside[METADATA] = metadata
        file = StoredFile(
            f"{change.project}/{change.sha256[:16]}-{secrets.token_hex(8)}",
            await in_thread(_upload_time, content.path),
            python,
            hashlib.sha256(metadata).hexdigest() if metadata is not None else "",
            tuple(sorted(beside)),
        )
        for suffix, data in beside.items():
            await self._calls.put(file.key(change.filename, suffix), data)
        if not attests:
            await self._calls.put(file.key(change.filename), content.path)
        return file

    async def _remove(self, folder: str) -> None:
        """Remove the objects of an upload; if that fails, ``tidy`` does so later."""
        with suppress(StoreUnavailable):
            async for part in self._calls.list(f"{FILES}{folder}/"):
                await self._calls.delete([each.path for each in part])

    async def _beside(self, project: ProjectName, file: File) -> dict[str, bytes]:
        """As the files beside one in a directory: without METADATA, with the mark of a yank."""
        found = self.journal.published[project].files[file.filename]
        beside = {
            suffix: await self.index.files.sibling(found, suffix)
            for suffix in found.stored.beside
            if suffix != METADATA
        }
        if file.yanked is not False:
            beside[YANKED_SUFFIX] = yank_detail(file.yanked).encode()
        return beside

    def _project_of(self, file: File) -> ProjectName:
        """Raises ``UploadRefused``."""
        found = self.journal.last_of_file(file.filename, Action.PUBLISH, Action.REPLACE)
        if found is None or found.sha256 != file.sha256:
            raise UploadRefused(f"{file.filename} in {self.index.name} was changed just now")
        return found.project


def _described(path: Path, change: PackageChange) -> tuple[str | None, bytes | None]:
    """Requires-Python, and METADATA of a wheel; None for what the archive does not have."""
    name, project, version = change.filename, change.project, change.version
    try:
        if kind_of(name) is DistributionKind.WHEEL:
            metadata = read_wheel_metadata(path, name)
            return requires_python_of(metadata, project, version), metadata
        metadata = read_sdist_metadata(path, name)
        return requires_python_of(metadata, project, version, sdist=True), None
    except UnusableArchive as error:
        log.warning("%s is listed without metadata: %s", name, error.reason)
        return None, None


def _upload_time(path: Path) -> str:
    """As ``File.uploaded``."""
    modified = path.stat().st_mtime_ns // 1000
    return datetime.fromtimestamp(modified / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _finish(fd: int, uploaded: datetime | None) -> None:
    """Make a spool file durable, with the time of its upload."""
    if uploaded is not None:
        set_upload_time(fd, uploaded.timestamp())
    os.fsync(fd)


def _folder_of(key: str) -> str:
    return key.removeprefix(FILES).rpartition("/")[0]
