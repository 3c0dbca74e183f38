"""Which upstreams the settings mirror: addresses, credentials, connections, and keys in a cache."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.request import getproxies

import msgspec

from proxy.composition.index_checks import upstream_url
from proxy.composition.index_tree import resolve_tree
from proxy.config import MirrorTable, ReleasesTable, Settings, UpstreamSettings, UpstreamTable
from proxy.errors import UpstreamError
from proxy.upstream import (
    Credentials,
    InFlight,
    Timeouts,
    Transport,
    UpstreamOptions,
    UpstreamOrigin,
    find_credentials,
    fingerprint,
    open_transport,
    token_for,
)


def addresses(table: MirrorTable) -> list[MirrorTable]:
    """A table for each address of the content; only the first has the credentials."""
    bare: dict[str, Any] = {"username": None, "password": None, "mirrors": []}
    others = [table.model_copy(update={**bare, "url": url}) for url in table.mirrors]
    return [table, *others]


def open_upstream(
    name: str,
    table: UpstreamTable,
    settings: Settings,
    traffic: InFlight | None = None,
    clock: Callable[[], float] = time.time,
) -> AbstractAsyncContextManager[Transport]:
    """The connections to an upstream. ``traffic`` counts requests. May raise
    ``ConfigurationError``."""
    url, credentials = address(table, settings)
    options = upstream_options(settings, credentials, file_hosts=table.file_hosts)
    return open_transport(name, url, options, in_flight=traffic, clock=clock)


def upstream_options(
    settings: Settings, credentials: Credentials | None, **others: Any
) -> UpstreamOptions:
    """The options that the settings give all upstreams; ``others`` replace or complete them."""
    options = UpstreamOptions(
        credentials=credentials,
        proxies=outgoing_proxies(settings),
        connections=settings.upstream_connections,
        timeouts=Timeouts(settings.connect_timeout, settings.read_timeout, settings.page_timeout),
        retries=settings.retries,
        ca_bundle=settings.ca_bundle,
        client_certificate=settings.client_certificate,
        client_key=settings.client_key,
    )
    return msgspec.structs.replace(options, **others)


def address(table: UpstreamTable, settings: Settings) -> tuple[str, Credentials | None]:
    """The upstream's URL without credentials, and its credentials.

    Raises ``ConfigurationError``.
    """
    if isinstance(table, ReleasesTable):
        api = str(table.api)
        return api, token_for(api, table.token.get_secret_value()) if table.token else None
    assert isinstance(table, MirrorTable)
    return find_credentials(
        str(upstream_url(table)),
        user=table.username,
        password=table.password.get_secret_value() if table.password else None,
        netrc=netrc_file() if settings.netrc else None,
    )


_RULES = ("reserved", "policies", "as_of")
"""Keys that act outside of the mirror."""


def origin(table: UpstreamTable, settings: Settings) -> UpstreamOrigin:
    """May raise ``ConfigurationError``."""
    url, credentials = address(table, settings)
    if isinstance(table, ReleasesTable):
        from proxy.composition.open_releases import releases_url  # most servers have none

        url = releases_url(url, table)
    return UpstreamOrigin(url, fingerprint(url, credentials))


def same_upstream(table: UpstreamTable, settings: Settings) -> tuple[object, ...]:
    """The identity of a mirror: indexes with equal ones share one mirror."""
    inherited = UpstreamSettings.model_fields
    others = {*inherited, *_RULES, "url", "username", "password"}
    own = {name: value for name, value in table if name not in others}
    return (*address(table, settings), own, *(getattr(settings, name) for name in inherited))


def outgoing_proxies(settings: Settings) -> Mapping[str, str]:
    """The outgoing proxy of the settings, else those of the environment."""
    if settings.outgoing_proxy:
        return {"all": str(settings.outgoing_proxy)}
    return getproxies()


def netrc_file() -> Path:
    """Of the user, or the one that the variable ``NETRC`` names."""
    return Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))  # noqa: PTH111 (works without a home)


async def api_problem(
    name: str, table: ReleasesTable, settings: Settings, repository: str
) -> str | None:
    """Why the releases of a repository cannot be read; None: they can."""
    from proxy.composition.open_releases import release_api

    async with open_upstream(name, table, settings) as transport:
        api = release_api(name, table, settings, transport)
        try:
            await api.page(api.first(repository))
        except UpstreamError as error:
            return error.reason
    return None


def mirrored(settings: Settings) -> dict[str, UpstreamOrigin]:
    """Every mirrored upstream by index name. Raises ``ConfigurationError``."""
    found = {}
    for leaf in resolve_tree(settings).leaves:
        if isinstance(leaf.table, UpstreamTable):
            found[leaf.name] = origin(leaf.table, settings.of_index(leaf.table))
    return found
