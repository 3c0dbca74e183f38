"""Turns errors of connections and answers into ``UpstreamError``, and says which to retry."""

from __future__ import annotations

import os
import socket
import ssl
from http import HTTPStatus

import aiohttp

from proxy.errors import UpstreamError, UpstreamRefused, UpstreamTimeout
from proxy.upstream.address_rules import AddressRefused

TEMPORARY_STATUSES = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same request is retried."""

REFUSING_STATUSES = frozenset({400, 401, 403})


class RedirectRefused(UpstreamError):
    """The rules forbid a link or the target of its redirect: no other request would help."""


class RetryableStatus(Exception):
    """Upstream answered with a temporary status; ``retry_after``: seconds, if it named any."""

    def __init__(self, status: int, retry_after: int | None) -> None:
        super().__init__(status, retry_after)
        self.status = status
        self.retry_after = retry_after


TransportError = aiohttp.ClientError | OSError | RetryableStatus
TRANSPORT_ERRORS = (aiohttp.ClientError, OSError, RetryableStatus)
"""Errors of requests and bodies; time-outs are among the ``OSError``."""

_UNTRUSTED = "its TLS certificate is not trusted"
_REASONS: tuple[tuple[type[BaseException], str, bool], ...] = (
    # The first that fits counts; aiohttp's errors inherit from several of these.
    (aiohttp.ConnectionTimeoutError, "no connection in time", True),
    (TimeoutError, "no answer in time", False),
    (aiohttp.ClientConnectorCertificateError, _UNTRUSTED, False),
    (ssl.SSLCertVerificationError, _UNTRUSTED, False),
    (aiohttp.ClientConnectorSSLError, "no secure connection could be made", False),
    (ssl.SSLError, "the secure connection broke", True),
    (aiohttp.ClientProxyConnectionError, "the outgoing proxy cannot be reached", True),
    (aiohttp.ClientHttpProxyError, "the outgoing proxy refuses", False),
    (aiohttp.ClientConnectorDNSError, "its name cannot be looked up", True),
    (aiohttp.ClientConnectorError, "no connection", True),
    (aiohttp.ClientPayloadError, "the answer broke off", True),
    (aiohttp.ClientConnectionError, "the connection broke", True),
    (aiohttp.InvalidURL, "leads to something that is not an address", False),
    (aiohttp.ClientError, "the answer is not HTTP", False),
    (OSError, "the connection failed", True),
)


def _system_reason(error: BaseException) -> str:
    """The system's message, ``Connection refused``; empty if it may contain an address."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return str(cause.verify_message).partition(",")[0]
    if isinstance(cause, socket.gaierror):
        return str(cause.strerror or "")
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else ""
    return ""


def as_upstream_error(index: str, error: TransportError) -> tuple[UpstreamError, bool]:
    """The error to raise, and whether a retry makes sense.

    The words are ours and the system's: those of the library may contain addresses and hosts.
    """
    if isinstance(error, RetryableStatus):
        return status_error(index, error.status, error.retry_after), True
    cause = getattr(error, "os_error", error)
    if isinstance(cause, AddressRefused):
        return RedirectRefused(index, str(cause)), False
    words, retryable = next(
        (words, retryable) for kind, words, retryable in _REASONS if isinstance(error, kind)
    )
    kind = UpstreamTimeout if isinstance(error, TimeoutError) else UpstreamError
    system = _system_reason(error)
    return kind(index, f"{words} ({system})" if system else words), retryable


def status_error(index: str, status: int, retry_after: int | None = None) -> UpstreamError:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else ""
    kind = UpstreamRefused if status in REFUSING_STATUSES else UpstreamError
    return kind(index, f"it answered {status} {phrase}".rstrip(), retry_after=retry_after)
