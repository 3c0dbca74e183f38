"""Identities that come with the connection: of a proxy in front, and of a TLS certificate."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, Literal

CertificateName = Literal["san-uri", "san-dns", "san-email", "cn"]
"""Which name of a certificate is that of its principal."""
_ALTERNATIVE_NAMES = {"san-uri": "URI", "san-dns": "DNS", "san-email": "email"}


class FrontProxies:
    """The proxies in front that are trusted, and the headers that they set."""

    def __init__(self, networks: Iterable[str], user_header: str = "", groups_header: str = ""):
        """``networks``: addresses or networks. Headers may be empty: then none counts."""
        self._networks = [ip_network(each, strict=False) for each in networks]
        self.user_header = user_header
        self.groups_header = groups_header
        self.headers = tuple(filter(None, (user_header, groups_header)))
        self.markers = tuple(f"\r\n{each.lower()}:".encode() for each in self.headers)
        """The first bytes of lines with these headers, in lower case."""
        self.trusts = lru_cache(maxsize=1024)(self._trusts)

    def _trusts(self, address: str) -> bool:
        """Whether this is the address of such a proxy."""
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in each for each in self._networks)

    def client_of(self, peer: str, forwarded: Sequence[str]) -> str:
        """The address of the client: the last one in ``X-Forwarded-For`` that is not a proxy's.

        ``forwarded``: the values of that header. The header of an untrusted peer is ignored.
        """
        if not self.trusts(peer):
            return peer
        hops = [hop.strip() for value in forwarded for hop in value.split(",")]
        return next((hop for hop in reversed(hops) if hop and not self.trusts(hop)), peer)


def group_names(value: str) -> list[str]:
    """The groups in a header: separated by commas, semicolons or bars."""
    for separator in ";|":
        value = value.replace(separator, ",")
    return [name for name in map(str.strip, value.split(",")) if name]


def certificate_name(certificate: Mapping[str, Any], kind: CertificateName) -> str | None:
    """The first name of that kind in a certificate, as ``SSLSocket.getpeercert`` gives it."""
    if kind == "cn":
        return next(_common_names(certificate), None)
    wanted = _ALTERNATIVE_NAMES[kind]
    names = certificate.get("subjectAltName", ())
    return next((value for type_, value in names if type_ == wanted), None)


def certificate_end(certificate: Mapping[str, Any]) -> float:
    """When it expires, by Unix time in seconds."""
    return float(ssl.cert_time_to_seconds(certificate["notAfter"]))


def _common_names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for part in certificate.get("subject", ()):
        yield from (value for name, value in part if name == "commonName")
