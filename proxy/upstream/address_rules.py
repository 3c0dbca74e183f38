"""Rules for the addresses that an upstream's links and redirects may lead to (SSRF). No I/O.

``connections`` looks up host names, and applies the last of these rules.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

_ABSOLUTE_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:[^/?#\\]*@)?"
    r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?#].*)?",
    re.IGNORECASE | re.ASCII,
)
_GRAPHIC = re.compile(r"[\x21-\x7e]*")
_MAX_HOST_LENGTH = 253
"""Characters of a host name (RFC 1035, section 2.3.4), without the dot at its end."""
_IPV4_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HOST_PATTERN = re.compile(r"(?P<any>\*\.)?(?P<host>[^*/?#@]+)")
DEFAULT_PORTS = {"http": 80, "https": 443}

_SPECIAL_NETWORKS = [
    # reserved by IANA, but public for older versions of ipaddress
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20", "5f00::/16")
]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(OSError):
    """A rule of this module forbids the connection. The text names the rule, not the host.

    An ``OSError``, because it is also raised while a host name is looked up.
    """


class Origin(NamedTuple):
    """RFC 6454; the host in lowercase, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int


def origin_of(url: str) -> Origin:
    """The origin of an absolute http(s) address. Raises ``ValueError`` for anything else.

    Strict, since the code that connects must not read the host differently: only ASCII, no
    backslash, no unusual spelling of an IP address (``0x7f.1``, ``127.1``).
    """
    parts = _ABSOLUTE_URL.fullmatch(url)
    if not parts or not _GRAPHIC.fullmatch(url):
        raise ValueError("is not an http address")
    scheme, host = parts["scheme"].lower(), parts["host"].lower().strip("[]")
    port = int(parts["port"] or DEFAULT_PORTS[scheme])
    if len(host) > _MAX_HOST_LENGTH:
        raise ValueError("has a host name that is too long")
    if not 0 < port < 2**16:
        raise ValueError("has no such port")
    return Origin(scheme, _canonical_host(host), port)


@lru_cache(maxsize=1024)
def _canonical_host(host: str) -> str:
    """IP addresses in their usual spelling. Cached: hosts are few, and requests use it often."""
    return str(ip_literal(host) or host)


def ip_literal(host: str) -> IPAddress | None:
    """The host as an IP address; None: it is a name. Raises ``ValueError`` for odd spellings."""
    try:
        if ":" in host:
            return ipaddress.IPv6Address(host)
        last = host.rstrip(".").rpartition(".")[2]
        return ipaddress.IPv4Address(host) if _IPV4_NUMBER.fullmatch(last) else None
    except ipaddress.AddressValueError:
        raise ValueError("is not the usual spelling of an IP address") from None


def is_public(address: IPAddress) -> bool:
    """Whether the address can be reached from the whole internet.

    Addresses that contain another one (mapped, 6to4, Teredo, NAT64) never count as public: where
    they lead depends on the network. Hosts behind NAT64 have to be named in ``file_hosts``.
    """
    if isinstance(address, ipaddress.IPv6Address) and (
        address.ipv4_mapped or address.sixtofour or address.teredo or address.is_site_local
    ):
        return False
    if any(address in network for network in _SPECIAL_NETWORKS):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class HostPattern(NamedTuple):
    """``host`` or ``*.suffix``, with ``:port`` or with the default port of the scheme."""

    host: str
    below: bool
    port: int | None

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Raises ``ValueError``."""
        parts = _HOST_PATTERN.fullmatch(text.strip())
        if not parts:
            raise ValueError(f"not a host: {text}")
        named = origin_of(f"https://{parts['host']}")
        has_port = re.search(r":[0-9]+\Z", parts["host"].rpartition("]")[2])
        return cls(named.host, bool(parts["any"]), named.port if has_port else None)

    def matches(self, origin: Origin) -> bool:
        wanted = self.port or DEFAULT_PORTS[origin.scheme]
        return origin.port == wanted and self.covers(origin.host)

    def covers(self, host: str) -> bool:
        return host.endswith(f".{self.host}") if self.below else host == self.host


class Addresses:
    """The rules of one upstream.

    * The host of the index itself is allowed on any port and at any address.
    * Hosts named in ``file_hosts`` (``files.example.org``, ``*.example.org``, ``host:8443``)
      are allowed at any address; if any host is named, no others are allowed.
    * If no host is named, files may come from any host over https on the default port, if all
      addresses of the host are public, or are those of the index.
    * Plain http is allowed only if the index itself is configured with http.

    With an outgoing proxy, the proxy looks up host names: the rules for hosts, ports and literal
    addresses apply, but the addresses of names are unknown here. Name ``file_hosts`` if the
    proxy reaches internal hosts.
    """

    def __init__(
        self, index: str, file_hosts: Iterable[str] = (), proxies: Iterable[str] = ()
    ) -> None:
        """``proxies``: hosts of outgoing proxies, which may be internal. Raises ``ValueError``."""
        self.index = origin_of(index)
        self._named = [HostPattern.parse(host) for host in file_hosts]
        self._proxies = frozenset(proxies)

    def check(self, url: str, *, named_hosts_only: bool = False) -> Origin:
        """The origin of the address. Raises ``AddressRefused``.

        ``named_hosts_only``: allow only the host of the index and ``file_hosts``.
        """
        try:
            origin = origin_of(url)
        except ValueError as error:
            raise AddressRefused(f"leads to an address that {error}") from None
        if refusal := self._refusal(origin, named_hosts_only):
            raise AddressRefused(f"leads to an address that {refusal}")
        return origin

    def allows(self, origin: str) -> bool:
        """Whether a link to ``scheme://host[:port]`` may be fetched, by all rules but DNS."""
        try:
            return not self._refusal(origin_of(origin), named_hosts_only=False)
        except ValueError:
            return False

    def trusts(self, host: str) -> bool:
        """Whether the host may have an internal address."""
        return host in self._proxies or self._is_named(host)

    def _refusal(self, origin: Origin, named_hosts_only: bool) -> str:
        if origin.scheme == "http" and self.index.scheme != "http":
            return "is plain http"
        if origin.host == self.index.host or any(it.matches(origin) for it in self._named):
            return ""
        if named_hosts_only or self._named:
            return "is neither on the host of the index nor on one of its file_hosts"
        if origin.scheme != "https" or origin.port != 443 or origin.host in self._proxies:
            return "is neither on the host of the index nor on port 443 of a public one"
        literal = ip_literal(origin.host)
        return "is not public" if literal and not is_public(literal) else ""

    def _is_named(self, host: str) -> bool:
        return host == self.index.host or any(it.covers(host) for it in self._named)
