"""Remotes as the product opens them, for tests: time and names in the test's hands."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.upstream.connections import open_transport
from proxy.upstream.credentials import find_credentials
from proxy.upstream.remote import Remote
from proxy.upstream.transport import Timeouts

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
    **options: Any,
) -> AsyncIterator[Remote]:
    """``options`` are those of ``open_transport``; without any, nothing sleeps."""
    bare, credentials = find_credentials(url, user=user, password=password)
    options = {"sleep": Pauses(), "jitter": lambda: 0.5, "timeouts": QUICK, **options}
    async with open_transport(name, bare, credentials=credentials, **options) as transport:
        yield Remote(
            name, bare, transport, missing_statuses=missing_statuses, page_limit=page_limit
        )
