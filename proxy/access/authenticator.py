"""The contract of authenticators, and the parser of the header ``Authorization``."""

from __future__ import annotations

import binascii
import math
from base64 import b64decode
from typing import NamedTuple, Protocol

from proxy.access.principals import Principal
from proxy.access.rights import Grant

MAX_HEADER = 8192
"""Characters of a header value with credentials."""


class Presented(NamedTuple):
    """The credentials of a request."""

    user: str
    """Empty with the scheme Bearer."""
    secret: str

    @property
    def token(self) -> str:
        """The secret; people also write a token as a user name without a password."""
        return self.secret or self.user


class ProvenIdentity(NamedTuple):
    """A proved identity."""

    principal: Principal
    grants: frozenset[Grant] = frozenset()
    """Rights that the credentials themselves have."""
    until: float = math.inf
    """Unix time in seconds at which the credentials expire."""
    keep: float = 300.0
    """Seconds for which the result may be used again without a further check."""
    proof: object = None
    """The value that ``confirms`` of the authenticator compares."""
    is_limited: bool = False
    """Whether ``grants`` are all rights; else the principal has those of the settings too."""


class Authenticator(Protocol):
    """One way to prove an identity."""

    kind: str
    """As in ``Principal``."""

    def owns(self, presented: Presented) -> bool:
        """Whether these are credentials of its kind, which no other authenticator may get."""

    async def verify(self, presented: Presented) -> ProvenIdentity | None:
        """The proved identity; None if these are not its credentials, or wrong ones.

        Raises ``DirectoryUnavailable``.
        """

    async def refresh(self) -> bool:
        """Read what has changed outside; whether results of ``verify`` may be outdated."""

    def confirms(self, verified: ProvenIdentity) -> bool:
        """Whether an earlier result is still valid. Fast, without I/O."""


def parse_authorization(value: str) -> Presented | None:
    """The credentials of ``Authorization``: Basic (RFC 7617, in UTF-8) or Bearer (RFC 6750)."""
    scheme, _, rest = value.partition(" ")
    rest = rest.strip()
    if not rest or len(value) > MAX_HEADER:
        return None
    if scheme.lower() == "bearer":
        return Presented("", rest)
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, secret = b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Presented(user, secret) if colon else None
