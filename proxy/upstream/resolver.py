"""Looks host names up for connections, and refuses names that lead where they must not."""

from __future__ import annotations

import ipaddress
import logging
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.upstream.addresses import Addresses, AddressRefused, IPAddress, ip_literal, is_public

log = logging.getLogger(__name__)


class CheckedResolver(AbstractResolver):
    """Refuses names with an address that is not public, unless the upstream's rules trust them.

    It sits inside the connector: the addresses that were checked are those that are connected
    to, so a name that changes its mind in between (DNS rebinding) gains nothing.
    """

    def __init__(self, addresses: Addresses, inner: AbstractResolver) -> None:
        self._addresses = addresses
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises ``AddressRefused``, or ``OSError`` where there is no such name."""
        try:
            found = await self._inner.resolve(host, port, family)
        except UnicodeError:  # a label that is empty or too long, as only a hostile page has
            raise AddressRefused("leads to an address that is no host name") from None
        if not self._addresses.trusts(host.lower()):
            internal = {each for each in map(_address, found) if not is_public(each)}
            if internal and not internal <= await self._of_index(family):
                log.warning("%s has an address that is not public: see file_hosts", host)
                raise AddressRefused("leads to an address that is not public")
        return found

    async def _of_index(self, family: socket.AddressFamily) -> set[IPAddress]:
        """Where the index itself is, if that is known by name and not on this very machine.

        In a network that sends all names through one gateway, the files are behind it too:
        nothing is reached by them that the index's own host, on any port, would not reach.
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
