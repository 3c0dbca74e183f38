"""A receiver of webhooks on 127.0.0.1 that checks signatures as the documents say, with faults."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
from typing import Any, NamedTuple, Self

from aiohttp import web

SECRET = "of both sides, sixteen"


class ReceivedEvent(NamedTuple):
    identity: str
    document: dict[str, Any]
    is_signed: bool


class EventReceiver:
    """Takes all events; set the attributes at any time."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.taken: list[ReceivedEvent] = []
        """Those that were answered with a success."""
        self.refused: list[ReceivedEvent] = []
        self.elsewhere = 0
        """Requests for another path than its own."""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.closes = False
        """The connection is closed instead of answered."""
        self.gate: asyncio.Event | None = None
        """No answer before this is set."""
        self.most_at_once = 0
        self.url = ""
        self._running = 0
        self._runner: web.AppRunner | None = None

    @property
    def numbers(self) -> list[int]:
        return [each.document["number"] for each in self.taken]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._receive)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}/hook?for=us"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        if request.path_qs != "/hook?for=us":
            self.elsewhere += 1
            return web.Response()
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            return await self._answer(request)
        finally:
            self._running -= 1

    async def _answer(self, request: web.Request) -> web.Response:
        received = _read(request, await request.read())
        status = self.status
        if self.gate:
            await self.gate.wait()
        if self.closes and request.transport:
            self.refused.append(received)
            request.transport.abort()
            return web.Response()
        (self.taken if 200 <= status < 300 else self.refused).append(received)
        return web.Response(status=status, headers=self.headers)


def _read(request: web.Request, body: bytes) -> ReceivedEvent:
    identity, at = request.headers["Waystation-Id"], request.headers["Waystation-Time"]
    signed = f"{identity}.{at}.".encode() + body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    is_signed = request.headers["Waystation-Signature"] == f"sha256={expected}"
    return ReceivedEvent(identity, json.loads(body), is_signed)
