"""Whom TLS connections to an upstream trust, and what they show."""

from __future__ import annotations

import ssl
from pathlib import Path

from proxy.errors import ConfigurationError


def tls_context(
    ca_bundle: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext | bool:
    """True: what the system trusts, without a certificate. Raises ``ConfigurationError``."""
    if ca_bundle is None and certificate is None:
        return True
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        wrong = "ca_bundle" if certificate is None else "client_certificate"
        raise ConfigurationError(wrong, f"cannot be used: {error.strerror}") from None
    return context
