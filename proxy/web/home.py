"""The page for people at ``/``, and the two addresses that monitors ask."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from urllib.parse import urlsplit

from aiohttp import web

from proxy import __version__
from proxy.web.errors import plain

_PAGE = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Waystation</title>
    <style>
      body {{ font: 1rem/1.6 system-ui, sans-serif; color: #1c2733; background: #f7f8fa;
             max-width: 44rem; margin: 3rem auto; padding: 0 1.25rem; }}
      h1 {{ margin-bottom: 0; }} h2 {{ font-size: 1.05rem; margin-top: 2rem; }}
      p.lead {{ color: #55636f; margin-top: .25rem; }}
      pre {{ background: #fff; border: 1px solid #d9dee4; border-radius: 6px;
            padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }}
      a {{ color: #0b5cad; }} footer {{ color: #55636f; font-size: .85rem; margin-top: 3rem; }}
      @media (prefers-color-scheme: dark) {{
        body {{ color: #dde4ea; background: #14191f; }} pre {{ background: #1c232b;
        border-color: #313b46; }} a {{ color: #7db9f5; }}
        p.lead, footer {{ color: #98a5b1; }} }}
    </style>
  </head>
  <body>
    <h1>Waystation</h1>
    <p class="lead">A package index for pip, uv and every other Python installer.</p>
    <h2>pip</h2>
    <pre>pip install --index-url {url} NAME</pre>
    <h2>uv</h2>
    <pre>uv pip install --index-url {url} NAME</pre>
    <h2>For good</h2>
    <pre>export PIP_INDEX_URL={url}
export UV_DEFAULT_INDEX={url}</pre>
    <p>Give installers this one address and no further index: private projects are answered
    from here first, and nothing public can stand in for them.</p>
    <p><a href="simple/">All projects known here</a></p>
    <footer>waystation {version}</footer>
  </body>
</html>
"""
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII
)
"""What may be shown of a request's authority: a name or address, and a port."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Home:
    def __init__(
        self, index_url: Callable[[], str], ready: Callable[[], bool], *, fixed: bool
    ) -> None:
        """``index_url``: the address that is shown; not ``fixed``, only if a request has none."""
        self._index_url = index_url
        self._ready = ready
        self._fixed = fixed

    async def page(self, request: web.Request) -> web.Response:
        """No cache may store an address that a client's ``Host`` chose and show it to others."""
        asked = None if self._fixed else _address(request)
        text = _PAGE.format(url=escape(asked or self._index_url()), version=__version__)
        headers = _HEADERS | {"Cache-Control": "max-age=300" if self._fixed else "no-store"}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def alive(self, request: web.Request) -> web.Response:
        """The event loop answers; depends on nothing."""
        return plain(200, "alive")

    async def ready(self, request: web.Request) -> web.Response:
        """Started, and not about to stop."""
        return plain(200, "ready") if self._ready() else plain(503, "not ready")


def _address(request: web.Request) -> str | None:
    """The index at the address by which the client came; None if that has an odd form.

    The authority of an absolute target counts, else ``Host`` (RFC 9112 section 3.2.2).
    """
    target = request.raw_path
    host = request.headers.get("Host", "") if target.startswith("/") else urlsplit(target).netloc
    return f"{request.scheme}://{host}{request.path}simple/" if _HOST.fullmatch(host) else None
