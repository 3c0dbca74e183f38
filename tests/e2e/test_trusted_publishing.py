"""Trusted publishing by uv and twine over TLS, from a job of a stand-in for GitHub Actions."""

from __future__ import annotations

import json
import secrets
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.issuer import Issuer, running_issuer
from tests.support.pki import Authority
from tests.support.publishing_tools import PublishingTools, Workplace
from tests.support.running import Done, Running, command, environment, running, waystation
from tests.support.seaweedfs import BUCKET, ObjectServer
from tests.support.upstream import Upstream
from tests.support.waiting import until

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

[[access.oidc.github.allow]]
claims = {{ project_id = 7654321, ref_protected = true }}
rights = ["read:*", "upload:*:acme-*"]
"""


TWINE = """
import sys
import twine.utils
twine.utils.DEFAULT_REPOSITORY = sys.argv.pop(1)
from twine.__main__ import main
sys.exit(main())
"""
"""twine, to which another server is PyPI."""


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
    async def serving(
        self, *more: str, folder: str = "", **variables: str
    ) -> AsyncIterator[Running]:
        """``folder``: of another machine. ``variables``: of its environment."""
        place = self.folder / folder
        place.mkdir(exist_ok=True)
        async with running(place, "--config", self.config, *more, **variables) as server:
            yield server

    def place(self, name: str) -> Workplace:
        """A user with a project of that name."""
        place = Workplace(self.folder / f"by-{name}", PublishingTools(None), self.trusted)
        place.project(name)
        return place

    async def uv(self, place: Workplace, server: Running, **more: str) -> Done:
        given = ("publish", "-v", "--trusted-publishing", "always", "--publish-url")
        environment = {"UV_NO_CONFIG": "1"} | self.issuer.job_environment() | more
        return await place.run(
            "uv", *given, f"{server.address}/legacy/", *place.files, **environment
        )

    async def twine(self, place: Workplace, server: Running, **more: str) -> Done:
        """With the address of the server in the place of PyPI's."""
        url = f"{server.address}/legacy/"
        given = ("upload", "--verbose", "--repository-url", url, "--non-interactive")
        trusted = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(self.trusted))
        env = environment(place.folder / "home", **trusted, **more)
        program = (sys.executable, "-c", TWINE, url)
        return await command(*program, *given, *place.files, env=env, cwd=place.folder)

    async def command(self, *arguments: str) -> Done:
        given = ("--config", self.config, "--cache-dir", self.folder / "cache")
        done = await waystation(*arguments, *given, cwd=self.folder)
        return done.succeeded()

    async def replayed(self, server: Running, job: str) -> int:
        return (await self.post(server, "mint-token", {"token": job}))[0]

    async def uploaded(self, server: Running, secret: str) -> int:
        """The status of an upload, which is no form."""
        headers = {"Authorization": f"Bearer {secret}"}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls)) as client,
            client.post(f"{server.address}/legacy/", headers=headers) as response,
        ):
            return response.status

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


async def test_uv_publishes_a_new_project_from_a_job_and_burns_the_token(
    deployment: Deployment,
) -> None:
    async with deployment.serving() as server:
        place = deployment.place("acme-tool")
        (await deployment.uv(place, server)).succeeded()
        files = ["acme_tool-1.0-py3-none-any.whl", "acme_tool-1.0.tar.gz"]
        assert deployment.published("acme-tool") == files
        requests = [(each["path"], each["status"]) for each in server.requests()]
        assert ("/_/oidc/burn-token", 202) in requests
        deployment.issuer.job["repository_id"] = "111"
        place.project("acme-tool", requires="other")
        refused = await deployment.uv(place, server)
        assert refused.status
        assert "acme-tool belongs to oidc:github:repository_id:7654321" in refused.err
    owners = await deployment.command("owners", "acme-tool")
    assert owners.out.split() == ["oidc:github:repository_id:7654321"]
    audit = await deployment.command("audit", "--kind", "change", "--project", "acme-tool")
    assert "oidc:github:repository=acme/tool,repository_id=7654321" in audit.out
    assert "workflow_ref=acme/tool/.github/workflows/release.yml@refs/tags/v1.0" in audit.out


async def test_uv_publishes_from_a_job_of_gitlab(deployment: Deployment) -> None:
    issuer = deployment.issuer
    job = issuer.token(project_id=7654321, ref_protected="true", jti="1", project_path="acme/tool")
    variables = {"GITLAB_CI": "true", "WAYSTATION_EXAMPLE_COM_ID_TOKEN": job}
    async with deployment.serving() as server:
        place = deployment.place("acme-tool")
        (await deployment.uv(place, server, GITHUB_ACTIONS="", **variables)).succeeded()
        assert len(deployment.published("acme-tool")) == 2
        (line,) = [each for each in server.requests() if each["path"] == "/_/oidc/mint-token"]
        assert "project_path=acme/tool,project_id=7654321" in line["user"]


async def test_check_names_the_publishers(deployment: Deployment) -> None:
    given = 'repository_id = 111 }\nrights = ["'
    wrong = 'repository = "acme/a" }\nrights = ["upload:x", "'
    deployment.config.write_text(deployment.config.read_text().replace(given, wrong))
    done = await deployment.command("check", "--no-network")
    said = done.out.partition("Trusted publishers:\n")[2].partition("\n\n")[0]
    lines = [line.strip().removeprefix("access.oidc.github.allow.") for line in said.splitlines()]
    assert lines == [
        "0: repository_id = 7654321, environment = release may upload:*:acme-*",
        "1: repository = acme/a may upload:x, upload:*:acme-*",
        "1: no index takes uploads by upload:x",
        "1: names can change hands: bind a number such as repository_id",
        "1: every job of the repository may publish: bind environment, ref or workflow_ref",
        "2: project_id = 7654321, ref_protected = true may upload:*:acme-*",
    ]


async def test_uv_shows_why_a_job_may_not_publish(deployment: Deployment) -> None:
    deployment.issuer.job["environment"] = "test"
    async with deployment.serving() as server:
        refused = await deployment.uv(deployment.place("acme-tool"), server)
    assert refused.status
    said = " ".join(refused.err.split())
    assert "no rule of this server lets this job upload" in said
    assert "environment=test" in said
    assert deployment.published("acme-tool") == []


async def test_twine_publishes_from_a_job_and_shows_refusals(deployment: Deployment) -> None:
    """twine asks no server but PyPI for tokens: that check is set aside."""
    async with deployment.serving() as server:
        place = deployment.place("acme-tool")
        done = await deployment.twine(place, server, **deployment.issuer.job_environment())
        assert "Minted upload token" in done.succeeded().out
        assert len(deployment.published("acme-tool")) == 2
        deployment.issuer.job["environment"] = "test"
        other = deployment.place("acme-other")
        refused = await deployment.twine(other, server, **deployment.issuer.job_environment())
        assert refused.status
        said = " ".join((refused.out + refused.err).split())
        assert "`invalid-publisher`: the identity token is valid, but no rule" in said


@pytest.mark.slow
async def test_workers_share_what_was_minted_burned_and_used_also_after_a_restart(
    deployment: Deployment,
) -> None:
    job = deployment.issuer.token(jti="once", **JOB)
    async with deployment.serving("--workers", "2") as server:
        await until(lambda: server.listening() == 2)
        status, minted = await deployment.post(server, "mint-token", {"token": job})
        assert status == 200
        password = {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": minted["token"]}
        (await deployment.twine(deployment.place("acme-tool"), server, **password)).succeeded()
        assert {await deployment.replayed(server, job) for _ in range(6)} == {422}
    async with deployment.serving("--workers", "2") as server:
        await until(lambda: server.listening() == 2)
        assert {await deployment.replayed(server, job) for _ in range(5)} == {422}
        place = deployment.place("acme-second")
        (await deployment.twine(place, server, **password)).succeeded()
        await deployment.post(server, "burn-token", {"token": minted["token"]})
        assert {await deployment.uploaded(server, minted["token"]) for _ in range(5)} == {401}


@pytest.mark.slow
async def test_replicas_share_what_was_minted_burned_and_used(
    deployment: Deployment, shared_object_server: ObjectServer
) -> None:
    job = deployment.issuer.token(jti="once", **JOB)
    table = json.dumps({"files": f"s3://{BUCKET}/{secrets.token_hex(8)}"})
    given = {"WAYSTATION_STORAGE": table, **shared_object_server.variables}
    async with (
        deployment.serving(folder="one", **given) as one,
        deployment.serving(folder="other", **given) as other,
    ):
        status, minted = await deployment.post(one, "mint-token", {"token": job})
        assert status == 200
        assert [await deployment.replayed(each, job) for each in (other, one)] == [422, 422]
        assert await deployment.uploaded(other, minted["token"]) == 400
        await deployment.post(one, "burn-token", {"token": minted["token"]})
        assert await deployment.uploaded(other, minted["token"]) == 401
        assert await deployment.replayed(other, job) == 422
    assert not list(deployment.folder.glob("*/cache/tokens.sqlite"))
