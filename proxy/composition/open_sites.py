"""Opens the way to another Waystation that a mirror follows: its feed of changes, its uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from proxy.composition.cache import Cache
from proxy.composition.upstream_connections import address, open_upstream, origin, upstream_options
from proxy.config import MirrorTable, Settings
from proxy.indexes import Mirror
from proxy.model import ProjectName
from proxy.upstream import Timeouts

if TYPE_CHECKING:
    from proxy.composition.builder import IndexSet
    from proxy.prefetch import SiteFollower
    from proxy.upstream import RelayedAnswer, UploadRelay


class FirstSite(msgspec.Struct, frozen=True):
    """Another Waystation, of which this one is the second site."""

    index: str
    """The name of the mirror."""
    paths: frozenset[str]
    """Those of served indexes; uploads to them are passed on."""
    relay: UploadRelay
    follower: SiteFollower

    async def send(self, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> RelayedAnswer:
        """As ``UploadRelay.send``."""
        return await self.relay.send(headers, body)

    async def catch_up(self) -> None:
        """As ``SiteFollower.catch_up``."""
        await self.follower.catch_up()


async def announce_renewed(
    mirrors: Iterable[Mirror], cache: Cache, projects: Sequence[ProjectName]
) -> None:
    """Have all processes read pages again that were revalidated here, once they are stored."""
    for project in projects:
        for mirror in mirrors:
            await mirror.page_stored(project)
    await cache.refreshes.append(projects)


async def open_sites(
    settings: Settings,
    opened: IndexSet,
    cache: Cache,
    clock: Callable[[], float],
    stack: AsyncExitStack,
) -> None:
    """Add those of the settings to ``opened``. May raise ``ConfigurationError``."""
    for name, node in opened.tree.named.items():
        if isinstance(node.table, MirrorTable) and node.table.follow and not settings.offline:
            site = await _open(name, node.table, settings, opened, cache, clock, stack)
            opened.sites.append(site)


async def _open(
    name: str,
    table: MirrorTable,
    settings: Settings,
    opened: IndexSet,
    cache: Cache,
    clock: Callable[[], float],
    stack: AsyncExitStack,
) -> FirstSite:
    from proxy.prefetch import SiteFollower  # most servers follow none
    from proxy.upstream import ChangeFeed, UploadRelay

    in_force = settings.of_index(table)
    url = f"{address(table, in_force)[0].rstrip('/')}/"
    # The time of a request that waits for a change says nothing of the times of others.
    transport = await stack.enter_async_context(open_upstream(name, table, in_force, None, clock))
    feed = ChangeFeed(
        name, url, transport, Timeouts(page=in_force.page_timeout, read=in_force.read_timeout)
    )
    namespace = origin(table, in_force).namespace
    lock = cache.folder / "following" / f"{namespace}.lock"
    index, announce = opened.indexes[name], partial(announce_renewed, opened.mirrors, cache)
    return FirstSite(
        name,
        _paths(name, opened),
        UploadRelay(
            name,
            f"{url.removesuffix('simple/')}legacy/",
            upstream_options(in_force, credentials=None),
        ),
        SiteFollower(name, index, feed, cache.records, namespace, lock, announce, clock),
    )


def _paths(name: str, opened: IndexSet) -> frozenset[str]:
    """The paths of served indexes that are made of the mirror, and of nothing that takes uploads
    here."""
    nodes = {f"/{each}": opened.tree.named[each] for each in opened.tree.served}
    return frozenset(
        path
        for path, node in {"": opened.tree.root, **nodes}.items()
        if path not in opened.upload_targets
        and any(each.name == name for each in node.with_all_below())
    )
