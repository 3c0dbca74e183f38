"""Opens the releases of repositories as an upstream index, as its table says."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from proxy.config import ReleasesTable, Settings
from proxy.indexes import Listings, ReleaseIndex, ReleaseRules
from proxy.model import ProjectName
from proxy.policies import matcher
from proxy.storage import CachedFiles, Records
from proxy.upstream import ReleaseApi, Remote, Transport

FILE_TYPE = "application/octet-stream"
"""Without it the API describes a file instead of sending it."""


def releases_url(api: str, table: ReleasesTable) -> str:
    """A name for what an index has, in the form of an address: pages of another choice of
    repositories are other pages."""
    names = "+".join(table.repositories).lower()
    more = [f"/{name}" for name in ("prereleases", "drafts") if getattr(table, name)]
    return f"{api.rstrip('/')}/repos/{names}{''.join(more)}/"


@asynccontextmanager
async def open_releases(
    name: str,
    table: ReleasesTable,
    settings: Settings,
    transport: Transport,
    records: Records,
    cached: CachedFiles,
    clock: Callable[[], float],
) -> AsyncIterator[ReleaseIndex]:
    """``transport``: to the API. ``cached`` as in ``ReleaseIndex``."""
    api = release_api(name, table, settings, transport, clock)
    listings = Listings(name, api, records, _namespace(table), clock)
    files = Remote(name, str(table.api), transport, file_type=FILE_TYPE, clock=clock)
    try:
        yield ReleaseIndex(listings, files, cached, _rules(table), clock)
    finally:
        await listings.close()


def _namespace(table: ReleasesTable) -> str:
    """A listing that one token may see must not be served for another token."""
    token = table.token.get_secret_value() if table.token else ""
    return hashlib.sha256(f"{table.api}\n{token}".encode()).hexdigest()[:16]


def _rules(table: ReleasesTable) -> ReleaseRules:
    return ReleaseRules(
        repositories=tuple(dict.fromkeys(table.repositories)),
        has=_names(table.projects),
        prereleases=table.prereleases,
        drafts=table.drafts,
        with_token=table.token is not None,
        with_metadata=table.mode == "proxy",
    )


def _names(patterns: Sequence[str]) -> Callable[[ProjectName], bool]:
    matches = matcher(patterns) if patterns else lambda project: True
    return lambda project: bool(matches(project))


def release_api(
    name: str,
    table: ReleasesTable,
    settings: Settings,
    transport: Transport,
    clock: Callable[[], float] = time.time,
) -> ReleaseApi:
    limit = int(settings.max_page_size)
    return ReleaseApi(name, str(table.api), transport, page_limit=limit, clock=clock)
