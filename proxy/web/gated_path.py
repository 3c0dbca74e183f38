"""The fast path where access is controlled: responses are found by rights, not by credentials.

A request is looked up without its credentials and with the class of its rights, so principals
with equal rights share responses, and no response reaches a principal with other rights. Where a
proxy in front names the user, the response is found by all bytes of the request, and only on
connections from that proxy.
"""

from __future__ import annotations

from typing import Any

from proxy.access import Access, Caller
from proxy.web.fast_path import FastProtocol, OnHit
from proxy.web.gate import ANY_SPELLING, AUTHORIZATION, Gate, certified, is_marked, peer_of
from proxy.web.response_cache import CachedResponse, ResponseCache

_PROXIED = b"proxied "
"""Begins the keys of requests that a trusted proxy has sent."""
_NAMED_PREFIX = b"named "
"""Begins the keys of those in which it names the user."""


class GatedProtocol(FastProtocol):
    """Finds the caller behind a request before looking in the response cache."""

    __slots__ = (
        *("_access", "_caller", "_find_response", "_gate", "_generation", "_label", "_proxied"),
        *("_tag", "_until", "_value"),
    )

    def __init__(
        self, gate: Gate, cache: ResponseCache, on_hit: OnHit, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(cache, on_hit, *arguments, **options)
        self._gate = gate
        self._find_response = cache.find
        self._find = self._find_allowed
        self._access: Access | None = None
        """The rules by which the next two are known."""
        self._caller: Caller
        """Of requests without credentials on this connection."""
        self._proxied = False
        """Whether the peer is a trusted proxy."""
        self._value = b""
        """The credentials of the last request on this connection, which most clients repeat; the
        others are what is known of them."""
        self._generation = -1
        self._until = 0.0
        self._tag = b""
        self._label: str | None = None

    def _find_allowed(self, request: bytes, now: float) -> CachedResponse | None:
        access = self._gate.access
        if access is not self._access:
            self._look_at_connection(access)
        if self._proxied:
            return self._find_proxied(access, request, now)
        return self._find_by_rights(access, request, now)

    def _find_by_rights(
        self, access: Access, request: bytes, now: float, prefix: bytes = b""
    ) -> CachedResponse | None:
        head, found, rest = request.partition(AUTHORIZATION)
        if not found:
            return self._find_without_credentials(request, now, prefix)
        value, _, tail = rest.partition(b"\r\n")
        if value != self._value or access.generation != self._generation or now >= self._until:
            caller = access.known(value, now)
            if caller is None:
                return None
            self._value, self._generation = value, access.generation
            self._until, self._tag, self._label = caller.until, caller.rights.tag, caller.label
        self._principal = self._label
        return self._find_response(b"".join((prefix, self._tag, head, b"\r\n", tail)), now)

    def _find_without_credentials(
        self, request: bytes, now: float, prefix: bytes
    ) -> CachedResponse | None:
        caller = self._caller
        self._principal = caller.label
        if caller.principal is None and not caller.rights.grants:
            return self._gate.challenge(request)
        if now >= caller.until:
            return None
        return self._find_response(prefix + caller.rights.tag + request, now)

    def _find_proxied(self, access: Access, request: bytes, now: float) -> CachedResponse | None:
        """The address of the client is in the bytes, and perhaps its name."""
        if access.front and is_marked(access.front, request.lower()):
            found = self._find_response(_NAMED_PREFIX + request, now)
            self._principal = found.served.principal if found else None
        else:
            found = self._find_by_rights(access, request, now, _PROXIED)
        self._client = found.served.client if found else "-"
        return found

    def _look_at_connection(self, access: Access) -> None:
        self._access = access
        self._generation = -1
        self._caller = certified(access, self.transport) or access.anonymous
        self._proxied = bool(access.front and access.front.trusts(peer_of(self.transport)))


def cache_key(request: bytes | None, caller: Caller, *, proxied: bool) -> bytes | None:
    """Under which the answer may be kept: the rights class, and the request without credentials.

    ``proxied``: whether a trusted proxy has sent it. None where the credentials are spelled
    otherwise than usual.
    """
    if request is None:
        return None
    if caller.principal and caller.principal.kind == "proxy":
        return _NAMED_PREFIX + request
    prefix = _PROXIED if proxied else b""
    head, found, rest = request.partition(AUTHORIZATION)
    if not found:
        return None if ANY_SPELLING in request.lower() else prefix + caller.rights.tag + request
    _, _, tail = rest.partition(b"\r\n")
    return b"".join((prefix, caller.rights.tag, head, b"\r\n", tail))
