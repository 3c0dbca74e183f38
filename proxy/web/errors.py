"""Which HTTP status an error is, in one table."""

from __future__ import annotations

from aiohttp import web

from proxy import errors

STATUS: dict[type[Exception], int] = {
    errors.NotFound: 404,
    errors.Denied: 403,
    errors.IndexUnavailable: 503,
    errors.UpstreamError: 502,
    errors.UpstreamTimeout: 504,
    errors.ProxyError: 500,
}
RETRY_AFTER = 5
"""Seconds after which a client may try again where nobody knows better."""

INTERNAL = "internal error; the log of the server says more"


def status_of(error: errors.ProxyError) -> int:
    """By the most specific class in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def response_for(error: errors.ProxyError) -> web.Response:
    """A short plain message; nobody may store it (uv would keep a 404 for a while)."""
    status = status_of(error)
    response = plain(status, str(error))
    if status in (502, 503, 504):
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
