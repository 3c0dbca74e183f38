"""The fast path where access is controlled: responses are found by rights, not by credentials.

A request is looked up without its credentials and with the class of its rights, so principals
with equal rights share responses, and no response reaches a principal with other rights.
"""

from __future__ import annotations

from typing import Any

from proxy.access import Caller
from proxy.web.fast_path import FastProtocol, OnHit, is_plain
from proxy.web.gate import ANY_SPELLING, AUTHORIZATION, Gate
from proxy.web.response_cache import CachedResponse, ResponseCache

_VALUE = len(AUTHORIZATION)


class GatedProtocol(FastProtocol):
    """Finds the identity of a request before looking in the response cache."""

    __slots__ = ("_find_response", "_gate")

    def __init__(
        self, gate: Gate, cache: ResponseCache, on_hit: OnHit, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(cache, on_hit, *arguments, **options)
        self._gate = gate
        self._find_response = cache.find
        self._find = self._find_allowed

    def _find_allowed(self, request: bytes, now: float) -> CachedResponse | None:
        access = self._gate.access
        start = request.find(AUTHORIZATION)
        if start < 0:
            identity = access.anonymous
            if not identity.rights.grants:
                self._principal = None
                return self._gate.challenge(request) if is_plain(request) else None
            key = identity.rights.tag + request
        else:
            end = request.find(b"\r\n", start + _VALUE)
            known = access.known(request[start + _VALUE : end], now)
            if known is None:
                return None
            identity = known
            key = b"".join((identity.rights.tag, request[:start], request[end:]))
        self._principal = identity.label
        return self._find_response(key, now)


def cache_key(request: bytes | None, identity: Caller) -> bytes | None:
    """Under which the answer may be kept: the rights class, and the request without credentials.

    None where the credentials are spelled otherwise than usual.
    """
    if request is None:
        return None
    if identity.principal is None:
        return None if ANY_SPELLING in request.lower() else identity.rights.tag + request
    start = request.find(AUTHORIZATION)
    if start < 0:
        return None
    end = request.index(b"\r\n", start + 2)
    return b"".join((identity.rights.tag, request[:start], request[end:]))
