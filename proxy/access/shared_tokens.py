"""Tokens in an object store, which all replicas read, and the marks of identity tokens.

A token is the object ``v1/token/<id>.json``, and never changes. Each instant at which it ends is
an object of its own, ``v1/token/<id>.ends/<Unix time>``: the earliest counts, so that no writer can
prolong a token that another one has ended. After each change ``v1/token-changes`` gets another
content.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from proxy.access.minted_tokens import MintedToken
from proxy.access.token_store import Token, check_name
from proxy.errors import ConfigurationError

if TYPE_CHECKING:
    from proxy.scale import SmallObjects

TOKEN_OBJECTS = "v1/token/"  # noqa: S105 (keys)
CHANGE_OBJECT = "v1/token-changes"
MINTED_OBJECTS = "v1/minted/"
USED_OBJECTS = "v1/jti/"
READ_AGAIN = 60.0
"""Seconds after which all tokens are listed again, should the note of a change be missing."""
REMOVE_EVERY = 3600.0
"""Seconds between two removals of what cannot be used any more."""
_ENDS = ".ends/"


class SharedTokens:
    """As ``TokenStore``; when tokens were used is not noted.

    Every method raises ``ConfigurationError`` if the store does not answer.
    """

    notes_uses = False

    def __init__(self, objects: SmallObjects) -> None:
        self._objects = objects
        self._read: dict[tuple[str, str], Token | None] = {}

    def close(self) -> None:
        self._objects.close()

    def add(self, token: Token, replaced: Sequence[str] = (), ends: float = 0.0) -> None:
        """As that of ``TokenStore``, but two writers at one moment may use one name."""
        check_name(token, self.all(), replaced)
        path = f"{TOKEN_OBJECTS}{token.id}.json"
        if not self._objects.create(path, msgspec.json.encode(token)):
            problem = f"there is a token with the id {token.id} already"
            raise ConfigurationError("name", problem, "try again")
        self.revoke(replaced, ends)

    def revoke(self, ids: Sequence[str], at: float) -> None:
        """End tokens at that instant, if they do not end before."""
        for each in ids:
            self._objects.put(f"{TOKEN_OBJECTS}{each}{_ENDS}{at!r}", b"ends")
        self._objects.put(CHANGE_OBJECT, secrets.token_hex(16).encode())

    def note_used(self, times: Mapping[str, float]) -> None:
        """Nothing is written: each replica would have to, all the time."""

    def all(self) -> list[Token]:
        """Every token that there ever was, the oldest first."""
        listed = self._objects.list(TOKEN_OBJECTS)
        keys = {(path, etag) for path, etag in listed.items() if path.endswith(".json")}
        known = {key: token for key, token in self._read.items() if key in keys}
        new = self._objects.read_all([path for path, etag in keys if (path, etag) not in known])
        known |= {(path, listed[path]): _token_of(path, data) for path, data in new.items()}
        self._read = known
        ends = _ends_of(listed)
        found = [each for each in known.values() if each is not None]
        ended = [msgspec.structs.replace(each, revoked=ends.get(each.id)) for each in found]
        return sorted(ended, key=lambda each: each.created)

    def number(self) -> int:
        """Another one after each change, and after ``READ_AGAIN``."""
        content = self._objects.read(CHANGE_OBJECT) or b""
        turn = int(time.monotonic() // READ_AGAIN)
        return int.from_bytes(sha256(b"%d %b" % (turn, content)).digest()[:7])


def _token_of(path: str, content: bytes) -> Token | None:
    """None if the object is not what its key says."""
    try:
        token = msgspec.json.decode(content, type=Token)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    is_whole = path == f"{TOKEN_OBJECTS}{token.id}.json" and token.digest.hex()[:8] == token.id
    return token if is_whole else None


def _ends_of(paths: Iterable[str]) -> dict[str, float]:
    """When tokens end, by their ids."""
    found: dict[str, float] = {}
    for path in paths:
        token_id, is_end, at = path.removeprefix(TOKEN_OBJECTS).partition(_ENDS)
        if is_end:
            found[token_id] = min(found.get(token_id, float("inf")), _instant(at))
    return found


def _instant(text: str) -> float:
    """An end that cannot be read was before all others: a token is rather refused."""
    try:
        at = float(text)
    except ValueError:
        return 0.0
    return 0.0 if math.isnan(at) else at


class _Expiring(msgspec.Struct, frozen=True):
    """The common fields of a minted token and of the mark of an identity token."""

    expires: float


class SharedMinted:
    """As ``MintedTokens``: ``v1/minted/<digest>.json``, and the mark of the identity token,
    ``v1/jti/<digest>.json``, which is created once."""

    def __init__(self, objects: SmallObjects) -> None:
        self._objects = objects
        self._removed = float("-inf")

    def close(self) -> None:
        self._objects.close()

    def add(self, token: MintedToken, kept_until: float, now: float) -> bool:
        """As that of ``MintedTokens``."""
        unique = sha256(token.issuer.encode() + b"\0" + token.used).hexdigest()
        mark = _Expiring(max(kept_until, token.expires))
        if not self._objects.create(f"{USED_OBJECTS}{unique}.json", msgspec.json.encode(mark)):
            return False
        self._objects.put(_minted_path(token.digest), msgspec.json.encode(token))
        if not 0 <= now - self._removed < REMOVE_EVERY:
            self._removed = now
            with suppress(ConfigurationError):
                self._remove_expired(now)
        return True

    def find(self, digest: bytes, now: float) -> MintedToken | None:
        """The token of that digest, if it is valid."""
        content = self._objects.read(_minted_path(digest))
        if content is None:
            return None
        try:
            token = msgspec.json.decode(content, type=MintedToken)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return token if token.digest == digest and now < token.expires else None

    def burn(self, digest: bytes, now: float) -> None:
        """End a token; its identity token stays used."""
        self._objects.delete([_minted_path(digest)])

    def _remove_expired(self, now: float) -> None:
        listed = [*self._objects.list(USED_OBJECTS), *self._objects.list(MINTED_OBJECTS)]
        expired = []
        for path, content in self._objects.read_all(listed).items():
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                if msgspec.json.decode(content, type=_Expiring).expires < now:
                    expired.append(path)
        self._objects.delete(expired)


def _minted_path(digest: bytes) -> str:
    return f"{MINTED_OBJECTS}{digest.hex()}.json"
