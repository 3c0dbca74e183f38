"""Opens the connections to one upstream: their pool, and the look-up of host names."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import ClientSession, DummyCookieJar, ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy import __version__
from proxy.errors import ConfigurationError
from proxy.upstream.address_rules import Addresses, AddressRefused, IPAddress, ip_literal, is_public
from proxy.upstream.client_tls import tls_context
from proxy.upstream.credentials import mask
from proxy.upstream.outgoing_proxies import OutgoingProxies
from proxy.upstream.redirects import Redirects, head_timer
from proxy.upstream.response_heads import MAX_LINE_SIZE, LenientConnector
from proxy.upstream.traffic import InFlight
from proxy.upstream.transport import Transport
from proxy.upstream.upstream_options import UpstreamOptions

log = logging.getLogger(__name__)

KEEPALIVE = 60.0
"""Seconds for which an idle connection stays open for the next install."""
READ_AHEAD = 64 * 1024
"""Bytes of an answer that are read before some are taken: the first bytes do not wait until many
others have been read."""


@asynccontextmanager
async def open_transport(
    name: str,
    url: str,
    options: UpstreamOptions,
    *,
    in_flight: InFlight | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[Transport]:
    """A transport for the index at ``url``, with its own connections, closed at the end.

    ``in_flight`` counts the requests. Raises ``ConfigurationError``.
    """
    in_flight = in_flight or InFlight()
    outgoing = OutgoingProxies(options.proxies)
    addresses = _addresses(url, options.file_hosts, outgoing)
    checked = CheckedResolver(addresses, resolver or ThreadedResolver())
    async with ClientSession(
        connector=_connector(options, checked),
        headers={"User-Agent": f"waystation/{__version__}"},
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=READ_AHEAD,
        requote_redirect_url=False,
        max_line_size=MAX_LINE_SIZE,
        max_field_size=MAX_LINE_SIZE,
        trace_configs=[head_timer(options.timeouts), *in_flight.traces],
        trust_env=False,  # aiohttp would send netrc entries to every host, also after redirects
    ) as session:
        redirects = Redirects(name, session, addresses, outgoing, options, clock)
        in_flight.breakers.append(redirects.breaker)
        try:
            yield Transport(name, redirects, addresses, options, in_flight, sleep)
        finally:
            in_flight.breakers.remove(redirects.breaker)


def _connector(options: UpstreamOptions, resolver: CheckedResolver) -> LenientConnector:
    return LenientConnector(
        limit=options.connections,
        keepalive_timeout=KEEPALIVE,
        ssl=tls_context(options.ca_bundle, options.client_certificate, options.client_key),
        resolver=resolver,
    )


def _addresses(url: str, file_hosts: Iterable[str], outgoing: OutgoingProxies) -> Addresses:
    try:
        return Addresses(url, file_hosts, outgoing.hosts)
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
