"""Opens the advisories of a cache: their collection, its source, and the schedule of checks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.advisories import (
    MAX_ARCHIVE,
    AdvisoryRefresher,
    AdvisorySource,
    AdvisoryStore,
    Fetched,
    LocalSource,
    SourceState,
    UnusableAdvisories,
)
from proxy.composition.upstream_connections import upstream_options
from proxy.config import Settings
from proxy.errors import ConfigurationError, UpstreamError
from proxy.events import Observer
from proxy.model import ProjectName
from proxy.runtime import count_text, end_tasks, in_thread
from proxy.upstream import Timeouts, Transport, Validators, find_credentials, mask, open_transport

if TYPE_CHECKING:
    from proxy.config import AdvisoriesTable

FOLDER = "advisories"
"""In the cache folder."""
FETCH_TIMEOUT = 600.0
"""Seconds from the request for an archive to its last byte."""
NAME = "advisories"
"""Of the source, in messages."""


@asynccontextmanager
async def open_advisories(
    table: AdvisoriesTable,
    settings: Settings,
    cache_folder: Path,
    events: Observer,
    changed: Callable[[Sequence[ProjectName]], None],
    clock: Callable[[], float],
) -> AsyncIterator[AdvisoryRefresher]:
    """The collection, which follows its source until the end. ``changed`` as in the refresher.

    Raises ``ConfigurationError``.
    """
    store = AdvisoryStore(cache_folder / FOLDER)
    async with AsyncExitStack() as stack:
        source = await _open_source(table, settings, store, stack, clock)
        refresher = AdvisoryRefresher(
            store, source, events, changed, every=table.every, max_age=table.max_age, clock=clock
        )
        await refresher.start()
        task = asyncio.create_task(refresher.run())
        stack.push_async_callback(end_tasks, task)
        yield refresher


def advisories_now(
    table: AdvisoriesTable, cache_folder: Path, now: float
) -> tuple[str, str | None]:
    """For people: what is known now, and what is wrong with the source, if anything.

    Nothing is fetched.
    """
    store = AdvisoryStore(cache_folder / FOLDER)
    store.refresh()
    state = store.state
    hours = (now - state.checked) / 3600
    found = count_text(store.advisories.records, "record")
    known = f"{found}, checked {hours:.0f} hours ago" if state.checked else "none yet"
    problem = state.failure or None
    if not table.is_url and not Path(table.source).exists():
        problem = "there is no such folder or archive"
    return f"advisories {mask(table.source)} ({known})", problem


async def _open_source(
    table: AdvisoriesTable,
    settings: Settings,
    store: AdvisoryStore,
    stack: AsyncExitStack,
    clock: Callable[[], float],
) -> AdvisorySource | None:
    """None for an address while offline."""
    if not table.is_url:
        path = Path(table.source)
        if not await in_thread(path.exists):
            remedy = "name a folder, a zip archive or an http(s) address"
            raise ConfigurationError("advisories.source", f"there is no {path}", remedy)
        return LocalSource(path)
    if settings.offline:
        return None
    url, credentials = find_credentials(table.source)
    timeouts = Timeouts(settings.connect_timeout, settings.read_timeout, FETCH_TIMEOUT)
    options = upstream_options(settings, credentials, connections=1, timeouts=timeouts)
    transport = await stack.enter_async_context(open_transport(NAME, url, options, clock=clock))
    return HttpSource(url, transport, store)


class HttpSource:
    """A zip archive at an http(s) address, requested again only if it has changed (RFC 9110)."""

    def __init__(self, url: str, transport: Transport, store: AdvisoryStore) -> None:
        self._url = url
        self._transport = transport
        self._store = store

    @property
    def name(self) -> str:
        return mask(self._url)

    async def fetch(self, known: SourceState) -> Fetched | None:
        conditions = Validators(known.etag or None, known.last_modified or None).conditions
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"} | conditions
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT),
                self._transport.stream(self._url, headers) as (answer, chunks),
            ):
                if answer.status == 304 and conditions:
                    return None
                if answer.status != 200 or answer.headers.get("Content-Encoding"):
                    raise UpstreamError(NAME, f"the answer has the status {answer.status}")
                path = await self._received(chunks)
        except TimeoutError:
            raise UpstreamError(NAME, f"no whole answer in {FETCH_TIMEOUT:.0f} seconds") from None
        state = SourceState(
            etag=answer.headers.get("ETag", ""),
            last_modified=answer.headers.get("Last-Modified", ""),
        )
        return Fetched(path, state)

    async def _received(self, chunks: AsyncIterator[bytes]) -> Path:
        """Raises ``OSError``, ``UpstreamError`` and ``UnusableAdvisories``."""
        path = self._store.new_index().with_name("download")
        size = 0
        with await in_thread(path.open, "wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > MAX_ARCHIVE:
                    raise UnusableAdvisories(f"the archive has more than {MAX_ARCHIVE} bytes")
                await in_thread(file.write, chunk)
        return path
