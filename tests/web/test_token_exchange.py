"""Trusted publishing over HTTP: addresses, forms, errors and limits, without any tool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proxy.model import ProjectName
from proxy.publish import Publisher
from tests.support.access import basic
from tests.support.distributions import make_wheel
from tests.support.fake_index import FakeIndex
from tests.support.pki import Authority
from tests.support.publishing import publishing
from tests.support.site import Answer, Site, serving
from tests.support.trusted_publishing import ACME, PublishingRig, publisher, trusting
from tests.web.test_uploads import body

MINT, BURN, AUDIENCE = "/_/oidc/mint-token", "/_/oidc/burn-token", "/_/oidc/audience"
MEDIA_TYPE = "application/vnd.pypi.pytp.v1+json"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Exchange(NamedTuple):
    site: Site
    rig: PublishingRig
    publisher: Publisher

    async def post(self, path: str, value: Any) -> tuple[int, Any]:
        answer = await self.site.post(path, json.dumps(value))
        return answer.status, json.loads(answer.body)

    async def secret(self, **claims: Any) -> str:
        """A new token for uploads."""
        status, answer = await self.post(MINT, {"token": self.rig.job(**claims)})
        assert status == 200
        return str(answer["token"])

    async def upload(self, path: Path, secret: str) -> Answer:
        return await self.site.post("/legacy/", body(path), {"Authorization": basic(secret)})


@asynccontextmanager
async def exchanging(
    authority: Authority, folder: Path, *rules: Any, **options: Any
) -> AsyncIterator[Exchange]:
    async with (
        trusting(authority, folder, *rules) as rig,
        publishing(folder / "packages") as published,
        serving(
            published.directory, publishers={"": published}, access=rig.access, **options
        ) as site,
    ):
        yield Exchange(site, rig, published)


def failure(answer: Answer) -> tuple[int, str]:
    """The status and code, from an answer of the form that twine and PEP 807 demand."""
    found = json.loads(answer.body)
    assert answer.headers["Content-Type"] == "application/json"
    assert found["message"] == "Token request failed"
    (error,) = found["errors"]
    assert error["description"]
    return answer.status, error["code"]


async def test_a_token_is_minted_used_and_burned(authority: Authority, tmp_path: Path) -> None:
    wheels = [make_wheel(tmp_path / "dist", "acme-tool", each) for each in ("1.0", "2.0")]
    async with exchanging(authority, tmp_path) as it:
        audience = await it.site.get(AUDIENCE)
        assert json.loads(audience.body) == {"audience": "waystation.example.com"}
        assert audience.headers["Cache-Control"] == "no-store"
        status, answer = await it.post(MINT, {"token": it.rig.job(), "more": [1]})
        assert (status, set(answer)) == (200, {"success", "token", "expires"})
        secret = answer["token"]
        assert (await it.upload(wheels[0], secret)).status == 200
        elsewhere = make_wheel(tmp_path / "dist", "other", "1.0")
        assert (await it.upload(elsewhere, secret)).status == 403
        page = await it.site.get("/simple/acme-tool/", headers={"Authorization": basic(secret)})
        assert page.status == 403
        for _ in range(2):
            assert await it.post(BURN, {"token": secret}) == (202, {"success": True})
        assert (await it.upload(wheels[1], secret)).status == 401
        assert it.publisher.journal.owners(ProjectName("acme-tool")) == ["oidc:ci:repository_id:7"]


async def test_the_first_upload_of_a_pending_publisher_makes_the_project_its_own(
    authority: Authority, tmp_path: Path
) -> None:
    wheels = [make_wheel(tmp_path / "dist", "acme-new", each) for each in ("1.0", "2.0")]
    second = publisher("upload:private:acme-*", repository_id="8")
    async with exchanging(authority, tmp_path, ACME, second) as it:
        assert (await it.upload(wheels[0], await it.secret())).status == 200
        refused = await it.upload(wheels[1], await it.secret(repository_id="8"))
        assert refused.status == 403
        assert b"acme-new belongs to oidc:ci:repository_id:7" in refused.body
        renamed = await it.secret(repository="acme/renamed")
        assert (await it.upload(wheels[1], renamed)).status == 200


async def test_nothing_of_it_needs_credentials_or_looks_at_them(
    authority: Authority, tmp_path: Path
) -> None:
    index = FakeIndex("private", {"aaa": ["aaa-1.0.tar.gz"]})
    async with (
        trusting(authority, tmp_path) as rig,
        publishing(tmp_path / "packages") as published,
        serving(
            index, publishers={"": published}, access=rig.access, fast=True, prefix="/pypi"
        ) as site,
    ):
        key = hashlib.sha256(b"/legacy/").hexdigest()
        wrong = {"Authorization": basic("secret", "alice")}
        for path in ("/simple/aaa/", "/nothing", "/_/other", "/.well-known/other"):
            for _ in range(3):
                assert (await site.get(path)).status == 401
        for base in ("", "/pypi"):
            for path in (AUDIENCE, f"/.well-known/pytp/{key}"):
                for headers in ({}, {}, {}, wrong, wrong):
                    assert (await site.get(base + path, headers=headers)).status == 200
            assert failure(await site.post(base + MINT, b"{}", wrong)) == (422, "invalid-payload")
            assert (await site.post(base + BURN, b'{"token": "x"}', wrong)).status == 202
            assert (await site.get(base + MINT)).status == 405


@pytest.mark.parametrize(
    "sent",
    [
        *(b"", b"{}", b"[]", b"null", b'"token"', b'{"token": 1}', b'{"token": null}'),
        *(b'{"token": "x"', b"\xff\xfe", b'{"token": "\xff"}', b"[" * 20_000, b"token=x"),
        b'{"token": "' + b"x" * 200_000 + b'"}',
    ],
    ids=range(13),
)
@pytest.mark.parametrize("path", [MINT, BURN])
async def test_bodies_that_are_no_request_for_a_token(
    authority: Authority, tmp_path: Path, path: str, sent: bytes
) -> None:
    async with exchanging(authority, tmp_path) as it:
        assert failure(await it.site.post(path, sent)) == (422, "invalid-payload")


async def test_refusals_say_why_and_are_limited_as_wrong_passwords_are(
    authority: Authority, tmp_path: Path
) -> None:
    async with exchanging(authority, tmp_path) as it:
        for number in range(10):
            token = it.rig.job(exp=1) if number % 2 else it.rig.job(repository_id="9")
            answer = await it.site.post(MINT, json.dumps({"token": token}))
            code = "invalid-token" if number % 2 else "invalid-publisher"
            assert failure(answer) == (422, code)
            said = "it has expired" if number % 2 else "repository_id=9"
            assert said in answer.body.decode()
            line = await it.site.lines.next()
            assert code in line["reason"]
        limited = await it.site.post(MINT, json.dumps({"token": "x"}))
        assert failure(limited) == (429, "too-many-failures")
        assert 0 < int(limited.headers["Retry-After"]) <= 60
        assert await it.secret(), "others at the address can publish"


async def test_tokens_that_cannot_be_stored_are_not_minted_and_the_reason_stays_here(
    authority: Authority, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    async with exchanging(authority, tmp_path) as it:
        secret = await it.secret()
        for file in tmp_path.glob("tokens.sqlite*"):
            file.unlink()
        (tmp_path / "tokens.sqlite").mkdir()
        for path, token in ((MINT, it.rig.job()), (BURN, secret)):
            answer = await it.site.post(path, json.dumps({"token": token}))
            assert failure(answer) == (503, "unavailable")
            assert str(tmp_path) not in answer.body.decode()
        refused = await it.upload(wheel, secret)
        assert refused.status == 503
        assert str(tmp_path) not in refused.body.decode()


async def test_without_publishers_the_addresses_say_so(
    authority: Authority, tmp_path: Path
) -> None:
    reading = publisher("read:main", repository_id="7")
    key = hashlib.sha256(b"/legacy/").hexdigest()
    async with exchanging(authority, tmp_path, reading) as it:
        token = json.dumps({"token": it.rig.job()})
        for answer in (
            await it.site.get(AUDIENCE),
            await it.site.post(MINT, token),
            await it.site.post(BURN, token),
        ):
            assert failure(answer) == (404, "not-enabled")
        assert (await it.site.get(f"/.well-known/pytp/{key}")).status == 404


async def test_without_access_control_there_are_no_such_addresses(tmp_path: Path) -> None:
    async with (
        publishing(tmp_path / "packages") as published,
        serving(published.directory, publishers={"": published}) as site,
    ):
        assert (await site.get(AUDIENCE)).status == 404


async def test_upload_addresses_are_found_by_the_digest_of_their_path(
    authority: Authority, tmp_path: Path
) -> None:
    """PEP 807, and the key of its example, which was made of the path and a newline."""
    example = "af030c06750716b1b35852298fe852b90def13dcbd012a5fe5148470f1206bfc"
    team = publisher("upload:team", repository_id="7")
    async with (
        trusting(authority, tmp_path, team, accepting=["team", "private"]) as rig,
        publishing(tmp_path / "packages") as published,
    ):
        indexes = {"/team": FakeIndex("team", {}), "/other": FakeIndex("other", {})}
        publishers = dict.fromkeys(("/team", "/other"), published)
        async with serving(
            FakeIndex("main", {}), mounted=indexes, publishers=publishers, access=rig.access
        ) as site:

            async def status(path: str) -> int:
                digest = hashlib.sha256(path.encode()).hexdigest()
                return (await site.get(f"/.well-known/pytp/{digest}")).status

            for path in ("/team/legacy/", "/team/legacy", "/team/legacy/\n", "/team/", "/team"):
                assert await status(path) == 200
            for path in ("/legacy/", "/other/legacy/", "/", "", "/team/simple/", "/no/legacy/"):
                assert await status(path) == 404
            assert (await site.get(f"/.well-known/pytp/{example}")).status == 404
            assert (await site.get("/.well-known/pytp/x")).body == b""
    async with exchanging(authority, tmp_path) as it:
        address = f"/.well-known/pytp/{example}"
        answer = await it.site.get(address)
        base = f"http://127.0.0.1:{it.site.port}/_/oidc"
        assert json.loads(answer.body) == {
            "audience-endpoint": f"{base}/audience",
            "mint-token-endpoint": f"{base}/mint-token",
        }
        assert answer.headers["Content-Type"] == MEDIA_TYPE
        for accept, expected in (
            (MEDIA_TYPE, 200),
            ("*/*", 200),
            (f"text/html, {MEDIA_TYPE};q=0.5", 200),
            ("text/html", 406),
            ("application/json", 406),
        ):
            found = await it.site.get(address, headers={"Accept": accept})
            assert found.status == expected, accept


@pytest.mark.parametrize("fixed", [True, False])
async def test_discovery_names_the_public_address_or_that_of_the_request(
    authority: Authority, tmp_path: Path, fixed: bool
) -> None:
    key = hashlib.sha256(b"/pypi/legacy/").hexdigest()
    async with exchanging(authority, tmp_path, prefix="/pypi", fixed_url=fixed) as it:
        asked = {"Host": "a.example.com"}
        found = await it.site.get(f"/.well-known/pytp/{key}", headers=asked)
        host = f"127.0.0.1:{it.site.port}" if fixed else "a.example.com"
        audience = json.loads(found.body)["audience-endpoint"]
        assert audience == f"http://{host}/_/oidc/audience"
        odd = await it.site.get(f"/.well-known/pytp/{key}", headers={"Host": "a/b"})
        assert odd.status == (200 if fixed else 404)
