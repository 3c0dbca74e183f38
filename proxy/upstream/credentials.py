"""Credentials for an upstream: where they come from, and the one origin that gets them."""

from __future__ import annotations

import re
from base64 import b64encode
from netrc import NetrcParseError
from netrc import netrc as read_netrc
from pathlib import Path
from urllib.parse import unquote

import msgspec

from proxy.errors import ConfigurationError
from proxy.upstream.address_rules import Origin, origin_of

_URL_USERINFO = re.compile(r"\A(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<userinfo>[^/?#]*)@")


class Credentials(msgspec.Struct, frozen=True):
    """A user and a password for exactly one origin."""

    origin: Origin
    user: str
    password: str
    is_token: bool = False
    """The password is a token, and the user is not sent (RFC 6750)."""

    def __repr__(self) -> str:
        return f"Credentials(for {self.origin.host})"

    def headers_for(self, url: str) -> dict[str, str]:
        """``Authorization`` (RFC 7617) if the address is on the origin, else nothing."""
        if origin_of(url) != self.origin:
            return {}
        if self.is_token:
            return {"Authorization": f"Bearer {self.password}"}
        pair = f"{self.user}:{self.password}".encode()
        return {"Authorization": "Basic " + b64encode(pair).decode()}


def find_credentials(
    url: str, *, user: str | None = None, password: str | None = None, netrc: Path | None = None
) -> tuple[str, Credentials | None]:
    """The index address without user and password, and the credentials for its origin.

    They come from the arguments, else from the address, else from the netrc file's entry for
    the host; its ``default`` entry is ignored, as it would go to any host. Raises
    ``ConfigurationError``.
    """
    bare = without_userinfo(url)
    try:
        origin = origin_of(bare)
    except ValueError as error:
        raise ConfigurationError("url", f"{mask(url)} {error}") from None
    if user is not None or password is not None:
        return bare, Credentials(origin, user or "", password or "")
    if written := _URL_USERINFO.match(url):
        name, _, secret = written["userinfo"].partition(":")
        return bare, Credentials(origin, unquote(name), unquote(secret))
    return bare, _from_netrc(origin, netrc)


def token_for(url: str, token: str) -> Credentials:
    """A token for the origin of the address. Raises ``ConfigurationError``."""
    try:
        return Credentials(origin_of(url), "token", token, is_token=True)
    except ValueError as error:
        raise ConfigurationError("url", f"{mask(url)} {error}") from None


def without_userinfo(url: str) -> str:
    return _URL_USERINFO.sub(r"\g<scheme>", url)


def mask(url: str) -> str:
    """The address for logs and messages: without credentials or query, which may be signed."""
    bare, _, query = _URL_USERINFO.sub(r"\g<scheme>***@", url).partition("?")
    return bare + ("?***" if query else "")


def _from_netrc(origin: Origin, path: Path | None) -> Credentials | None:
    if path is None:
        return None
    try:
        entry = read_netrc(path).hosts.get(origin.host)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError("netrc", f"cannot be read: {error.strerror}") from None
    except NetrcParseError as error:  # its text may quote a password
        raise ConfigurationError("netrc", f"is wrong in line {error.lineno}") from None
    return Credentials(origin, entry[0], entry[2]) if entry else None
