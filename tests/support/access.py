"""Tokens and headers with credentials, for tests of access."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proxy.access import (
    Access,
    Authenticator,
    GrantTable,
    SharedTokens,
    Token,
    Tokens,
    TokenStore,
    parse_grant,
)
from proxy.access.tokens import new_token, token_digest


def basic(secret: str, user: str = "__token__") -> str:
    """The value of ``Authorization`` that installers send."""
    return "Basic " + b64encode(f"{user}:{secret}".encode()).decode()


def add_token(
    store: TokenStore | SharedTokens,
    name: str,
    *scopes: str,
    now: float,
    expires: float | None = None,
) -> str:
    """The secret of a new token."""
    secret = new_token()
    digest = token_digest(secret)
    store.add(Token(digest.hex()[:8], digest, name, "", " ".join(scopes), now, expires))
    return secret


class TokenRig:
    """Access by tokens, and ways to create and revoke them as commands do."""

    def __init__(self, access: Access, store: TokenStore, clock: Callable[[], float]) -> None:
        self.access = access
        self._store = store
        self._clock = clock

    def token(self, name: str, *scopes: str, lifetime: float | None = None) -> str:
        now = self._clock()
        expires = None if lifetime is None else now + lifetime
        return add_token(self._store, name, *scopes, now=now, expires=expires)

    def headers(self, name: str, *scopes: str, lifetime: float | None = None) -> dict[str, str]:
        """Those of a request with a new token."""
        return {"Authorization": basic(self.token(name, *scopes, lifetime=lifetime))}

    def revoke(self, name: str) -> None:
        ids = [each.id for each in self._store.all() if each.name == name]
        self._store.revoke(ids, self._clock())


@asynccontextmanager
async def token_access(
    folder: Path,
    *,
    more: Sequence[Authenticator] = (),
    anonymous: Sequence[str] = (),
    grants: GrantTable | None = None,
    clock: Callable[[], float] = time.time,
    **options: Any,
) -> AsyncIterator[TokenRig]:
    """``options`` as for ``Access``. ``folder`` gets the file of the tokens."""
    path = folder / "tokens.sqlite"
    tokens, others = Tokens(TokenStore(path), clock), TokenStore(path)
    access = Access(
        [tokens, *more],
        grants or GrantTable(),
        anonymous=map(parse_grant, anonymous),
        clock=clock,
        **options,
    )
    async with access.watching():
        yield TokenRig(access, others, clock)
    others.close()
    await tokens.close()
