"""Ed25519 signatures (RFC 8032): made with a private key file, checked with public key files."""

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

SIGNATURE = 64
"""Bytes of a signature."""
_WANTED = "give a PEM file with an Ed25519 key, as `waystation bundle key` makes them"


class Signer:
    """A private key. Its ``public`` half is the raw key in hex."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def load_signer(path: Path) -> Signer:
    """Raises ``ConfigurationError`` for what is no private key without a password."""
    _require("--sign")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(path, "--sign"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        problem = f"{path} is not an Ed25519 private key without a password"
        raise ConfigurationError("--sign", problem, _WANTED)
    return Signer(key)


def load_trusted(paths: Sequence[Path]) -> frozenset[str]:
    """The raw public keys in hex. Raises ``ConfigurationError``."""
    return frozenset(_public(path) for path in paths)


def check(signer: str | None, signature: bytes, message: bytes, trusted: frozenset[str]) -> bool:
    """Whether the signature was found to be right. Raises ``BadBundle`` where it is wrong.

    With keys that are ``trusted``, it has to be by one of them. Without any, a bundle need not
    be signed, and False comes back where nothing can be checked.
    """
    if trusted and signer is None:
        raise BadBundle("it is not signed, and only what a trusted key has signed is taken")
    if trusted and signer not in trusted:
        raise BadBundle(f"it is signed by ed25519:{signer}, which is not among the trusted keys")
    if signer is None:
        return False
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return False  # ``load_trusted`` has raised where anything depends on it
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise BadBundle("its signature is wrong") from None
    return True


def make_keys(path: Path) -> Path:
    """A new private key, for the owner's eyes, and beside it the public one, which is returned.

    Raises ``OSError``, also where one is there already, and ``ConfigurationError``.
    """
    _require("bundle key")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    beside = path.with_name(path.name + ".pub")
    if beside.exists():  # no private key then whose other half nobody has
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(beside))
    for each, content, mode in ((path, private, 0o600), (beside, public, 0o644)):
        fd = os.open(each, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
    return beside


def _public(path: Path) -> str:
    _require("trusted_keys")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(path, "trusted_keys"))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        problem = f"{path} is not an Ed25519 public key"
        raise ConfigurationError("trusted_keys", problem, _WANTED)
    return key.public_bytes_raw().hex()


def _read(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(key, f"{path} cannot be read: {error.strerror}") from error


def _require(key: str) -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        problem = "signatures need the package cryptography, which is not installed"
        raise ConfigurationError(key, problem, how_to_add("sign")) from None
