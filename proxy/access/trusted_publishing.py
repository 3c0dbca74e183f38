"""Trusted publishing: short-lived upload tokens in exchange for identity tokens of CI.

The publishers are the rules of issuers that grant a right to upload. A minted token is bound to the
rules that its identity token matches, as they are when it is used, and to nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, ParamSpec, TypeVar

from proxy.access.authenticator import Presented, ProvenIdentity
from proxy.access.identity_tokens import (
    LEEWAY,
    MAX_TOKEN,
    IdentityTokens,
    InvalidIdentity,
    claim_text,
    shown_text,
    unverified_issuer,
)
from proxy.access.minted_tokens import MintedToken, MintedTokens
from proxy.access.principals import Principal
from proxy.access.rights import ANY, Grant, Scope
from proxy.access.shared_tokens import SharedMinted
from proxy.access.tokens import MINTED_PREFIX, has_token_form, new_token, token_digest
from proxy.errors import ConfigurationError, DirectoryUnavailable, ProxyError

log = logging.getLogger(__name__)

LIFE = 900
"""Seconds for which a minted token is valid; PEP 807 demands 15 minutes to 6 hours."""
PARALLEL_CALLS = 2
"""Threads that wait for the store at a time: one that hangs does not get all threads."""
P = ParamSpec("P")
T = TypeVar("T")
SHOWN_CLAIMS = (
    *("repository", "project_path", "repository_id", "project_id", "ref", "ref_protected"),
    *("environment", "run_id", "job_id", "workflow_ref", "ci_config_ref_uri"),
)
"""Claims of GitHub and GitLab that say which job it is, for logs, audit and refusals."""


class MintRefused(ProxyError):
    """No token is minted. ``code`` as PyPI has them; the message is for the user of the client."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code


class UploadToken(NamedTuple):
    """A new token."""

    secret: str
    expires: int
    """Unix time in seconds."""
    principal: Principal


class TrustedPublishing:
    """Mints tokens, and authenticates them."""

    kind = "oidc"

    def __init__(
        self,
        issuers: Sequence[IdentityTokens],
        minted: MintedTokens | SharedMinted,
        accepting: Collection[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``accepting``: the names of the indexes that take uploads. Issuers of which no rule
        grants a right to upload there do not count; the others have one audience.
        """
        self._accepting = frozenset(accepting)
        self._issuers = {each.issuer: each for each in issuers if self._covered(each.rights)}
        self._minted = minted
        self._clock = clock
        self._calls = asyncio.Semaphore(PARALLEL_CALLS)

    @property
    def audience(self) -> str | None:
        """The audience of identity tokens; None without publishers."""
        return next((each.audience for each in self._issuers.values()), None)

    def covers(self, indexes: Collection[str]) -> bool:
        """Whether there is a publisher for one of these indexes."""
        granted = (grant for each in self._issuers.values() for grant in _uploads(each.rights))
        return any(grant.index in (ANY, *indexes) for grant in granted)

    async def mint(self, token: str) -> UploadToken:
        """A new token for a valid identity token. Raises ``MintRefused``.

        Raises ``ConfigurationError`` if it cannot be stored.
        """
        named = unverified_issuer(token) if len(token) <= MAX_TOKEN else None
        issuer = self._issuers.get(named or "")
        if issuer is None:
            raise MintRefused("invalid-token", "it is no identity token of a known issuer")
        try:
            claims = await issuer.claims_of(token)
        except InvalidIdentity as error:
            raise MintRefused("invalid-token", f"the identity token is refused: {error}") from None
        if not _uploads(issuer.grants_of(claims)):
            raise MintRefused("invalid-publisher", _no_publisher(claims))
        now, secret = self._clock(), new_token(MINTED_PREFIX)
        expires = math.ceil(now) + LIFE
        row = MintedToken(
            token_digest(secret), issuer.issuer, _unique(token, claims), claims, expires
        )
        until = float(claims["exp"]) + 2 * LEEWAY
        if not await self._call(self._minted.add, row, until, now):
            raise MintRefused("invalid-token", "the identity token was used before: get a new one")
        return UploadToken(secret, expires, _principal(issuer, claims))

    async def burn(self, secret: str) -> None:
        """End a minted token; any other text has no effect. Raises ``ConfigurationError``."""
        if has_token_form(secret, MINTED_PREFIX):
            await self._call(self._minted.burn, token_digest(secret), self._clock())

    def owns(self, presented: Presented) -> bool:
        return has_token_form(presented.token, MINTED_PREFIX)

    async def verify(self, presented: Presented) -> ProvenIdentity | None:
        if not self.owns(presented):
            return None
        digest = token_digest(presented.token)
        try:
            found = await self._call(self._minted.find, digest, self._clock())
        except ConfigurationError as error:
            log.error("tokens that were minted cannot be read: %s", error)
            raise DirectoryUnavailable from None
        issuer = self._issuers.get(found.issuer) if found else None
        if found is None or issuer is None:
            return None
        grants = _uploads(issuer.grants_of(found.claims))
        principal = _principal(issuer, found.claims)
        return ProvenIdentity(principal, grants, found.expires, is_limited=True)

    async def refresh(self) -> bool:
        return False

    def confirms(self, verified: ProvenIdentity) -> bool:
        return False  # looked up again: a token that any process has burned is refused at once

    async def close(self) -> None:
        await asyncio.to_thread(self._minted.close)

    async def _call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._calls:
            return await asyncio.to_thread(work, *args, **kwargs)

    def _covered(self, grants: Collection[Grant]) -> bool:
        return any(grant.index in (ANY, *self._accepting) for grant in _uploads(grants))


def _uploads(grants: Collection[Grant] | None) -> frozenset[Grant]:
    return frozenset(each for each in grants or () if each.scope is Scope.UPLOAD)


def _principal(issuer: IdentityTokens, claims: Mapping[str, Any]) -> Principal:
    return issuer.principal_of(claims, _described(claims))


def _described(claims: Mapping[str, Any]) -> str:
    """The claims by which people know a job."""
    known = {name: claim_text(claims.get(name)) for name in SHOWN_CLAIMS}
    found = ",".join(f"{name}={text}" for name, text in known.items() if text)
    return shown_text(found or f"sub={claims['sub']}")


def _no_publisher(claims: Mapping[str, Any]) -> str:
    job = _described(claims)
    return f"the identity token is valid, but no rule of this server lets this job upload: {job}"


def _unique(token: str, claims: Mapping[str, Any]) -> bytes:
    """A value that no other token of the issuer has: ``jti``, else the whole signed text.

    The same text may have several valid signatures, so these do not count.
    """
    given = claim_text(claims.get("jti"))
    unique = f"jti {given}" if given else token.rpartition(".")[0]
    return sha256(unique.encode("utf-8", "surrogatepass")).digest()
