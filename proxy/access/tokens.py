"""Tokens: their form, which secret scanners recognise, and their verification."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from zlib import crc32

from proxy import late_pattern
from proxy.access.authenticator import Presented, ProvenIdentity
from proxy.access.principals import Principal
from proxy.access.rights import Grant, parse_grant
from proxy.access.shared_tokens import SharedTokens
from proxy.access.token_store import Token, TokenStore
from proxy.errors import ConfigurationError, DirectoryUnavailable

log = logging.getLogger(__name__)

PREFIX = "wst_"
MINTED_PREFIX = "wsp_"
"""Begins tokens that were minted for one job to publish."""
KEEP = 60.0
"""Seconds for which a verified token is not looked up again: so its last use is seen."""
NOTE_USES = 30.0
"""Seconds between two notes of the last uses."""
_TOKEN_FORM = late_pattern(r"ws[tp]_[A-Za-z0-9_-]{43}_[0-9A-Za-z]{6}\Z", re.ASCII)
_BASE62_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_token(prefix: str = PREFIX) -> str:
    """The prefix, 32 random bytes in base64url, and a checksum."""
    body = prefix + secrets.token_urlsafe(32)
    return f"{body}_{_checksum(body)}"


def has_token_form(text: str, prefix: str = PREFIX) -> bool:
    """Whether the text can be a token; most others are refused without a look-up."""
    is_whole = text.startswith(prefix) and _TOKEN_FORM.match(text)
    return bool(is_whole) and text[-6:] == _checksum(text[:-7])


def token_digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _checksum(body: str) -> str:
    """CRC-32 in base 62, of six digits."""
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62_DIGITS[digit] + digits
    return digits


class Tokens:
    """Authenticates the tokens of a store, of which it knows all by digest."""

    kind = "token"

    def __init__(
        self, store: TokenStore | SharedTokens, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._clock = clock
        self._tokens: dict[bytes, Token] = {}
        self._number = -1
        self._uses: dict[str, float] = {}
        self._noted = clock()
        self._failing = False
        self._changed = False
        self._looking = asyncio.Lock()  # a store that hangs holds one thread, not all

    def owns(self, presented: Presented) -> bool:
        return has_token_form(presented.token)

    async def verify(self, presented: Presented) -> ProvenIdentity | None:
        if not self.owns(presented):
            return None
        digest, now = token_digest(presented.token), self._clock()
        if digest not in self._tokens:
            await self._look()  # it may have been created a moment ago
        token = self._tokens.get(digest)
        if token is None and self._failing:
            raise DirectoryUnavailable  # it may be valid: clients try again
        if token is None or not token.is_valid(now):
            return None
        self._uses[token.id] = now
        principal = Principal(f"token:{token.name}", self.kind)
        until = math.inf if token.ends is None else token.ends
        return ProvenIdentity(principal, _grants(token), until, KEEP, token)

    async def refresh(self) -> bool:
        await self._look()
        changed, self._changed = self._changed, False
        return changed

    async def _look(self) -> None:
        try:
            async with self._looking:
                await asyncio.to_thread(self._read_new)
            if self._uses and not 0 <= self._clock() - self._noted < NOTE_USES:
                await self.note_uses()
            self._failing = False
        except ConfigurationError as error:
            if not self._failing:
                log.error("tokens that are created or revoked now have no effect: %s", error)
            self._failing = True

    async def note_uses(self) -> None:
        """Write when tokens were used last. Raises ``ConfigurationError``."""
        uses, self._uses, self._noted = self._uses, {}, self._clock()
        if uses:
            await asyncio.to_thread(self._store.note_used, uses)

    async def close(self) -> None:
        with suppress(ConfigurationError):
            await self.note_uses()
        await asyncio.to_thread(self._store.close)

    def confirms(self, verified: ProvenIdentity) -> bool:
        token = verified.proof
        if not isinstance(token, Token):
            return False
        known = self._tokens.get(token.digest)
        return known is not None and known.ends == token.ends

    def _read_new(self) -> None:
        number = self._store.number()
        if number != self._number:
            found = {each.digest: each for each in self._store.all()}
            self._changed = self._changed or found != self._tokens
            self._tokens, self._number = found, number


def _grants(token: Token) -> frozenset[Grant]:
    """A grant that this version cannot read, because a later one wrote it, grants nothing."""
    grants = set()
    for text in token.scopes.split():
        with suppress(ValueError):
            grants.add(parse_grant(text))
    return frozenset(grants)
