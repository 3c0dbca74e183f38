"""``warm``: fetches everything that sources need, into this cache or that of a Waystation."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ByteSize, HttpUrl

from proxy.composition import Proxy, mirrored, open_proxy
from proxy.config import MirrorTable, Settings
from proxy.errors import ProxyError
from proxy.indexes import Index
from proxy.model import ProjectName
from proxy.requirements import (
    DEFAULT_JOBS,
    FileFilter,
    Missing,
    ResolvedFiles,
    SourceRequirements,
    needed_files,
)
from proxy.upstream import mask
from proxy.warm.fetch import (
    FILE_NOT_STORED,
    PAGE_NOT_STORED,
    FetchedFiles,
    fetch_files,
    find_missing,
    record_metadata,
)
from proxy.warm.keep.run import RevalidatingIndex
from proxy.warm.progress import Display

REMOTE_CACHE_SIZE = ByteSize(64 * 2**20)
"""``max_size`` of the temporary cache while another Waystation is warmed."""


@dataclass(frozen=True, slots=True, repr=False)  # asyncio formats results
class WarmReport:
    needs: ResolvedFiles
    missing: tuple[Missing, ...]
    fetched: int
    """Files that were fetched."""
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
    revalidate: bool = False,
) -> WarmReport:
    """Fetch everything that is wanted into the cache of these settings.

    Files in the cache are not fetched again. ``revalidate``: upstream has to confirm each page,
    also a fresh one. Raises ``ConfigurationError``.
    """
    # A short grace period: what has arrived is stored, and the next run continues.
    patient = settings.everywhere(
        soft_deadline=settings.page_timeout, speculate="off", shutdown_grace=5.0
    )
    async with open_proxy(patient) as proxy:
        index = RevalidatingIndex(proxy.index, time.time(), max_requests=jobs)
        used = index if revalidate else proxy.index
        report = await _fetched(proxy, used, wanted, file_filter, display, jobs)
        report = replace(report, missing=(*report.missing, *index.unconfirmed_pages()))
    offline = settings.model_copy(update={"offline": True, "offline_list_all": True})
    failed = {each.line for each in report.missing}
    rest = [need for need in report.needs.files if need.line not in failed]
    async with open_proxy(offline) as proxy:
        files = await find_missing(proxy.index, proxy.cache.store, rest)
        pages = await _missing_pages(proxy.index, report.needs.pages)
        await record_metadata(proxy, mirrored(offline), rest)
    not_stored = (Missing(each.line, FILE_NOT_STORED) for each in files)
    return replace(report, missing=(*report.missing, *pages, *not_stored))


async def _missing_pages(offline: Index, projects: Iterable[ProjectName]) -> list[Missing]:
    """The pages that an offline index does not have."""
    found = []
    for project in projects:
        try:
            await offline.page(project)
        except ProxyError:
            found.append(Missing(project, PAGE_NOT_STORED))
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
    """As ``warm``, for the cache of the Waystation at ``url``, which fetches what is requested.

    Nothing is stored on this machine.
    """
    with TemporaryDirectory(prefix="waystation-", ignore_cleanup_errors=True) as folder:
        async with open_proxy(_through(settings, url, Path(folder))) as proxy:
            return await _fetched(proxy, proxy.index, wanted, file_filter, display, jobs)


def _through(settings: Settings, url: HttpUrl, folder: Path) -> Settings:
    """Settings with that index alone and a temporary cache."""
    table = MirrorTable(
        kind="mirror",
        url=url,
        username=settings.upstream_username,
        password=settings.upstream_password,
        file_hosts=settings.file_hosts,
    )
    name = mask(str(url))  # error messages begin with the name of the index
    defaults = {
        each: Settings.model_fields[each].default
        for each in ("packages", "reserved", "upstream", "upstream_username", "upstream_password")
    }
    return settings.model_copy(
        update={
            **defaults,
            "file_hosts": [],
            "indexes": {name: table},
            "index": name,
            "cache_dir": folder,
            "max_size": REMOTE_CACHE_SIZE,
            "offline": False,
            "soft_deadline": settings.page_timeout,
        }
    )


async def _fetched(
    proxy: Proxy,
    index: Index,
    wanted: SourceRequirements,
    file_filter: FileFilter,
    display: Display,
    jobs: int,
) -> WarmReport:
    fetched_files = FetchedFiles()
    proxy.events.subscribe(fetched_files)
    needs = await needed_files(
        index, wanted, file_filter, keep_going=True, jobs=jobs, say=display.say
    )
    failed = await fetch_files(index, proxy.cache.store, needs.files, display, jobs)
    missing = {each.line: each for each in (*failed, *needs.missing)}
    fetched = [
        need
        for need in needs.files
        if (need.project, need.filename) in fetched_files.files and need.line not in missing
    ]
    return WarmReport(
        needs,
        tuple(missing.values()),
        len(fetched),
        sum(need.size or 0 for need in fetched),
    )
