"""The digest history of a mirror: every file it has ever seen on a page.

The bytes under a file name do not change on an honest index: PyPI never lets a name be used
again. Where they do change, the digest that was seen first stays, unless the settings say
otherwise. The history also knows the files that upstream no longer lists.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Mapping
from typing import Literal, NamedTuple

import msgspec

from proxy.events import ChangeOutcome, FileChanged, Observer
from proxy.indexes.mirror.removed_files import RemovedFiles
from proxy.model import File, ProjectName, ProjectPage
from proxy.runtime import BackgroundQueue, BoundedDict, SingleFlight, run_in_worker, timestamp_text
from proxy.storage import (
    ChangedFile,
    ChangedFiles,
    DigestHistoryRecord,
    FirstSeenFile,
    Key,
    RecordKind,
    Records,
    decode_digest_history,
    encode_digest_history,
)

log = logging.getLogger(__name__)

OnChange = Literal["refuse", "warn", "accept"]
CHANGE_OUTCOMES: Mapping[OnChange, ChangeOutcome] = {
    "refuse": ChangeOutcome.REFUSED,
    "warn": ChangeOutcome.SHOWN,
    "accept": ChangeOutcome.ACCEPTED,
}
HISTORY_BYTES_PER_FILE = 600
"""Bytes of a page for each of its files, roughly."""
WRITTEN_TOGETHER = 64
"""Pages whose files are recorded in one transaction, at most: an install requests many pages."""
LARGE_PAGE = 3_000
"""Files from which on a page takes so much memory that only one may wait to be recorded."""


class _Unrecorded(NamedTuple):
    """A reviewed page whose new files are not recorded yet."""

    seen: DigestHistoryRecord
    page: ProjectPage
    refused: Container[str]
    """Names of files whose first digest stays in the record."""
    now: float
    """Unix time in seconds of the review."""


class DigestHistory:
    """Records every file of every page; reviews each page against the record."""

    def __init__(
        self,
        name: str,
        namespace: str,
        records: Records,
        events: Observer,
        on_change: OnChange,
        *,
        removed: RemovedFiles | None = None,
        adds_first_seen: bool = False,
        trusts_dates: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``removed`` adds files to the reviewed pages that they no longer list;
        ``adds_first_seen`` adds when each file was first listed; without ``trusts_dates`` that
        time replaces its upload time."""
        self._name = name
        self._namespace = namespace
        self._records = records
        self._events = events
        self._on_change = on_change
        self._removed = removed
        self._adds_first_seen = adds_first_seen
        self._trusts_dates = trusts_dates
        self._clock = clock
        self._count = ChangedFiles(records)
        self._reported: BoundedDict[tuple[str, str, str], None] = BoundedDict(10_000)
        self._unrecorded: dict[ProjectName, _Unrecorded] = {}
        self._writes: SingleFlight[ProjectName, None] = SingleFlight()
        self._background = BackgroundQueue(self.wait_recorded, concurrency=WRITTEN_TOGETHER)

    async def review(self, page: ProjectPage) -> ProjectPage:
        """The page as it may be shown: a changed file is refused, shown, or accepted.

        New files are recorded in the background.
        """
        size = HISTORY_BYTES_PER_FILE * len(page.files)
        await self.wait_recorded(page.project)
        await self.make_room(len(page.files))
        seen = await self._seen(page.project, size)
        changed = await run_in_worker(size, lambda: _changed(seen, page)) if seen else []
        for old, new in changed:
            await self._report(page.project, old, new)
        refused = changed if self._on_change == "refuse" else []
        shown = {new.filename: _as_seen(old, new) for old, new in refused}
        now = self._clock()
        self._unrecorded[page.project] = _Unrecorded(seen, page, shown, now)
        self._background.add(page.project)
        if shown:
            files = tuple(shown.get(file.filename, file) for file in page.files)
            page = msgspec.structs.replace(page, files=files)
        if self._adds_first_seen or not self._trusts_dates:
            page = self._with_first_seen(page, seen, now)
        return await self._removed.add_to(page, seen) if self._removed else page

    def _with_first_seen(
        self, page: ProjectPage, seen: DigestHistoryRecord, now: float
    ) -> ProjectPage:
        times = {file.filename: _first_seen(seen, file, now) for file in page.files}
        if self._trusts_dates:
            return msgspec.structs.replace(page, first_seen=times)
        files = tuple(
            msgspec.structs.replace(file, uploaded=timestamp_text(times[file.filename]))
            for file in page.files
        )
        return msgspec.structs.replace(page, first_seen=times, files=files)

    async def wait_recorded(self, project: ProjectName) -> None:
        """Wait until everything seen of the project is recorded."""
        while project in self._unrecorded or self._writes.is_running(project):
            await self._writes.do(project, lambda: self._write(project))

    async def make_room(self, files: int) -> None:
        """Before a page of so many files is read, record a large page that waits for it.

        Any number of other pages may wait, so that requests do not wait for the disk.
        """
        if files < LARGE_PAGE:
            return
        for project, unrecorded in list(self._unrecorded.items()):
            if len(unrecorded.page.files) >= LARGE_PAGE:
                await self.wait_recorded(project)

    async def _seen(self, project: ProjectName, size: int) -> DigestHistoryRecord:
        record = await self._records.get(Key(RecordKind.DIGEST_HISTORY, self._namespace, project))
        return await run_in_worker(size, lambda: decode_digest_history(record)) if record else {}

    async def close(self) -> None:
        """Record what waits."""
        await self._background.close()
        for project in list(self._unrecorded):
            await self.wait_recorded(project)
        await self._writes.close()

    async def _write(self, project: ProjectName) -> None:
        unrecorded = self._unrecorded.pop(project)
        size = HISTORY_BYTES_PER_FILE * len(unrecorded.page.files)
        packed = await run_in_worker(size, lambda: _with_new_files(unrecorded))
        if packed is not None:
            await self._records.put(
                Key(RecordKind.DIGEST_HISTORY, self._namespace, project), packed
            )

    async def _report(self, project: ProjectName, old: FirstSeenFile, new: File) -> None:
        """Log and count a change, once: pages are read often."""
        if (project, new.filename, new.address_digest) in self._reported:
            return
        self._reported[project, new.filename, new.address_digest] = None
        outcome = CHANGE_OUTCOMES[self._on_change]
        log.error(
            "%s lists other bytes for %s of %s: %s instead of %s; the change is %s",
            self._name,
            new.filename,
            project,
            new.address_digest,
            old.digest,
            outcome,
        )
        self._events(
            FileChanged(project, new.filename, self._name, old.digest, new.address_digest, outcome)
        )
        change = ChangedFile(old.digest, new.address_digest, self._clock())
        await self._count.note(self._namespace, project, new.filename, change)


def _changed(seen: DigestHistoryRecord, page: ProjectPage) -> list[tuple[FirstSeenFile, File]]:
    """Files with another digest now, compared by the algorithm that was seen first."""
    found = []
    for file in page.files:
        old = seen.get(file.filename)
        if old is not None and old.digest != file.address_digest and _is_other(old.digest, file):
            found.append((old, file))
    return found


def _is_other(digest: str, file: File) -> bool:
    algorithm, _, value = digest.rpartition("-")
    now = file.hashes.get(algorithm or "sha256")
    return now is not None and now != value


def _with_new_files(unrecorded: _Unrecorded) -> bytes | None:
    """The record with the new files of the page; None if there are none."""
    seen = unrecorded.seen
    fresh = {
        file.filename: FirstSeenFile(
            digest,
            file.uploaded,
            file.size,
            file.metadata,
            _first_seen(seen, file, unrecorded.now) if seen else unrecorded.now,
        )
        for file in unrecorded.page.files
        if (digest := file.address_digest) != "-" and file.filename not in unrecorded.refused
    }
    if all(seen.get(name) == file for name, file in fresh.items()):
        return None
    return encode_digest_history(seen | fresh)


def _first_seen(seen: DigestHistoryRecord, file: File, now: float) -> float:
    """When the bytes of this file were first listed; other bytes under its name are new."""
    old = seen.get(file.filename)
    known = old.first_seen if old and not _is_other(old.digest, file) else None
    return now if known is None else known


def _as_seen(old: FirstSeenFile, new: File) -> File:
    """The file with the digest that was seen first; it can be served only if it is stored."""
    algorithm, _, value = old.digest.rpartition("-")
    return msgspec.structs.replace(
        new,
        hashes={algorithm or "sha256": value},
        size=old.size,
        uploaded=old.uploaded,
        metadata=old.metadata,
    )
