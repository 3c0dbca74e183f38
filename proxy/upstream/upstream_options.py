"""The options of an upstream: credentials, limits, certificates of its connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from proxy.upstream.credentials import Credentials


class Timeouts(msgspec.Struct, frozen=True):
    """Limits in seconds."""

    connect: float = 10.0
    read: float = 60.0
    """Between two pieces of an answer."""
    page: float = 30.0
    """For a small answer as a whole: connecting, redirects, retries, reading."""

    @property
    def head(self) -> float:
        """From the request to the end of the headers; see ``head_timer``."""
        return self.connect + self.read


class UpstreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say of an upstream, besides its name and its URL."""

    credentials: Credentials | None = None
    file_hosts: Sequence[str] = ()
    """Other hosts that may send its files; as in ``Addresses``."""
    proxies: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Outgoing proxies by scheme; as in ``OutgoingProxies``."""
    connections: int = 64
    """The most that are open at a time."""
    timeouts: Timeouts = Timeouts()
    retries: int = 2
    """Attempts after the first, of a request that failed for a reason that may pass."""
    breaker_limit: int = 5
    """Failed connections in a row after which requests are refused; as in ``Breaker``."""
    ca_bundle: Path | None = None
    """Authorities (PEM) that are trusted in addition to the system's."""
    client_certificate: Path | None = None
    client_key: Path | None = None
    """Of the certificate, if not in the same file."""
