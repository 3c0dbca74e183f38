"""``/-/tokens``: a person makes, sees and revokes tokens of their own.

A token gets rights that the person has, by choice from these alone, and always ends. Its name
begins with that of the person; a name to which the settings give further rights is refused.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

from aiohttp import web

from proxy.access import (
    Principal,
    SharedTokens,
    Token,
    TokenStore,
    check_member,
    new_token,
    token_digest,
)
from proxy.errors import ConfigurationError, NoRight, NotAuthenticated
from proxy.face.shell import Place, Shell, read_fields, see_other
from proxy.face.snippets import Address
from proxy.web import GATE, REQUEST_STATE

log = logging.getLogger(__name__)

DAY = 86400.0
LIFETIMES = {"7": "7 days", "30": "30 days", "90": "90 days"}
MAX_TOKENS = 50
"""Valid ones of a person."""
MACHINES = ("token", "oidc")
"""Kinds of principals that make no tokens: a stolen token must not prolong itself."""
ABILITIES = {
    "read": "install packages",
    "upload": "publish packages",
    "refresh": "have pages asked for again",
    "admin": "administer this server",
    "audit": "see which clients received which files",
    "metrics": "see figures of this server",
}
"""The actions that the rights allow a token."""
_TOKEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


class TokensPage:
    def __init__(
        self,
        shell: Shell,
        open_store: Callable[[], TokenStore | SharedTokens] | None,
        longest: float | None,
    ) -> None:
        """``open_store``: None without access control. ``longest``: a lifetime in seconds."""
        self._shell = shell
        self._open = open_store
        self._longest = longest
        self._store: TokenStore | SharedTokens | None = None

    async def page(self, place: Place) -> web.Response:
        return await self._show(place, self._person(place))

    async def create(self, place: Place) -> web.Response:
        """The answer to the form; the token is in this answer, and never in another."""
        person, form = self._person(place), await read_fields(place.request)
        name = str(form.get("name", "")).strip()
        chosen = sorted({str(each) for each in form.getall("scope", [])})
        days = str(form.get("days", ""))
        if problem := self._problem(place, person, name, chosen, days):
            return await self._show(place, person, problem=problem, name=name)
        secret, now = new_token(), self._shell.around.clock()
        digest = token_digest(secret)
        token = Token(
            digest.hex()[:8],
            digest,
            f"{person.name}/{name}",
            person.name,
            " ".join(chosen),
            now,
            now + int(days) * DAY,
        )
        try:
            await self._add(person, token)
        except ConfigurationError as error:
            return await self._show(place, person, problem=str(error), name=name)
        log.info(
            "%s has made the token %s, %s, that may %s",
            person.name,
            token.id,
            token.name,
            token.scopes,
        )
        return await self._show(place, person, secret=secret)

    async def revoke(self, place: Place) -> web.Response:
        person = self._person(place)
        form = await read_fields(place.request)
        wanted = str(form.get("id", ""))
        own = [each.id for each in await self._own(person) if each.id == wanted]
        if own:
            store = self._opened()
            await asyncio.to_thread(store.revoke, own, self._shell.around.clock())
            log.info("%s has revoked the token %s", person.name, wanted)
        return see_other(place.link("-/tokens"))

    async def close(self) -> None:
        if self._store:
            await asyncio.to_thread(self._store.close)

    def _person(self, place: Place) -> Principal:
        """Raises ``HTTPNotFound`` without access control, else as ``require``."""
        state = place.request[REQUEST_STATE]
        if self._open is None or state.rights is None:
            raise web.HTTPNotFound
        if state.principal is None:
            raise NotAuthenticated
        if state.principal.kind in MACHINES:
            raise NoRight("make tokens with a token: log in as a person")
        person: Principal = state.principal
        return person

    def _problem(
        self, place: Place, person: Principal, name: str, chosen: list[str], days: str
    ) -> str:
        """The problem of the form; empty without one."""
        rights = place.request[REQUEST_STATE].rights
        own = {str(grant) for grant in rights.grants} if rights else set()
        if not _TOKEN_NAME.match(name):
            return "The name needs letters, digits, “.”, “_” or “-”, at most 63."
        if not chosen or not set(chosen) <= own:
            return "Choose at least one right, of those that you have."
        if days not in LIFETIMES or (self._longest and int(days) * DAY > self._longest):
            return "Choose how long the token is valid."
        full = f"token:{person.name}/{name}"
        try:
            check_member(full)
        except ValueError as error:
            return f"{error}"
        by_name = place.request.app[GATE].access.person(full, "token").rights.grants
        if not {str(grant) for grant in by_name} <= own:
            return "The settings give further rights to a token of that name: choose another."
        return ""

    async def _add(self, person: Principal, token: Token) -> None:
        if len(await self._own(person)) >= MAX_TOKENS:
            problem = f"you have {MAX_TOKENS} valid tokens"
            raise ConfigurationError("tokens", problem, "revoke some of them")
        await asyncio.to_thread(self._opened().add, token)

    async def _own(self, person: Principal) -> list[Token]:
        """The valid tokens of the person, the newest first."""
        now, prefix = self._shell.around.clock(), f"{person.name}/"
        found = await asyncio.to_thread(lambda: self._opened().all())
        return [
            each
            for each in reversed(found)
            if each.owner == person.name and each.name.startswith(prefix) and each.is_valid(now)
        ]

    def _opened(self) -> TokenStore | SharedTokens:
        assert self._open
        self._store = self._store or self._open()
        return self._store

    async def _show(self, place: Place, person: Principal, **values: Any) -> web.Response:
        rights = place.request[REQUEST_STATE].rights
        at = Address(self._shell.index_address(place))
        longest = self._longest or float("inf")
        shown: dict[str, Any] = {"secret": "", "problem": "", "name": ""} | values
        response = self._shell.page(
            place,
            "tokens.html",
            private=True,
            section="tokens",
            person=person.name,
            tokens=await self._own(person),
            notes_uses=self._opened().notes_uses,
            abilities=ABILITIES,
            grants=sorted(map(str, rights.grants)) if rights else [],
            lifetimes=[each for each in LIFETIMES.items() if int(each[0]) * DAY <= longest],
            host=at.host,
            authority=at.authority,
            **shown,
        )
        response.headers["Cache-Control"] = "no-store"
        return response
