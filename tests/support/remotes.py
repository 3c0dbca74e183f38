"""Remotes as the product opens them, for tests: time and names in the test's hands."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.upstream.connections import open_transport
from proxy.upstream.credentials import find_credentials
from proxy.upstream.remote import Remote
from proxy.upstream.upstream_options import Timeouts, UpstreamOptions

QUICK = Timeouts(connect=5.0, read=5.0, page=5.0)


class Pauses(list[float]):
    """Instead of ``asyncio.sleep``: the seconds that would have been slept."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Names(AbstractResolver):
    """A name service of a few names; it remembers what it was asked."""

    def __init__(self, table: Mapping[str, str | list[str]]) -> None:
        self.table = dict(table)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        found = self.table[host]
        return [
            _result(host, port, each) for each in ([found] if isinstance(found, str) else found)
        ]

    async def close(self) -> None:
        pass


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=flags
    )


@asynccontextmanager
async def open_remote(
    url: str,
    *,
    name: str = "pypi",
    user: str | None = None,
    password: str | None = None,
    page_limit: int = 64 * 2**20,
    missing_statuses: frozenset[int] = frozenset({404, 410}),
    sleep: Callable[[float], Awaitable[object]] | None = None,
    clock: Callable[[], float] = time.time,
    resolver: AbstractResolver | None = None,
    **options: Any,
) -> AsyncIterator[Remote]:
    """``options`` are those of ``UpstreamOptions``. Without ``sleep``, nothing sleeps."""
    bare, credentials = find_credentials(url, user=user, password=password)
    upstream = UpstreamOptions(**{"credentials": credentials, "timeouts": QUICK, **options})
    sleep = Pauses() if sleep is None else sleep  # those that a test gives are empty, thus false
    async with open_transport(
        name, bare, upstream, sleep=sleep, clock=clock, resolver=resolver
    ) as transport:
        yield Remote(
            name, bare, transport, missing_statuses=missing_statuses, page_limit=page_limit
        )
