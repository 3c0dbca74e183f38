"""Opens the pool of connections to one upstream, and the transport over them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, DummyCookieJar, ThreadedResolver
from aiohttp.abc import AbstractResolver

from proxy import __version__
from proxy.errors import ConfigurationError
from proxy.upstream.addresses import Addresses
from proxy.upstream.credentials import Credentials, mask
from proxy.upstream.heads import LONGEST_LINE, LenientConnector
from proxy.upstream.hops import Redirects, Timeouts, head_timer
from proxy.upstream.outgoing import OutgoingProxies
from proxy.upstream.resolver import CheckedResolver
from proxy.upstream.tls import tls_context
from proxy.upstream.traffic import InFlight
from proxy.upstream.transport import Transport

KEEPALIVE = 60.0
"""Seconds for which a connection is kept that nobody uses: the next install need not make it."""
READ_AHEAD = 64 * 1024
"""Bytes of an answer from which on no more are read until some are taken: the first ones are not
to wait until many others have been read too."""
_TIMEOUTS = Timeouts()


@asynccontextmanager
async def open_transport(
    name: str,
    url: str,
    *,
    credentials: Credentials | None = None,
    file_hosts: Iterable[str] | None = None,
    proxies: Mapping[str, str] | None = None,
    connections: int = 64,
    timeouts: Timeouts = _TIMEOUTS,
    retries: int = 2,
    ca_bundle: Path | None = None,
    client_certificate: Path | None = None,
    client_key: Path | None = None,
    resolver: AbstractResolver | None = None,
    traffic: InFlight | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
) -> AsyncIterator[Transport]:
    """A transport for the index at ``url``, with connections of its own, closed at the end.

    ``file_hosts`` as in ``Addresses``, ``proxies`` as in ``OutgoingProxies``. ``ca_bundle`` (PEM)
    is trusted beside the system's authorities. ``traffic`` counts the requests.
    Raises ``ConfigurationError``.
    """
    outgoing = OutgoingProxies(proxies or {})
    addresses = _addresses(url, file_hosts, outgoing)
    connector = LenientConnector(
        limit=connections,
        keepalive_timeout=KEEPALIVE,
        ssl=tls_context(ca_bundle, client_certificate, client_key),
        resolver=CheckedResolver(addresses, resolver or ThreadedResolver()),
    )
    async with ClientSession(
        connector=connector,
        headers={"User-Agent": f"waystation/{__version__}"},
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=READ_AHEAD,
        requote_redirect_url=False,
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_LINE,
        trace_configs=[head_timer(timeouts)],
        trust_env=False,  # it would show netrc entries to every host: see credentials, outgoing
    ) as session:
        hops = Redirects(
            name,
            session,
            addresses,
            outgoing,
            credentials=credentials,
            timeouts=timeouts,
            clock=clock,
        )
        yield Transport(
            name,
            hops,
            addresses,
            credentials=credentials,
            timeouts=timeouts,
            retries=retries,
            sleep=sleep,
            jitter=jitter,
            traffic=traffic or InFlight(),
        )


def _addresses(url: str, file_hosts: Iterable[str] | None, outgoing: OutgoingProxies) -> Addresses:
    try:
        return Addresses(url, file_hosts or (), outgoing.hosts)
    except ValueError as error:
        raise ConfigurationError("file_hosts", f"of {mask(url)}: {error}") from None
