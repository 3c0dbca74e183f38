"""What a mirror has ever seen of a project's files, so that changed bytes are noticed.

The bytes behind a file name do not change on an honest index (PyPI never lets a name be used
again). Where they do, the first that were seen stand, unless the settings say otherwise.

Files that upstream's page no longer lists and that are held: listed all the same, as yanked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Mapping
from typing import Literal, NamedTuple

import msgspec

from proxy.distributions import version_of
from proxy.events import ChangeOutcome, FileChanged, Observer
from proxy.model import File, ProjectName, ProjectPage
from proxy.runtime import BackgroundQueue, BoundedDict, SingleFlight, run_in_worker
from proxy.storage import (
    NO_LONGER_LISTED,
    BlobStore,
    CachedFileRecord,
    CachedFiles,
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
LARGE_PAGE = 3_000
"""Files of a page from which on it counts in memory."""


class _News(NamedTuple):
    """A page that was reviewed, and what is not written down of it yet."""

    seen: DigestHistoryRecord
    page: ProjectPage
    keep: Container[str]
    """Names of files that stay as they were seen."""


class DigestHistory:
    """Remembers every file of every page, by project and file name."""

    def __init__(
        self,
        name: str,
        namespace: str,
        records: Records,
        events: Observer,
        on_change: OnChange,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._namespace = namespace
        self._records = records
        self._events = events
        self._on_change = on_change
        self._clock = clock
        self._count = ChangedFiles(records)
        self._told: BoundedDict[tuple[str, str, str], None] = BoundedDict(10_000)
        self._news: dict[ProjectName, _News] = {}
        self._writes: SingleFlight[ProjectName, None] = SingleFlight()
        self._behind = BackgroundQueue(self._written)

    async def review(self, page: ProjectPage) -> ProjectPage:
        """The page as it may be shown: what changed is refused, told, or taken for good.

        What is new in it is written down behind the answer.
        """
        size = HISTORY_BYTES_PER_FILE * len(page.files)
        await self._written(page.project)
        await self.make_room(len(page.files))
        seen = await self._seen(page.project, size)
        changed = await run_in_worker(size, lambda: _changed(seen, page)) if seen else []
        for old, new in changed:
            await self._tell(page.project, old, new)
        refused = changed if self._on_change == "refuse" else []
        shown = {new.filename: _as_seen(old, new) for old, new in refused}
        self._news[page.project] = _News(seen, page, shown)
        self._behind.add(page.project)
        if not shown:
            return page
        files = tuple(shown.get(file.filename, file) for file in page.files)
        return msgspec.structs.replace(page, files=files)

    async def make_room(self, files: int) -> None:
        """Large pages that wait to be written down are in memory until then: one is enough.

        Of others any number may wait. Nobody who asks is to wait for the disk.
        """
        if files < LARGE_PAGE:
            return
        for project, news in list(self._news.items()):
            if len(news.page.files) >= LARGE_PAGE:
                await self._written(project)

    async def _seen(self, project: ProjectName, size: int) -> DigestHistoryRecord:
        record = await self._records.get(Key(RecordKind.DIGEST_HISTORY, self._namespace, project))
        return await run_in_worker(size, lambda: decode_digest_history(record)) if record else {}

    async def close(self) -> None:
        """Write down what is left to be written."""
        await self._behind.close()
        for project in list(self._news):
            await self._written(project)
        await self._writes.close()

    async def _written(self, project: ProjectName) -> None:
        """Until nothing is left to be written down of the project."""
        while project in self._news or self._writes.under_way(project):
            await self._writes.do(project, lambda: self._write(project))

    async def _write(self, project: ProjectName) -> None:
        news = self._news.pop(project)
        size = HISTORY_BYTES_PER_FILE * len(news.page.files)
        packed = await run_in_worker(size, lambda: _learned(news))
        if packed is not None:
            await self._records.put(
                Key(RecordKind.DIGEST_HISTORY, self._namespace, project), packed
            )

    async def _tell(self, project: ProjectName, old: FirstSeenFile, new: File) -> None:
        """Loudly, but once: pages are read often. It is counted for good."""
        if (project, new.filename, new.address_digest) in self._told:
            return
        self._told[project, new.filename, new.address_digest] = None
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
    """Files whose digest is another one now, by the algorithm that was seen."""
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


def _learned(news: _News) -> bytes | None:
    """The record with what is new in it, if anything is."""
    seen = news.seen
    fresh = {
        file.filename: FirstSeenFile(file.address_digest, file.uploaded, file.size, file.metadata)
        for file in news.page.files
        if file.address_digest != "-" and file.filename not in news.keep
    }
    if all(seen.get(name) == file for name, file in fresh.items()):
        return None
    return encode_digest_history(seen | fresh)


def _as_seen(old: FirstSeenFile, new: File) -> File:
    """The file with the bytes that were seen first; where these are not held they cannot be had."""
    algorithm, _, value = old.digest.rpartition("-")
    return msgspec.structs.replace(
        new,
        hashes={algorithm or "sha256": value},
        size=old.size,
        uploaded=old.uploaded,
        metadata=old.metadata,
    )


class RemovedFiles:
    """Knows them by what the ``Ledger`` has seen. For pages that people choose to see so:
    installers take a yanked file only where it is asked for by its very version (PEP 592).
    """

    def __init__(
        self, namespace: str, records: Records, held: CachedFiles, store: BlobStore
    ) -> None:
        self._namespace = namespace
        self._records = records
        self._held = held
        self._store = store

    async def shown(self, page: ProjectPage) -> ProjectPage:
        """The page with what it does not list any more."""
        record = await self._records.get(
            Key(RecordKind.DIGEST_HISTORY, self._namespace, page.project)
        )
        seen = (
            await run_in_worker(5 * len(record), lambda: decode_digest_history(record))
            if record
            else {}
        )
        listed = {file.filename for file in page.files}
        gone = [(name, file) for name, file in seen.items() if name not in listed]
        cached = [
            (name, file, held)
            for name, file in gone
            if (held := await self._held.get(page.project, file.digest, name))
        ]
        keys = {held.sha256 for _, _, held in cached} | {
            _metadata_key(file) for _, file, _ in cached
        }
        stored = await self._store.present(keys - {""}) if cached else frozenset()
        files = tuple(
            _removed_file(name, file, held, stored)
            for name, file, held in cached
            if held.sha256 in stored
        )
        return _with(page, files) if files else page


def _metadata_key(seen: FirstSeenFile) -> str:
    """The sha256 of the ``.metadata``, or nothing."""
    return "" if isinstance(seen.metadata, bool) else seen.metadata.get("sha256", "")


def _removed_file(
    name: str, seen: FirstSeenFile, cached: CachedFileRecord, stored: Container[str]
) -> File:
    """``stored``: the keys that the store has; ``.metadata`` is listed if it is among them."""
    algorithm, _, value = seen.digest.rpartition("-")
    return File(
        name,
        "",
        {algorithm or "sha256": value},
        cached.size,
        uploaded=seen.uploaded,
        yanked=NO_LONGER_LISTED,
        metadata=seen.metadata if _metadata_key(seen) in stored else False,
    )


def _with(page: ProjectPage, files: tuple[File, ...]) -> ProjectPage:
    versions = {version_of(file.filename, page.project) for file in files} - {None}
    more = sorted(str(each) for each in versions if each not in page.versions)
    return msgspec.structs.replace(
        page,
        files=page.files + files,
        versions=(*page.versions, *more) if page.versions else (),
    )
