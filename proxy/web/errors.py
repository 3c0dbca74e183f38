"""The HTTP status of each error, in one table."""

from __future__ import annotations

from aiohttp import web

from proxy import late_pattern
from proxy.errors import (
    Denied,
    DirectoryUnavailable,
    FileConflict,
    IndexUnavailable,
    NoRight,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    ProxyError,
    StoreUnavailable,
    TooManyFailures,
    UploadRefused,
    UploadTooLarge,
    UpstreamError,
    UpstreamTimeout,
)
from proxy.upstream import TooManyRequests

STATUS_BY_ERROR: dict[type[Exception], int] = {
    NotFound: 404,
    Denied: 403,
    NotAuthenticated: 401,
    TooManyFailures: 429,
    TooManyRequests: 429,
    NoRight: 403,
    DirectoryUnavailable: 503,
    IndexUnavailable: 503,
    StoreUnavailable: 503,
    UpstreamError: 502,
    UpstreamTimeout: 504,
    UploadRefused: 400,
    NotPermitted: 403,
    FileConflict: 409,
    UploadTooLarge: 413,
    ProxyError: 500,
}
RETRY_AFTER = 5
"""Seconds after which a client may try again, if the error names no time."""

CHALLENGE = 'Basic realm="waystation", charset="UTF-8"'
"""The header ``WWW-Authenticate`` (RFC 7617): installers send credentials of no other scheme."""
MAX_PHRASE = 150
"""Bytes of a reason phrase."""
_NOT_PRINTABLE = late_pattern(r"[^\x20-\x7e]+")

INTERNAL_ERROR = "internal error; the log of the server says more"


def status_of(error: ProxyError) -> int:
    """By the most specific class in the table."""
    return next(STATUS_BY_ERROR[kind] for kind in type(error).__mro__ if kind in STATUS_BY_ERROR)


def response_for(error: ProxyError) -> web.Response:
    """A short plain message, never to be stored: uv would keep a 404 for a while."""
    status = status_of(error)
    response = plain(status, str(error))
    if status == 401:
        response.headers["WWW-Authenticate"] = CHALLENGE
    if status == 403:
        response.set_status(status, phrase(str(error)))
    if status in (429, 502, 503, 504):
        seconds = getattr(error, "retry_after", None)
        response.headers["Retry-After"] = str(RETRY_AFTER if seconds is None else seconds)
    return response


def plain(status: int, text: str) -> web.Response:
    headers = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept, Accept-Encoding",
        "Server": "waystation",
    }
    return web.Response(status=status, text=text + "\n", headers=headers)


def phrase(sentence: str) -> str:
    """The sentence as a reason phrase: printable ASCII, of at most ``MAX_PHRASE`` bytes."""
    text = _NOT_PRINTABLE.sub("?", " ".join(sentence.split()))
    return text if len(text) <= MAX_PHRASE else f"{text[: MAX_PHRASE - 3]}..."
