"""The gate of an application: the access rules in force, and the identity of a request."""

from __future__ import annotations

from aiohttp import web

from proxy.access import Access, Caller
from proxy.events import AnswerServed, RequestKind
from proxy.model import ProjectName
from proxy.web.response_cache import Cacheable, CachedResponse

AUTHORIZATION = b"\r\nAuthorization: "
"""As pip and uv spell the header; requests with another spelling are parsed."""
ANY_SPELLING = b"\r\nauthorization"
OPEN_PATHS = ("/healthz", "/readyz")
"""What answers without credentials, below the prefix too."""
_NO_MARK = Cacheable("", ProjectName(""), None, 0)


class Gate:
    """The access rules in force, which can be replaced, and the answer to requests without any
    credentials."""

    def __init__(self, access: Access, prefix: str = "") -> None:
        self.access = access
        self.open_paths = frozenset(base + each for base in ("", prefix) for each in OPEN_PATHS)
        self._open = tuple(f" {each} ".encode() for each in self.open_paths)
        self._challenges: dict[str, CachedResponse] = {}

    async def identify(self, request: web.Request) -> Caller:
        """Raises ``NotAuthenticated`` and ``TooManyFailures``."""
        value = request.headers.get("Authorization")
        if value is None:
            return self.access.anonymous
        return await self.access.authenticate(value, request.remote or "")

    def challenge(self, request: bytes) -> CachedResponse | None:
        """The answer to a plain request without credentials, if all requests need some."""
        if self.access.anonymous.rights.grants or any(each in request[:80] for each in self._open):
            return None
        if ANY_SPELLING in request.lower():
            return None
        return self._challenges.get("HEAD" if request.startswith(b"HEAD") else "GET")

    def keep_challenge(self, response: web.Response, served: AnswerServed) -> None:
        """Repeat this answer: it is the same for every request without credentials."""
        if served.method in ("GET", "HEAD") and served.method not in self._challenges:
            event = AnswerServed(
                client="-", method=served.method, path="-", kind=RequestKind.OTHER, status=401
            )
            self._challenges[served.method] = CachedResponse(response, _NO_MARK, event)
