"""The gate of an application: the access rules in force, and the caller behind a request."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from proxy.access import (
    Access,
    Caller,
    FrontProxies,
    certificate_end,
    certificate_name,
    group_names,
    is_person,
)
from proxy.events import AnswerServed, RequestKind
from proxy.model import ProjectName
from proxy.runtime import BoundedDict
from proxy.web.fast_path import is_plain
from proxy.web.response_cache import MAX_REQUEST, Cacheable, CachedResponse

AUTHORIZATION = b"\r\nAuthorization: "
"""As pip and uv spell the header; requests with another spelling are parsed."""
ANY_SPELLING = b"\r\nauthorization"
OPEN_PATHS = ("/healthz", "/readyz")
"""The paths that need no credentials, below the prefix too."""
EXCHANGE, DISCOVERY = "/_/oidc/", "/.well-known/pytp/"
"""The start of addresses of trusted publishing, whose requests have no credentials in the
header."""
MAX_HEADER_BLOCKS = 256
"""Header lines of different clients, at most ``MAX_REQUEST`` bytes each, that are remembered."""
FORWARDED = "X-Forwarded-For"
_NO_MARK = Cacheable("", ProjectName(""), None, 0)


class Gate:
    """The access rules in force, which can be replaced, and the answer to requests without any
    credentials."""

    def __init__(self, access: Access, prefix: str = "") -> None:
        self.access = access
        self.open_paths = frozenset(base + each for base in ("", prefix) for each in OPEN_PATHS)
        self._exchange = tuple(b + each for b in {"", prefix} for each in (EXCHANGE, DISCOVERY))
        self._open = frozenset(
            f"{method} {each} HTTP/1.1".encode()
            for method in ("GET", "HEAD")
            for each in self.open_paths
        )
        self._open_starts = tuple(
            f"{method} {each}".encode() for method in ("GET", "HEAD") for each in self._exchange
        )
        self._without_credentials: BoundedDict[bytes, Access] = BoundedDict(MAX_HEADER_BLOCKS)
        """All header lines of plain requests that have no credentials, by these rules."""
        self._challenges: dict[str, CachedResponse] = {}

    async def identify(self, request: web.Request) -> Caller:
        """Raises ``NotAuthenticated``, ``TooManyFailures`` and ``HTTPBadRequest``."""
        access, given = self.access, request.headers.getall("Authorization", ())
        if access.front and (caller := _named_by_proxy(access, access.front, request)):
            return caller
        if len(given) > 1:
            raise web.HTTPBadRequest(reason="one Authorization header is allowed")
        if given:
            return await access.authenticate(given[0], client_address(access, request))
        return certified(access, request.transport) or access.anonymous

    def is_open(self, request: web.Request) -> bool:
        """Whether the request is answered without authentication."""
        if request.path.startswith(self._exchange):
            return True  # clients may add what they have for this host in a netrc file
        return request.path in self.open_paths and "Authorization" not in request.headers

    def challenge(self, request: bytes) -> CachedResponse | None:
        """The answer to a plain request without credentials, if all requests need some."""
        line, _, headers = request.partition(b"\r\n")
        if line in self._open or b"\n" in line or not line.endswith(b" HTTP/1.1"):
            return None
        if len(request) > MAX_REQUEST or line.startswith(self._open_starts):
            return None
        if self._without_credentials.get(headers) is not self.access:
            if not self._is_without_credentials(request):
                return None
            self._without_credentials[headers] = self.access
        if line.startswith(b"GET /"):
            return self._challenges.get("GET")
        return self._challenges.get("HEAD") if line.startswith(b"HEAD /") else None

    def _is_without_credentials(self, request: bytes) -> bool:
        lower, front = request.lower(), self.access.front
        return (
            is_plain(request)
            and ANY_SPELLING not in lower
            and not (front and is_marked(front, lower))
        )

    def keep_challenge(self, response: web.Response, served: AnswerServed) -> None:
        """Repeat this answer: it is the same for every request without credentials."""
        if served.method in ("GET", "HEAD") and served.method not in self._challenges:
            event = AnswerServed(
                client="-", method=served.method, path="-", kind=RequestKind.OTHER, status=401
            )
            self._challenges[served.method] = CachedResponse(response, _NO_MARK, event)


def client_address(access: Access, request: web.Request) -> str:
    """The address of the client, behind trusted proxies; empty if a proxy does not name it."""
    peer = peer_of(request.transport)
    if access.front is None or not access.front.trusts(peer):
        return peer
    found = access.front.client_of(peer, request.headers.getall(FORWARDED, ()))
    return "" if found == peer else found


def peer_of(transport: Any) -> str:
    """The address of the other end of a connection; empty if unknown."""
    peer = transport.get_extra_info("peername") if transport else None
    return str(peer[0]) if isinstance(peer, tuple) else ""


def certified(access: Access, transport: Any) -> Caller | None:
    """The caller that the certificate of a TLS connection names."""
    if access.certificates is None or transport is None:
        return None
    certificate = transport.get_extra_info("peercert")
    name = certificate_name(certificate, access.certificates) if certificate else None
    if name is None or not is_person(name):
        return None
    return access.person(name, "certificate", until=certificate_end(certificate))


def is_marked(front: FrontProxies, request: bytes) -> bool:
    """Whether a request in lower case has a header by which proxies in front name users."""
    return any(each in request for each in front.markers)


def _named_by_proxy(access: Access, front: FrontProxies, request: web.Request) -> Caller | None:
    """The caller that a trusted proxy names. Raises ``HTTPBadRequest``.

    From other peers the header is refused and not ignored: it shows that the server can be
    reached past the proxy.
    """
    if not any(each in request.headers for each in front.headers):
        return None
    if not front.trusts(peer_of(request.transport)):
        raise web.HTTPBadRequest(reason="a header of the request is for trusted proxies alone")
    names, groups = (
        request.headers.getall(each, ()) if each else ()
        for each in (front.user_header, front.groups_header)
    )
    if len(names) > 1 or len(groups) > 1:
        raise web.HTTPBadRequest(reason="a header for one user has several values")
    if not names or not names[0]:
        return None
    if not is_person(names[0]):
        raise web.HTTPBadRequest(reason="the user of the request has no usable name")
    return access.person(names[0], "proxy", group_names(groups[0]) if groups else ())
