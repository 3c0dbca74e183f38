"""The keys of an issuer of identity tokens (OpenID Connect Discovery), fetched and kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from proxy.errors import UpstreamError
from proxy.runtime import SingleFlight

if TYPE_CHECKING:
    from jwt import PyJWK

log = logging.getLogger(__name__)

FetchDocument = Callable[[str], Awaitable[tuple[bytes, float | None]]]
"""Gets a document and the seconds for which it is fresh. Raises ``UpstreamError``."""
MIN_FRESH, MAX_FRESH = 300.0, 86_400.0
"""Seconds for which keys are not fetched again, whatever the issuer says."""
MAX_STALE = 86_400.0
"""Seconds for which former keys stay usable while the issuer does not answer."""
MIN_INTERVAL = 60.0
"""Seconds between two requests for the keys: tokens with unknown keys cause no more."""


class IssuerKeys:
    def __init__(
        self,
        issuer: str,
        fetch: FetchDocument,
        key_hosts: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``key_hosts``: hosts that may have the keys, besides that of the issuer."""
        self._issuer = issuer
        self._fetch = fetch
        self._hosts = {urlsplit(issuer).netloc.lower(), *map(str.lower, key_hosts)}
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._fetched = 0.0
        self._fresh_until = 0.0
        self._tried = 0.0
        self._flights: SingleFlight[None, None] = SingleFlight()

    async def find(self, key_id: str) -> PyJWK | None:
        """The key of that id; None if the issuer has none, or does not answer."""
        now = self._clock()
        is_due = now >= self._fresh_until or key_id not in self._keys
        if is_due and not self._tried <= now < self._tried + MIN_INTERVAL:
            await self._flights.do(None, self._renew)
        if self._clock() >= self._fetched + MAX_FRESH + MAX_STALE:
            return None
        return self._keys.get(key_id)

    async def close(self) -> None:
        await self._flights.close()

    async def _renew(self) -> None:
        self._tried = self._clock()
        try:
            keys, fresh = await self._read()
        except UpstreamError as error:
            log.warning("the keys of %s cannot be fetched: %s", self._issuer, error.reason)
            return
        self._keys, self._fetched = keys, self._clock()
        self._fresh_until = self._fetched + min(max(fresh or 0.0, MIN_FRESH), MAX_FRESH)

    async def _read(self) -> tuple[dict[str, PyJWK], float | None]:
        address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        described = _object(self._issuer, (await self._fetch(address))[0])
        if described.get("issuer") != self._issuer:
            raise UpstreamError(self._issuer, "it describes another issuer")
        where = described.get("jwks_uri")
        if not isinstance(where, str) or urlsplit(where).netloc.lower() not in self._hosts:
            raise UpstreamError(self._issuer, "its keys are on a host that is not in key_hosts")
        body, fresh = await self._fetch(where)
        return _key_set(self._issuer, _object(self._issuer, body)), fresh


def _object(issuer: str, body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise UpstreamError(issuer, "its answer is no JSON object") from None


def _key_set(issuer: str, document: dict[str, Any]) -> dict[str, PyJWK]:
    """Keys by their id; keys of kinds that the library does not know are left out."""
    from jwt import PyJWKSet
    from jwt.exceptions import PyJWTError

    try:
        found = PyJWKSet.from_dict(document)
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        raise UpstreamError(issuer, "it has no keys that can be used") from None
    return {key.key_id: key for key in found.keys if isinstance(key.key_id, str)}
