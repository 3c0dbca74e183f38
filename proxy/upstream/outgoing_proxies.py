"""Chooses the outgoing proxy for an address, or none (``NO_PROXY``).

No RFC defines ``NO_PROXY``. Entries mean what they mean to curl, pip and uv: no name is looked
up, so a network contains only hosts that are given as IP addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache

from yarl import URL

from proxy import late_pattern
from proxy.errors import ConfigurationError
from proxy.upstream.address_rules import ip_literal, origin_of
from proxy.upstream.credentials import mask


class OutgoingProxies:
    """Proxies by scheme, as ``urllib.request.getproxies`` returns them from the environment.

    The keys are ``https``, ``http``, ``all`` and ``no``; the last is the ``NO_PROXY`` list
    of hosts that are reached directly: see ``NoProxy``. A proxy is an
    ``http://[user:password@]host:port`` address; only the proxy gets user and password.
    """

    def __init__(self, proxies: Mapping[str, str]) -> None:
        """Raises ``ConfigurationError`` for a proxy that is not an http address."""
        self._proxies = {
            scheme: _checked(proxies.get(scheme) or proxies["all"])
            for scheme in ("https", "http")
            if proxies.get(scheme) or proxies.get("all")
        }
        self._direct = NoProxy(proxies.get("no", ""))
        self.hosts = frozenset(origin_of(proxy).host for proxy in self._proxies.values())

    def proxy_for(self, url: str) -> URL | None:
        if not self._proxies:
            return None
        scheme, host, port = origin_of(url)
        proxy = self._proxies.get(scheme)
        if proxy is None or self._direct.matches(host, port):
            return None
        return URL(proxy)


def _checked(proxy: str) -> str:
    address = proxy if "://" in proxy else f"http://{proxy}"
    try:
        origin_of(address)
    except ValueError:
        raise ConfigurationError(
            "proxy", f"{mask(address)} is not the address of a proxy", "use http://host:port"
        ) from None
    return address


_PORT = late_pattern(r"(?P<host>\[[^\]]*\]|[^:]*):(?P<port>[0-9]{1,5})")


class NoProxy:
    """The hosts and networks that are reached without a proxy, separated by commas or spaces.

    * ``*``: every host.
    * ``example.com``, ``.example.com``: the host and all hosts below it.
    * ``10.1.2.3``, ``::1``, ``[::1]``: the address, in any spelling.
    * ``10.0.0.0/8``, ``fd00::/8``: the network, also if the address has bits of a host.
    * With ``:port``, a host or an address (``[::1]:8080``) on that port only.

    Entries that are none of these match no host.
    """

    def __init__(self, text: str) -> None:
        self._entries = text.replace(",", " ").lower().split()

    def matches(self, host: str, port: int) -> bool:
        """``host`` in lowercase, an IPv6 address without brackets."""
        return any(_matches(entry, host.rstrip("."), port) for entry in self._entries)


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if with_port := _PORT.fullmatch(entry):
        if int(with_port["port"]) != port:
            return False
        entry = with_port["host"]
    address, network = ip_literal(host), _network(entry)
    if address or network:
        return address is not None and network is not None and address in network
    name = entry.strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


@lru_cache(maxsize=1024)
def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """An address is a network of one address."""
    address, slash, prefix = entry.partition("/")
    try:
        return ipaddress.ip_network(address.strip("[]") + slash + prefix, strict=False)
    except ValueError:
        return None
