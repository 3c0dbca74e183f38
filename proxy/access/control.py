"""Access: from credentials to an caller with rights, through a cache of what was verified."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self

import msgspec

from proxy.access.authenticator import Authenticator, Presented, ProvenIdentity, parse_authorization
from proxy.access.connection_names import CertificateName, FrontProxies
from proxy.access.failures import FailureLimits
from proxy.access.principals import GrantTable, Principal
from proxy.access.rights import Grant, Rights
from proxy.errors import DirectoryUnavailable, NotAuthenticated, TooManyFailures
from proxy.events import CredentialsChecked, Observer
from proxy.runtime import BoundedDict, SingleFlight, end_tasks

if TYPE_CHECKING:
    from proxy.access.trusted_publishing import TrustedPublishing

log = logging.getLogger(__name__)

LOOK_OUTSIDE = 0.5
"""Seconds between two looks at what other processes have changed, such as a revoked token."""
REFUSED = 10.0
"""Seconds for which wrong credentials are not verified again."""
BY_PASSWORD = ("password", "ldap")
"""Kinds of authenticators that get a user name and a password."""
MAX_KNOWN = 10_000
"""ProvenIdentity credentials that are known at a time, and as many wrong ones."""


class Caller(msgspec.Struct, frozen=True):
    """The principal of a request, and its rights."""

    principal: Principal | None
    """None: there were no credentials."""
    rights: Rights
    until: float = math.inf
    """Unix time in seconds until which it may be used without a further check."""
    verified: ProvenIdentity | None = None
    source: Authenticator | None = None

    label: str | None = None
    """The name of the principal for logs and audit."""

    @classmethod
    def of(cls, principal: Principal, rights: Rights, until: float = math.inf, **more: Any) -> Self:
        return cls(principal, rights, until, label=principal.label, **more)


class Access:
    """Knows identities by a digest of their credentials, which it never keeps themselves."""

    def __init__(
        self,
        authenticators: Sequence[Authenticator],
        grants: GrantTable,
        *,
        anonymous: Iterable[Grant] = (),
        hide_names: bool = True,
        front: FrontProxies | None = None,
        certificates: CertificateName | None = None,
        limits: FailureLimits | None = None,
        clock: Callable[[], float] = time.time,
        events: Observer = lambda event: None,
        publishing: TrustedPublishing | None = None,
    ) -> None:
        """``anonymous``: the rights of requests without credentials. ``hide_names``: projects
        that a principal may not read look as if they did not exist. ``front``: trusted proxies.
        ``certificates``: which name of a client's certificate is that of the principal.
        ``publishing`` mints upload tokens; it is one of ``authenticators``, too.
        """
        self.anonymous = Caller(None, Rights(anonymous))
        self.hide_names = hide_names
        self.front = front
        self.certificates = certificates
        self.publishing = publishing
        self._authenticators = tuple(authenticators)
        self._grants = grants
        self._limits = limits or FailureLimits(clock)
        self._clock = clock
        self._events = events
        self.generation = 0
        """Grows whenever a caller that was known is not any more."""
        self._salt = secrets.token_bytes(16)
        self._known: BoundedDict[bytes, Caller] = BoundedDict(MAX_KNOWN)
        self._wrong: BoundedDict[bytes, float] = BoundedDict(MAX_KNOWN)
        self._checks: SingleFlight[bytes, Caller | None] = SingleFlight()

    def known(self, value: bytes, now: float) -> Caller | None:
        """The caller that a header value has proved already; fast, without I/O."""
        found = self._known.get(self._digest(value))
        return found if found is not None and now < found.until else None

    async def authenticate(self, value: str, address: str = "") -> Caller:
        """The caller behind the value of ``Authorization``, sent from that address.

        Raises ``NotAuthenticated``, ``TooManyFailures`` and ``DirectoryUnavailable``.
        """
        encoded, now = value.encode("utf-8", "surrogateescape"), self._clock()
        if found := self.known(encoded, now):
            return found
        presented = parse_authorization(value)
        chosen = self._chosen(presented)
        is_token = any(each.kind not in BY_PASSWORD for each in chosen)
        if presented and not presented.secret and not is_token:
            raise NotAuthenticated  # as clients ask first that know a user name alone: no failure
        # All tokens come with one user name by custom, which has no failures of its own.
        user = "" if presented is None or is_token else presented.user
        digest = self._digest(encoded)
        # Others at the address of a client that fails must not suffer: a token cannot be guessed,
        # and what has been right before is no guess.
        if not is_token and digest not in self._known:
            self._refuse_limited(address, user)
        caller = await self._check(digest, presented, chosen, now)
        if caller is None:
            self.note_failure(address, user)
            raise NotAuthenticated
        self._limits.succeeded(address, user)
        return caller

    def _digest(self, value: bytes) -> bytes:
        """Of a header value: differs between processes, and is no way back to the secret."""
        return blake2b(self._salt + value, digest_size=16).digest()

    def note_failure(self, address: str, user: str = "") -> None:
        """Count wrong credentials. Raises ``TooManyFailures`` where there were too many before."""
        self._refuse_limited(address, user)
        self._limits.failed(address, user)
        self._announce("wrong")

    def _refuse_limited(self, address: str, user: str) -> None:
        """Raises ``TooManyFailures``."""
        if seconds := self._limits.wait(address, user):
            self._announce("limited")
            raise TooManyFailures(seconds)

    def person(
        self, name: str, kind: str, groups: Iterable[str] = (), until: float = math.inf
    ) -> Caller:
        """The caller of a person whom a proxy in front or a certificate has named."""
        principal = Principal(name, kind, frozenset(groups))
        return Caller.of(principal, self._grants.rights_of(principal), until)

    def groups_of(self, principal: Principal) -> frozenset[str]:
        return self._grants.groups_of(principal)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """While entered, what changes outside takes effect within a second."""
        for each in self._authenticators:
            await each.refresh()
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            await end_tasks(task)
            await self._checks.drained()  # requests wait for them

    async def refresh(self) -> None:
        """Look at what has changed outside, and forget what is not confirmed any more."""
        changed = [await each.refresh() for each in self._authenticators]
        if not any(changed):
            return
        self._wrong.clear()
        self.generation += 1
        for digest, caller in list(self._known.items()):
            if not _is_confirmed(caller):
                self._known.pop(digest, None)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_OUTSIDE)
            try:
                await self.refresh()
            except Exception:
                log.exception("changes of credentials cannot be read")

    async def _check(
        self,
        digest: bytes,
        presented: Presented | None,
        chosen: Sequence[Authenticator],
        now: float,
    ) -> Caller | None:
        if presented is None or now < self._wrong.get(digest, 0.0):
            return None
        # Copies of a request that come together are verified once.
        caller = await self._checks.do(digest, lambda: self._verify(presented, chosen))
        if caller is None:
            self._known.pop(digest, None)
            self._wrong[digest] = now + REFUSED
        elif _is_confirmed(caller):
            self._known[digest] = caller
        return caller

    def _chosen(self, presented: Presented | None) -> Sequence[Authenticator]:
        """Those that may see the credentials: a token is no business of a directory."""
        if presented is None:
            return ()
        owners = [each for each in self._authenticators if each.owns(presented)]
        return owners or [each for each in self._authenticators if each.kind in BY_PASSWORD]

    async def _verify(self, presented: Presented, chosen: Sequence[Authenticator]) -> Caller | None:
        unavailable: DirectoryUnavailable | None = None
        for each in chosen:
            try:
                verified = await each.verify(presented)
            except DirectoryUnavailable as error:
                unavailable = error
                continue
            if verified:
                self._announce("ok", each.kind)
                rights = self._rights(verified)
                until = min(verified.until, self._clock() + verified.keep)
                return Caller.of(verified.principal, rights, until, verified=verified, source=each)
        if unavailable:
            raise unavailable
        return None

    def _rights(self, verified: ProvenIdentity) -> Rights:
        if verified.is_limited:
            return Rights(verified.grants)
        return self._grants.rights_of(verified.principal, verified.grants)

    def _announce(self, result: str, method: str = "") -> None:
        self._events(CredentialsChecked(method, result))


def _is_confirmed(caller: Caller) -> bool:
    source, verified = caller.source, caller.verified
    return source is None or verified is None or source.confirms(verified)
