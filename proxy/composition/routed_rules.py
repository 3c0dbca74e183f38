"""Opens the indexes that answer by rules: each rule with its target."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

from pydantic import HttpUrl

from proxy.composition.cache import Cache
from proxy.composition.open_mirror import (
    mirror_options,
    mirror_storage,
)
from proxy.composition.upstream_connections import open_upstream
from proxy.config import DENY, RESERVED, MirrorTable, RoutedTable, RuleTable, Settings
from proxy.errors import ProxyError, UpstreamError
from proxy.events import Observer, Outcome
from proxy.indexes import (
    NO_BASE,
    FileDownloads,
    Index,
    MirrorFiles,
    MirrorSiblings,
    PageFiles,
    PageReader,
    Route,
    Routed,
    deny,
    reserve,
)
from proxy.model import ProjectName, ProjectPage
from proxy.policies import project_pattern
from proxy.upstream import InFlight, Remote, fingerprint

_NO_UPSTREAM = "{}://{}.page.invalid/simple/"
"""No page is fetched from there (RFC 2606)."""


class RoutedParts(NamedTuple):
    """Parts that opening an index needs beside its own table."""

    settings: Settings
    cache: Cache
    events: Observer
    clock: Callable[[], float]
    traffic: InFlight


@asynccontextmanager
async def open_routed(
    name: str, table: RoutedTable, indexes: Mapping[str, Index], around: RoutedParts
) -> AsyncIterator[Routed]:
    """``indexes``: those that the rules name. Raises ``ConfigurationError``."""
    async with AsyncExitStack() as stack:
        routes = []
        for number, rule in enumerate(table.rules):
            pattern = ", ".join(rule.projects)
            if isinstance(rule.to, str):
                target = _target(name, rule, indexes)
            else:
                open_pages = _open_page_files(f"{name}-{number}", rule, table.file_hosts, around)
                target = await stack.enter_async_context(open_pages)
            routes.append(Route(project_pattern(rule.projects), target, pattern))
        yield Routed(name, routes)


def _target(
    name: str, rule: RuleTable, indexes: Mapping[str, Index]
) -> Index | Callable[[ProjectName], ProxyError]:
    if rule.to == DENY:
        return deny(name, rule.reason or "projects of that name are not allowed here")
    if rule.to == RESERVED:
        return reserve
    assert isinstance(rule.to, str)
    return indexes[rule.to]


@asynccontextmanager
async def _open_page_files(
    name: str, rule: RuleTable, file_hosts: Iterable[str], around: RoutedParts
) -> AsyncIterator[Index]:
    assert not isinstance(rule.to, str)
    hosts = list(file_hosts)
    # As for a mirror: HTTP without TLS only to hosts that are named.
    url = _NO_UPSTREAM.format("http" if hosts else "https", name)
    table = MirrorTable(kind="mirror", url=HttpUrl(url), file_hosts=hosts)
    settings, clock = around.settings, around.clock
    storage = mirror_storage(around.cache, fingerprint(_NO_UPSTREAM.format("https", name), None))
    options = mirror_options(table, settings)
    async with AsyncExitStack() as stack:
        remote = None
        if not settings.offline:
            opened = open_upstream(name, table, settings, around.traffic, clock)
            transport = await stack.enter_async_context(opened)
            remote = Remote(name, url, transport, clock=clock)
        downloads = FileDownloads(name, storage, options, around.events, _nothing, clock)
        files = MirrorFiles(remote, storage, downloads, partial(_not_renewed, name), clock)
        index = PageFiles(
            name,
            rule.to.page,
            project_pattern(rule.projects),
            PageReader(name, remote.allows if remote else _is_absolute),
            files,
            MirrorSiblings(name, remote, files, storage, clock),
            around.events,
            clock,
        )
        try:
            yield index
        finally:
            await index.close(settings.shutdown_grace)


async def _not_renewed(
    name: str, project: ProjectName, since: float
) -> tuple[ProjectPage, Outcome]:
    raise UpstreamError(name, "an address in its page file is refused")


def _is_absolute(origin: str) -> bool:
    """Offline nothing is fetched; relative links are left out, as online."""
    return not NO_BASE.startswith(origin)


def _nothing(project: ProjectName) -> None:
    """A page file that is wrong about a file stays as its author wrote it."""
