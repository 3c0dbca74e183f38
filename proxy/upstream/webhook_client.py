"""Posts events to receivers that the settings name, and to no other address."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from aiohttp import ClientError, ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.errors import UpstreamError
from proxy.upstream.address_rules import AddressRefused, IPAddress
from proxy.upstream.credentials import mask
from proxy.upstream.headers import retry_after
from proxy.upstream.json_services import JsonSession
from proxy.upstream.outgoing_proxies import OutgoingProxies
from proxy.upstream.transport_errors import as_upstream_error

_DELIVERY_HEADERS = {"Content-Type": "application/json", "Connection": "close"}
"""Events are rare: a connection that is kept would often be closed by the receiver."""


class WebhookClient:
    """One receiver: one request at a time, redirects are errors, its answers are not read."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        ca_bundle: Path | None = None,
        proxies: Mapping[str, str] | None = None,
        resolver: AbstractResolver | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``timeout``: seconds of a request with its answer. ``proxies`` as in
        ``OutgoingProxies``. Raises ``ConfigurationError``."""
        self._url = url
        self._outgoing = OutgoingProxies(proxies or {})
        checked = ReceiverResolver(self._outgoing.hosts, resolver)
        self._session = JsonSession(1, timeout, ca_bundle, checked)
        self._turn = asyncio.Lock()
        self._clock = clock

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a JSON document. Raises ``UpstreamError`` unless the answer is a success (2xx)."""
        try:
            async with (
                self._turn,
                self._session.opened().post(
                    self._url,
                    data=body,
                    headers={**_DELIVERY_HEADERS, **headers},
                    allow_redirects=False,
                    proxy=self._outgoing.proxy_for(self._url),
                ) as response,
            ):
                status, wait = response.status, retry_after(response.headers, self._clock())
        except (ClientError, TimeoutError, OSError) as error:
            raise as_upstream_error(str(self), error)[0] from None
        if 300 <= status < 400:
            raise UpstreamError(str(self), f"it answered {status}: redirects are not followed")
        if not 200 <= status < 300:
            raise UpstreamError(str(self), f"it answered {status}", retry_after=wait)

    async def close(self) -> None:
        await self._session.close()

    def __str__(self) -> str:
        return mask(self._url)


class ReceiverResolver(AbstractResolver):
    """Refuses names that lead back to this machine, or to its link (RFC 3927).

    Who controls a name of the settings could let it lead to services that only this machine
    reaches, such as those that hand out credentials of a cloud. A receiver on this machine is
    named as such: ``localhost``, or by its address, which is not looked up. Connections go to the
    addresses that were checked.
    """

    def __init__(self, trusted: Collection[str], inner: AbstractResolver | None = None) -> None:
        """``trusted``: hosts of outgoing proxies."""
        self._trusted = trusted
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises ``AddressRefused``, or ``OSError`` if there is no such name."""
        self._inner = self._inner or ThreadedResolver()  # needs a running loop
        found = await self._inner.resolve(host, port, family)
        is_named = host.lower() == "localhost" or host.lower() in self._trusted
        if not is_named and any(map(_is_of_this_machine, found)):
            raise AddressRefused("its name leads to this machine: see docs/private-packages.md")
        return found

    async def close(self) -> None:
        if self._inner:
            await self._inner.close()


def _is_of_this_machine(found: ResolveResult) -> bool:
    address: IPAddress = ipaddress.ip_address(found["host"].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address.is_loopback or address.is_link_local or address.is_unspecified
