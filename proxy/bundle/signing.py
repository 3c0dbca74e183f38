"""Ed25519 signatures (RFC 8032): keys in PEM files, signing, verification."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.bundle.errors import BadBundle
from proxy.errors import ConfigurationError, how_to_add

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE_SIZE = 64
"""Bytes of a signature."""
_KEY_REMEDY = "give a PEM file with an Ed25519 key, as `waystation bundle key` makes them"


class Signer:
    """A private key. Its ``public`` half is the raw key in hex."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def load_signer(path: Path) -> Signer:
    """Raises ``ConfigurationError`` unless the file has a private key without a password."""
    _require_cryptography("--sign")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read_key_file(path, "--sign"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        problem = f"{path} is not an Ed25519 private key without a password"
        raise ConfigurationError("--sign", problem, _KEY_REMEDY)
    return Signer(key)


def load_trusted_keys(paths: Sequence[Path]) -> frozenset[str]:
    """The raw public keys in hex. Raises ``ConfigurationError``."""
    return frozenset(_load_public_key(path) for path in paths)


def verify_signature(
    signer: str | None, signature: bytes, message: bytes, trusted: frozenset[str]
) -> bool:
    """Whether the signature was checked and is right. Raises ``BadBundle`` if it is wrong.

    If there are ``trusted`` keys, one of them must have signed. If there are none, a bundle need
    not be signed; the result is False if it is not, or if cryptography is not installed.
    """
    if trusted and signer is None:
        raise BadBundle("it is not signed, and only bundles signed by a trusted key are accepted")
    if trusted and signer not in trusted:
        raise BadBundle(f"it is signed by ed25519:{signer}, which is not among the trusted keys")
    if signer is None:
        return False
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return False  # with trusted keys, ``load_trusted_keys`` has raised before
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise BadBundle("its signature is wrong") from None
    return True


def create_key_pair(path: Path) -> Path:
    """Create a private key (mode 600) and ``<path>.pub``; returns the path of the public key.

    Raises ``OSError``, also if one of the files exists, and ``ConfigurationError``.
    """
    _require_cryptography("bundle key")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    public_path = path.with_name(path.name + ".pub")
    if public_path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(public_path))
    for each, content, mode in ((path, private, 0o600), (public_path, public, 0o644)):
        fd = os.open(each, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
    return public_path


def _load_public_key(path: Path) -> str:
    _require_cryptography("trusted_keys")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read_key_file(path, "trusted_keys"))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        problem = f"{path} is not an Ed25519 public key"
        raise ConfigurationError("trusted_keys", problem, _KEY_REMEDY)
    return key.public_bytes_raw().hex()


def _read_key_file(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(key, f"{path} cannot be read: {error.strerror}") from error


def _require_cryptography(key: str) -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        problem = "signatures need the package cryptography, which is not installed"
        raise ConfigurationError(key, problem, how_to_add("sign")) from None
