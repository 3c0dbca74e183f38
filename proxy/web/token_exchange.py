"""Trusted publishing over HTTP: from an identity token of CI to an upload token, and back.

``/_/oidc/audience``, ``mint-token`` and ``burn-token`` as PyPI has them, where twine and uv look
for them: at the root of the host. ``/.well-known/pytp/`` is of PEP 807, which is a draft.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from proxy.access import Access, MintRefused, TrustedPublishing
from proxy.errors import ConfigurationError, TooManyFailures
from proxy.web.authentication import GATE
from proxy.web.gate import DISCOVERY, EXCHANGE, client_address
from proxy.web.home import origin_of
from proxy.web.refusals import CONTACT
from proxy.web.request_state import REQUEST_STATE

log = logging.getLogger(__name__)

MAX_BODY = 32 * 1024
"""Bytes; an identity token has 1 to 2 kB."""
MEDIA_TYPE = "application/vnd.pypi.pytp.v1+json"
UPLOAD_TAILS = ("/legacy/", "/legacy", "/", "")
"""Of the addresses at which an index takes uploads."""

UploadIndexes = Callable[[], Mapping[str, Collection[str]]]
"""By the path of each index that takes uploads: the names by which rights to upload know it."""


class TokenRequest(msgspec.Struct):
    """The body of a request to mint or to burn."""

    token: str


class TokenExchange:
    """Needs access control, as its publishers are rules of that."""

    def __init__(self, indexes: UploadIndexes, prefix: str = "") -> None:
        self._indexes = indexes
        self._prefix = prefix

    def routes(self) -> list[web.RouteDef]:
        """At the root, and below the prefix."""
        return [
            route
            for base in dict.fromkeys(("", self._prefix))
            for route in (
                web.get(f"{base}{EXCHANGE}audience", self.audience),
                web.post(f"{base}{EXCHANGE}mint-token", self.mint),
                web.post(f"{base}{EXCHANGE}burn-token", self.burn),
                web.get(f"{base}{DISCOVERY}{{digest}}", self.discover),
            )
        ]

    async def audience(self, request: web.Request) -> web.Response:
        publishing = _publishing(request)
        if publishing is None:
            return _not_enabled()
        return _json(200, {"audience": publishing.audience})

    async def mint(self, request: web.Request) -> web.Response:
        async def minted(publishing: TrustedPublishing, token: str) -> web.Response:
            made = await publishing.mint(token)
            request[REQUEST_STATE].principal = made.principal
            log.info("a token to upload was minted for %s", made.principal.label)
            return _json(200, {"success": True, "token": made.secret, "expires": made.expires})

        return await _exchanging(request, minted)

    async def burn(self, request: web.Request) -> web.Response:
        """202 whether there was such a token or not."""

        async def burned(publishing: TrustedPublishing, token: str) -> web.Response:
            await publishing.burn(token)
            return _json(202, {"success": True})

        return await _exchanging(request, burned)

    async def discover(self, request: web.Request) -> web.Response:
        """The place that mints tokens for an upload address, which the digest of its path names."""
        if not _accepts(request.headers.getall("Accept", ())):
            return _failure(406, "not-acceptable", f"this address has {MEDIA_TYPE} only")
        publishing, root = _publishing(request), _root(request)
        if publishing is None or root is None or not self._has(request, publishing):
            return web.Response(status=404, headers={"Cache-Control": "no-store"})
        found = {
            f"{name}-endpoint": f"{root}{EXCHANGE}{name}" for name in ("audience", "mint-token")
        }
        response = _json(200, found)
        response.headers["Content-Type"] = MEDIA_TYPE
        return response

    def _has(self, request: web.Request, publishing: TrustedPublishing) -> bool:
        """Whether an index with publishers takes uploads at the address that is asked for."""
        digest = request.match_info["digest"].lower()
        bases = dict.fromkeys(("", self._prefix, urlsplit(_root(request) or "").path))
        return any(
            publishing.covers(names) and digest in _keys(base + path)
            for base in bases
            for path, names in self._indexes().items()
        )


def _keys(root: str) -> Iterator[str]:
    """The digests by which PEP 807 knows the upload addresses of an index.

    The example in the PEP was made of the path and a newline, so both are known.
    """
    for tail in UPLOAD_TAILS:
        for end in ("", "\n"):
            yield hashlib.sha256(f"{root}{tail}{end}".encode()).hexdigest()


def _publishing(request: web.Request) -> TrustedPublishing | None:
    """None if there are no publishers."""
    found = request.app[GATE].access.publishing
    return found if found and found.audience else None


async def _exchanging(
    request: web.Request,
    answer: Callable[[TrustedPublishing, str], Awaitable[web.Response]],
) -> web.Response:
    """The answer for the token in the body, or the reason of a refusal, in the words of PyPI."""
    publishing, access = _publishing(request), request.app[GATE].access
    if publishing is None:
        return _not_enabled()
    try:
        return await answer(publishing, await _token(request))
    except MintRefused as error:
        return _refused(request, access, error)
    except ConfigurationError as error:
        log.error("a token cannot be minted or burned: %s", error)
        text = "the tokens cannot be stored now; the log of the server says why"
        return _failure(503, "unavailable", text)


async def _token(request: web.Request) -> str:
    """Raises ``MintRefused``."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MAX_BODY:
            raise MintRefused("invalid-payload", f"the body has more than {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(bytes(body), type=TokenRequest).token
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = 'the body has to be JSON of the form {"token": "…"}'
        raise MintRefused("invalid-payload", text) from None


def _refused(request: web.Request, access: Access, error: MintRefused) -> web.Response:
    """Counts as wrong credentials do."""
    request[REQUEST_STATE].reason = f"{error.code}: {error}"
    try:
        access.note_failure(client_address(access, request))
    except TooManyFailures as limited:
        response = _failure(429, "too-many-failures", str(limited))
        response.headers["Retry-After"] = str(limited.retry_after)
        return response
    return _failure(422, error.code, str(error))


def _not_enabled() -> web.Response:
    text = "this server has no trusted publishers: entries of [access.oidc] that may upload"
    return _failure(404, "not-enabled", text)


def _failure(status: int, code: str, text: str) -> web.Response:
    """twine and uv print these fields."""
    errors = [{"code": code, "description": text}]
    return _json(status, {"message": "Token request failed", "errors": errors})


def _json(status: int, value: object) -> web.Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _root(request: web.Request) -> str | None:
    """The address below which the server can be reached; None if the request shows none."""
    base = request.app[CONTACT].base
    return base() if base else origin_of(request)


def _accepts(values: Collection[str]) -> bool:
    """Whether a client takes the one form that there is; without a header it does."""
    names = {
        each.partition(";")[0].strip().lower() for value in values for each in value.split(",")
    }
    return not values or bool(names & {MEDIA_TYPE, "*/*", "application/*"})
