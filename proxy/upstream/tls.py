"""Whom TLS connections to an upstream trust, and what they show."""

from __future__ import annotations

import ssl
from pathlib import Path

from proxy.errors import ConfigurationError


def tls_context(
    ca_bundle: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext | bool:
    """True: what the system trusts, without a client certificate.

    The authorities in ``ca_bundle`` (PEM) are trusted beside those of the system. Raises
    ``ConfigurationError``.
    """
    if ca_bundle is None and certificate is None:
        return True
    try:
        context = ssl.create_default_context()  # given a file, it would load that alone
        if ca_bundle is not None:
            context.load_verify_locations(ca_bundle)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        wrong = "ca_bundle" if certificate is None else "client_certificate"
        raise ConfigurationError(wrong, f"cannot be used: {error.strerror}") from None
    return context
