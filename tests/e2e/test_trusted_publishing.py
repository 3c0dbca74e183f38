"""Trusted publishing by uv and twine over TLS, from a job of a stand-in for GitHub Actions."""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.issuer import Issuer, running_issuer
from tests.support.pki import Authority
from tests.support.publishing_tools import PublishingTools, Workplace
from tests.support.running import Done, Running, running, waystation
from tests.support.upstream import Upstream

JOB = {
    "repository": "acme/tool",
    "repository_id": "7654321",
    "repository_owner_id": "1234567",
    "ref": "refs/tags/v1.0",
    "environment": "release",
    "workflow_ref": "acme/tool/.github/workflows/release.yml@refs/tags/v1.0",
    "run_id": "99",
}
SETTINGS = """
packages = "packages"
uploads = true
upstream = "{upstream}"
ca_bundle = "{ca}"
tls_certificate = "{certificate}"
tls_key = "{key}"
audit = {{}}

[access.oidc.github]
issuer = "{issuer}"
audience = "waystation.example.com"

[[access.oidc.github.allow]]
claims = {{ repository_id = 7654321, environment = "release" }}
rights = ["upload:*:acme-*"]

[[access.oidc.github.allow]]
claims = {{ repository_id = 111 }}
rights = ["upload:*:acme-*"]
"""


class Deployment:
    """A folder with settings for servers that trust an issuer."""

    def __init__(self, folder: Path, authority: Authority, issuer: Issuer) -> None:
        self.folder = folder
        self.issuer = issuer
        self.config = folder / "waystation.toml"
        self.trusted = authority.bundle
        self.tls = ssl.create_default_context(cafile=authority.bundle)
        issuer.job = dict(JOB)

    @asynccontextmanager
    async def serving(self, *more: str) -> AsyncIterator[Running]:
        async with running(self.folder, "--config", self.config, *more) as server:
            yield server

    def place(self, name: str) -> Workplace:
        """A user with a project of that name."""
        place = Workplace(self.folder / f"by-{name}", PublishingTools(None), self.trusted)
        place.project(name)
        return place

    async def uv(self, place: Workplace, server: Running, **more: str) -> Done:
        given = ("publish", "-v", "--trusted-publishing", "always", "--publish-url")
        environment = {"UV_NO_CONFIG": "1"} | self.issuer.job_environment() | more
        return await place.run("uv", *given, f"{server.address}/legacy/", *place.files, **environment)

    async def post(self, server: Running, what: str, body: Any) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls)) as client,
            client.post(f"{server.address}/_/oidc/{what}", json=body) as response,
        ):
            return response.status, await response.json()

    def published(self, project: str) -> list[str]:
        return sorted(path.name for path in (self.folder / "packages" / project).glob("*.*"))


@pytest.fixture
async def deployment(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Deployment]:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    (tmp_path / "packages").mkdir()
    async with running_issuer(authority) as issuer:
        made = Deployment(tmp_path, authority, issuer)
        values = {"upstream": upstream.url, "ca": authority.bundle, "issuer": issuer.url}
        text = SETTINGS.format(certificate=certificate, key=key, **values)
        made.config.write_text(text)
        yield made


async def test_uv_publishes_from_a_job(deployment: Deployment) -> None:
    async with deployment.serving() as server:
        done = await deployment.uv(deployment.place("acme-tool"), server)
        print(done.out, done.err)
        done.succeeded()
        print("\n".join(server.err.lines))
    assert 0
