"""A service on 127.0.0.1 that decides about files, until a test makes it fail."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any, Self

from aiohttp import web


class DecisionService:
    """Answers by file name; set the attributes at any time."""

    def __init__(self) -> None:
        self.decisions: dict[str, dict[str, Any]] = {}
        """By file name; other files are allowed for an hour."""
        self.asked: list[Any] = []
        """The documents of all requests."""
        self.signatures: list[tuple[str, str]] = []
        """As sent, and as they should be for the secret ``shared``."""
        self.status = 200
        self.body: bytes | None = None
        """Instead of an answer."""
        self.delay = 0.0
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/decide", self._decide)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/decide"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def _decide(self, request: web.Request) -> web.Response:
        body = await request.read()
        question = json.loads(body)
        self.asked.append(question)
        expected = hmac.new(b"shared", body, hashlib.sha256).hexdigest()
        self.signatures.append(
            (request.headers.get("Waystation-Signature", ""), f"sha256={expected}")
        )
        await asyncio.sleep(self.delay)
        if self.status != 200:
            headers = {"Location": "/decide"} if self.status == 307 else {}
            return web.Response(status=self.status, headers=headers)
        if self.body is not None:
            return web.Response(body=self.body)
        if isinstance(question, list):
            return web.json_response([self._answer(each) for each in question])
        return web.json_response(self._answer(question))

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        return self.decisions.get(question["filename"], {"decision": "allow", "ttl": 3600})
