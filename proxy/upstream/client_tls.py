"""TLS of all connections that this program opens through aiohttp: the authorities it trusts."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import Any

from proxy.errors import ConfigurationError


class SystemAuthorities(ssl.SSLContext):
    """Trusts the authorities of the system, which the first TLS connection loads.

    To load them takes 0.04 s of CPU, and a server whose upstreams have no TLS never needs them.
    aiohttp's own default context is no substitute: ``proxy.cli`` imports aiohttp such that this
    context trusts no authority.
    """

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As ``SSLContext.wrap_bio``, which asyncio and uvloop call once for each connection."""
        return _system_context().wrap_bio(*arguments, **options)


@cache
def system_authorities() -> ssl.SSLContext:
    """One context for all connections without an authority or a certificate of their own."""
    return SystemAuthorities(ssl.PROTOCOL_TLS_CLIENT)


@cache
def _system_context() -> ssl.SSLContext:
    return _context()


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()  # with a file it would load that file only
    context.set_alpn_protocols(["http/1.1"])  # as aiohttp does
    return context


def tls_context(
    ca_bundle: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext:
    """A context that trusts the authorities of the system, and shows the client certificate.

    The authorities in ``ca_bundle`` (PEM) are trusted in addition to those of the system. Raises
    ``ConfigurationError``.
    """
    if ca_bundle is None and certificate is None:
        return system_authorities()
    try:
        context = _context()
        if ca_bundle is not None:
            context.load_verify_locations(ca_bundle)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        wrong = "ca_bundle" if certificate is None else "client_certificate"
        raise ConfigurationError(wrong, f"cannot be used: {error.strerror}") from None
    return context
