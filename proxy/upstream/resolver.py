"""Looks host names up for connections, and refuses names that lead where they must not."""

from __future__ import annotations

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.upstream.addresses import Addresses, AddressRefused, is_public


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
            for each in found:
                if not is_public(ipaddress.ip_address(each["host"].partition("%")[0])):
                    raise AddressRefused("leads to an address that is not public")
        return found

    async def close(self) -> None:
        await self._inner.close()
