"""Opens the connections to one upstream: their pool, and the look-up of host names."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, DummyCookieJar, ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy import __version__
from proxy.errors import ConfigurationError
from proxy.upstream.address_rules import Addresses, AddressRefused, IPAddress, ip_literal, is_public
from proxy.upstream.client_tls import tls_context
from proxy.upstream.credentials import Credentials, mask
from proxy.upstream.outgoing_proxies import OutgoingProxies
from proxy.upstream.redirects import Redirects, Timeouts, head_timer
from proxy.upstream.response_heads import MAX_LINE_SIZE, LenientConnector
from proxy.upstream.traffic import InFlight
from proxy.upstream.transport import Transport

log = logging.getLogger(__name__)

KEEPALIVE = 60.0
"""Seconds for which an idle connection stays open for the next install."""
READ_AHEAD = 64 * 1024
"""Bytes of an answer that are read before some are taken: the first bytes do not wait until many
others have been read."""
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
    breaker_limit: int = 5,
    ca_bundle: Path | None = None,
    client_certificate: Path | None = None,
    client_key: Path | None = None,
    resolver: AbstractResolver | None = None,
    in_flight: InFlight | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
) -> AsyncIterator[Transport]:
    """A transport for the index at ``url``, with its own connections, closed at the end.

    ``file_hosts`` as in ``Addresses``, ``proxies`` as in ``OutgoingProxies``. ``ca_bundle`` (PEM)
    is trusted in addition to the system's authorities. ``in_flight`` counts the requests.
    ``breaker_limit`` as in ``Breaker``.
    Raises ``ConfigurationError``.
    """
    in_flight = in_flight or InFlight()
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
        max_line_size=MAX_LINE_SIZE,
        max_field_size=MAX_LINE_SIZE,
        trace_configs=[head_timer(timeouts), *in_flight.traces],
        trust_env=False,  # aiohttp would send netrc entries to every host, also after redirects
    ) as session:
        redirects = Redirects(
            name,
            session,
            addresses,
            outgoing,
            credentials=credentials,
            timeouts=timeouts,
            breaker_limit=breaker_limit,
            clock=clock,
        )
        in_flight.breakers.append(redirects.breaker)
        try:
            yield Transport(
                name,
                redirects,
                addresses,
                credentials=credentials,
                timeouts=timeouts,
                retries=retries,
                sleep=sleep,
                jitter=jitter,
                in_flight=in_flight,
            )
        finally:
            in_flight.breakers.remove(redirects.breaker)


def _addresses(url: str, file_hosts: Iterable[str] | None, outgoing: OutgoingProxies) -> Addresses:
    try:
        return Addresses(url, file_hosts or (), outgoing.hosts)
    except ValueError as error:
        raise ConfigurationError("file_hosts", f"of {mask(url)}: {error}") from None


class CheckedResolver(AbstractResolver):
    """Refuses names with an address that is not public, unless the upstream's rules trust them.

    It is part of the connector: connections go to the very addresses that were checked, so a
    name that changes its address in between (DNS rebinding) gains nothing.
    """

    def __init__(self, addresses: Addresses, inner: AbstractResolver) -> None:
        self._addresses = addresses
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises ``AddressRefused``, or ``OSError`` if there is no such name."""
        try:
            found = await self._inner.resolve(host, port, family)
        except UnicodeError:  # a label that is empty or too long, as only a hostile page has
            raise AddressRefused("leads to an address that is no host name") from None
        if not self._addresses.trusts(host.lower()):
            internal = {each for each in map(_address, found) if not is_public(each)}
            if internal and not internal <= await self._index_addresses(family):
                log.warning("%s has an address that is not public: see file_hosts", host)
                raise AddressRefused("leads to an address that is not public")
        return found

    async def _index_addresses(self, family: socket.AddressFamily) -> set[IPAddress]:
        """The addresses of the index, if it is configured by name and not on this machine.

        In a network that sends all names through one gateway, files have the address of that
        gateway too; links to it reach nothing that the host of the index does not reach.
        """
        index = self._addresses.index
        if ip_literal(index.host):
            return set()
        found = map(_address, await self._inner.resolve(index.host, index.port, family))
        return {each for each in found if not (each.is_loopback or each.is_link_local)}

    async def close(self) -> None:
        await self._inner.close()


def _address(found: ResolveResult) -> IPAddress:
    return ipaddress.ip_address(found["host"].partition("%")[0])
