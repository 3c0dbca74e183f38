"""Fetches what is needed, through the index that is served; the store keeps it by that."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

from pydantic import ByteSize, HttpUrl

from proxy.composition import Proxy, mirrored, open_proxy
from proxy.config import MirrorTable, Settings
from proxy.errors import ProxyError
from proxy.indexes import Index
from proxy.model import METADATA, ProjectName
from proxy.requirements import (
    DEFAULT_JOBS,
    FileFilter,
    Missing,
    NeededFile,
    ResolvedFiles,
    SourceRequirements,
    needed_files,
)
from proxy.storage import CachedFileRecord, CachedFiles
from proxy.upstream import mask
from proxy.warm.fetch import FetchedFiles, NeededFetcher, find_missing
from proxy.warm.progress import Display

_ROOM = ByteSize(64 * 2**20)
"""Bytes that are kept for a moment of what is fetched for another Waystation."""


@dataclass(frozen=True, slots=True, repr=False)  # asyncio puts results into words
class WarmReport:
    needs: ResolvedFiles
    missing: tuple[Missing, ...]
    fetched: int
    """Files."""
    fetched_bytes: int

    @property
    def complete(self) -> bool:
        return not self.missing and not self.needs.skipped


async def warm(
    settings: Settings,
    wanted: SourceRequirements,
    file_filter: FileFilter,
    display: Display,
    *,
    jobs: int = DEFAULT_JOBS,
) -> WarmReport:
    """Everything that is wanted, in the cache of these settings.

    What is held already is not fetched again. Raises ``ConfigurationError``.
    """
    # Time to put away what has come, not to wait for more: the next run goes on.
    plain = {"soft_deadline": settings.page_timeout, "speculate": "off", "shutdown_grace": 5.0}
    patient = settings.model_copy(update=plain)
    async with open_proxy(patient) as proxy:
        report = await _fetched(proxy, wanted, file_filter, display, jobs)
    offline = settings.model_copy(update={"offline": True, "offline_list_all": True})
    failed = {lack.line for lack in report.missing}
    rest = [need for need in report.needs.files if need.line not in failed]
    async with open_proxy(offline) as proxy:
        unkept = await find_missing(proxy.index, proxy.cache.store, rest)
        unstored = await _unstored(proxy.index, report.needs.pages)
        await record_metadata(proxy, offline, rest)
    reason = "it did not stay in the cache: is the disk full or read-only, or max_size too small?"
    lost = tuple(Missing(lack.line, reason) for lack in unkept)
    return replace(report, missing=(*report.missing, *unstored, *lost))


async def _unstored(index: Index, projects: Iterable[ProjectName]) -> list[Missing]:
    """Pages that cannot be answered offline; ``index`` is offline."""
    reason = "its page was not stored: does honour_no_store forbid it, or is the disk full?"
    found = []
    for project in projects:
        try:
            await index.page(project)
        except ProxyError:
            found.append(Missing(project, reason))
    return found


async def warm_remote(
    settings: Settings,
    url: HttpUrl,
    wanted: SourceRequirements,
    file_filter: FileFilter,
    display: Display,
    *,
    jobs: int = DEFAULT_JOBS,
) -> WarmReport:
    """As ``warm``, for the cache of the Waystation at ``url``: it fetches what it is asked for.

    Nothing stays here.
    """
    with TemporaryDirectory(prefix="waystation-", ignore_cleanup_errors=True) as folder:
        async with open_proxy(_through(settings, url, Path(folder))) as proxy:
            return await _fetched(proxy, wanted, file_filter, display, jobs)


async def record_metadata(proxy: Proxy, settings: Settings, needs: Iterable[NeededFile]) -> None:
    """Notes that metadata is held which came with another wheel that has the same.

    It is found by its digest without that; to be carried elsewhere it has to be known.
    """
    held = {
        name: CachedFiles(proxy.cache.records, origin.namespace)
        for name, origin in mirrored(settings).items()
    }
    for need in needs:
        if need.index not in held or not need.filename.endswith(METADATA):
            continue
        key = need.project, need.digest, need.filename
        if await held[need.index].get(*key) is None:
            with suppress(ProxyError):
                artifact = await proxy.index.file(need.project, need.filename, need.digest)
                blob = artifact.blob
                if blob.key and blob.size is not None:
                    known = CachedFileRecord(blob.key, blob.size, time(), artifact.file.uploaded)
                    await held[need.index].put(*key, known)


def _through(settings: Settings, url: HttpUrl, folder: Path) -> Settings:
    """Only that index, and a cache of a moment."""
    table = MirrorTable(
        kind="mirror",
        url=url,
        username=settings.upstream_username,
        password=settings.upstream_password,
        file_hosts=settings.file_hosts,
    )
    name = mask(str(url))  # so that what goes wrong is told of the address
    plain = {
        each: Settings.model_fields[each].default
        for each in ("packages", "reserved", "upstream", "upstream_username", "upstream_password")
    }
    return settings.model_copy(
        update={
            **plain,
            "file_hosts": [],
            "indexes": {name: table},
            "index": name,
            "cache_dir": folder,
            "max_size": _ROOM,
            "offline": False,
            "soft_deadline": settings.page_timeout,
        }
    )


async def _fetched(
    proxy: Proxy, wanted: SourceRequirements, file_filter: FileFilter, display: Display, jobs: int
) -> WarmReport:
    counting = FetchedFiles()
    proxy.events.subscribe(counting)
    needs = await needed_files(
        proxy.index, wanted, file_filter, keep_going=True, jobs=jobs, say=display.say
    )
    fetching = NeededFetcher(proxy.index, proxy.cache.store, display, jobs)
    await fetching.fetch_all(needs.files)
    missing = {lack.line: lack for lack in (*fetching.failed, *needs.missing)}
    fetched = [
        need
        for need in needs.files
        if (need.project, need.filename) in counting.fetched and need.line not in missing
    ]
    return WarmReport(
        needs,
        tuple(missing.values()),
        len(fetched),
        sum(need.size or 0 for need in fetched),
    )
