"""An issuer of identity tokens, over TLS on loopback, as CI systems have."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.pki import Authority

HUGE_ANSWER = 100 * 2**20
"""Bytes."""
JOB_SECRET = "of-the-job"
"""With which a job asks for its identity token."""


class Issuer:
    """``mode``: how it answers, until a test changes it."""

    def __init__(self) -> None:
        self.url = ""
        self.mode = "right"
        self.described = ""
        """The issuer that its description names; empty: itself."""
        self.requests: list[str] = []
        self.max_age = 600
        self.job: dict[str, Any] = {}
        """The claims of the job that asks for a token at ``/job-token``, as GitHub Actions has."""
        self._keys: dict[str, Any] = {}
        self._keys["one"] = _first_key()

    def new_key(self, name: str, *, elliptic: bool = False) -> None:
        self._keys[name] = (
            ec.generate_private_key(ec.SECP256R1())
            if elliptic
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    def forget_key(self, name: str) -> None:
        del self._keys[name]

    def token(self, *, key: str = "one", algorithm: str = "RS256", **claims: Any) -> str:
        """A token with these claims; None removes one that it has by default."""
        now = int(time.time())
        values = {
            **{"iss": self.url, "aud": "waystation.example.com", "sub": "repo:acme/tool"},
            **{"iat": now, "nbf": now, "exp": now + 300, "repository_owner_id": "1234567"},
            **claims,
        }
        given = {name: value for name, value in values.items() if value is not None}
        return jwt.encode(given, self._keys[key], algorithm, headers={"kid": key})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        if request.path == "/job-token":
            return self._job_token(request)
        if self.mode == "down":
            raise web.HTTPServiceUnavailable
        if self.mode == "redirect":
            raise web.HTTPFound("https://127.0.0.1:1/keys")
        if self.mode == "huge":
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(HUGE_ANSWER // 2**20):
                await response.write(b" " * 2**20)
            return response
        headers = {"Cache-Control": f"max-age={self.max_age}"}
        if request.path.endswith("/openid-configuration"):
            where = {"right": f"{self.url}/keys", "elsewhere": "https://keys.example.org/keys"}
            described = {"issuer": self.described or self.url, "jwks_uri": where[self.mode]}
            return web.json_response(described, headers=headers)
        return web.json_response({"keys": self._public()}, headers=headers)

    def job_environment(self) -> dict[str, str]:
        """The variables of a job of GitHub Actions whose workflow may ask for identity tokens."""
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/job-token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": JOB_SECRET,
        }

    def _job_token(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "").lower() != f"bearer {JOB_SECRET}":
            raise web.HTTPUnauthorized
        claims = {"jti": uuid.uuid4().hex} | self.job
        return web.json_response({"value": self.token(aud=request.query["audience"], **claims)})

    def _public(self) -> list[dict[str, Any]]:
        found = []
        for name, key in self._keys.items():
            elliptic = isinstance(key, ec.EllipticCurvePrivateKey)
            algorithm = jwt.algorithms.ECAlgorithm if elliptic else jwt.algorithms.RSAAlgorithm
            values = json.loads(algorithm.to_jwk(key.public_key()))
            found.append(values | {"kid": name, "use": "sig"})
        return [*found, {"kty": "unknown", "kid": "odd"}]


@cache
def _first_key() -> rsa.RSAPrivateKey:
    """Made once, as that takes up to a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@asynccontextmanager
async def running_issuer(authority: Authority) -> AsyncIterator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/{path:.*}", issuer.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server("127.0.0.1"))
    await site.start()
    port = runner.addresses[0][1]
    issuer.url = f"https://127.0.0.1:{port}"
    try:
        yield issuer
    finally:
        await runner.cleanup()
