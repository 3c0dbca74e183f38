"""Pages that show no package: set-up, help, the colours, and the files that pages load."""

from __future__ import annotations

import hashlib
import ssl
from functools import cached_property

from aiohttp import web

from proxy.face.shell import (
    PAGE_HEADERS,
    THEME_COOKIE,
    THEMES,
    Place,
    Shell,
    read_fields,
    see_other,
)
from proxy.face.snippets import TOOLS, Address
from proxy.presentation import assets
from proxy.simple import accepts_gzip
from proxy.web import plain, split_address

YEAR = 31_536_000
"""Seconds."""
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class FixedPages:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def setup(self, place: Place) -> web.Response:
        at = Address(self._shell.index_address(place), place.mount.accepts_uploads)
        tools = {tool.key: tool for tool in (make(at) for make in TOOLS)}
        wanted = place.request.query.get("tool", "")
        return self._shell.page(
            place,
            "setup.html",
            section="setup",
            tool=tools.get(wanted) or tools["pip"],
            choices=[(tool.key, tool.label) for tool in tools.values()],
            certificate=bool(self._certificates),
            fingerprint=self._fingerprint,
            insecure=at.is_insecure,
        )

    async def certificate(self, place: Place) -> web.Response:
        """The certificates alone, whatever else the file has: a private key never leaves it."""
        if not self._certificates:
            raise web.HTTPNotFound
        headers = PAGE_HEADERS | {
            "Cache-Control": "no-cache",
            "Content-Type": "application/x-pem-file",
            "Content-Disposition": 'attachment; filename="waystation.pem"',
        }
        return web.Response(text="\n".join(self._certificates) + "\n", headers=headers)

    async def help(self, place: Place) -> web.Response:
        return self._shell.page(place, "help.html", section="help")

    async def set_theme(self, place: Place) -> web.Response:
        """Set the cookie, and go back to where the form was."""
        form = await read_fields(place.request)
        theme = str(form.get("theme", ""))
        if theme not in THEMES:
            return plain(400, f"theme is one of {', '.join(THEMES)}")
        back = split_address(place.request.headers.get("Referer", ""))
        path = "/" + back.path.lstrip("/\\") + (f"?{back.query}" if back.query else "")
        response = see_other(path if back.path else place.link(""))
        response.set_cookie(
            THEME_COOKIE, theme, max_age=YEAR, path="/", httponly=True, samesite="Lax"
        )
        return response

    async def asset(self, place: Place) -> web.Response:
        found = assets().get(place.request.match_info["asset"])
        if found is None or found.digest != place.request.match_info["hash"]:
            raise web.HTTPNotFound
        packed = accepts_gzip(place.request.headers.get("Accept-Encoding"))
        headers = PAGE_HEADERS | {
            "Cache-Control": f"public, max-age={YEAR}, immutable",
            "Content-Type": found.content_type,
            "Vary": "Accept-Encoding",
            **({"Content-Encoding": "gzip"} if packed else {}),
        }
        return web.Response(body=found.packed if packed else found.body, headers=headers)

    @cached_property
    def _certificates(self) -> list[str]:
        pieces = self._shell.around.certificate.split(_BEGIN)[1:]
        return [f"{_BEGIN}{piece.partition(_END)[0]}{_END}" for piece in pieces if _END in piece]

    @cached_property
    def _fingerprint(self) -> str:
        """Of the last certificate, which signs the others."""
        if not self._certificates:
            return ""
        der = ssl.PEM_cert_to_DER_cert(self._certificates[-1])
        digest = hashlib.sha256(der).hexdigest().upper()
        return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
