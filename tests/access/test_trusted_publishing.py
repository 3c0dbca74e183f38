"""Upload tokens for identity tokens: minted once, for some projects, for a limited time."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest

from proxy.access import Caller, MintRefused
from proxy.errors import NotAuthenticated
from tests.support.access import basic
from tests.support.clock import Clock
from tests.support.issuer import Issuer
from tests.support.pki import Authority
from tests.support.trusted_publishing import ACME, PublishingRig, publisher, trusting

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of the curve P-256."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def code(rig: PublishingRig, token: str) -> str:
    """Why no token is minted; empty: one is."""
    try:
        await rig.publishing.mint(token)
    except MintRefused as error:
        return error.code
    return ""


async def caller(rig: PublishingRig, secret: str) -> Caller | None:
    try:
        return await rig.access.authenticate(basic(secret))
    except NotAuthenticated:
        return None


async def test_a_minted_token_may_upload_what_the_publisher_may_and_nothing_else(
    authority: Authority, tmp_path: Path
) -> None:
    other = publisher("upload:private:other", repository_id="8")
    async with trusting(authority, tmp_path, ACME, other) as rig:
        assert rig.publishing.audience == "waystation.example.com"
        job = rig.job(repository="acme/tool", ref="refs/tags/v1", run_id=99)
        minted = await rig.publishing.mint(job)
        assert minted.secret.startswith("wsp_")
        assert 900 <= minted.expires - time.time() <= 902
        found = await caller(rig, minted.secret)
        assert found
        assert found.principal
        assert set(map(str, found.rights.grants)) == {"upload:private:acme-*"}
        assert found.principal.owner == "oidc:ci:repository_id:7"
        assert found.label == (
            "oidc:ci:repository=acme/tool,repository_id=7,ref=refs/tags/v1,run_id=99"
        )
        login = await rig.access.authenticate(f"Bearer {job}")
        assert login.principal
        assert login.principal.owner == found.principal.owner


async def test_an_identity_token_mints_once_in_all_processes_and_after_a_restart(
    authority: Authority, tmp_path: Path
) -> None:
    async with trusting(authority, tmp_path) as one:
        job = one.job()
        async with trusting(authority, tmp_path, issuer=one.issuer) as two:
            codes = await asyncio.gather(*(code(each, job) for each in (one, two) * 4))
            assert sorted(codes) == [""] + ["invalid-token"] * 7
        async with trusting(authority, tmp_path, issuer=one.issuer) as again:
            assert await code(again, job) == "invalid-token"
            renewed = one.job(**jwt.decode(job, options={"verify_signature": False}), x=1)
            assert await code(again, renewed) == "invalid-token", "the jti counts"


async def test_a_token_without_jti_mints_once_whichever_signature_it_has(
    authority: Authority, tmp_path: Path
) -> None:
    async with trusting(authority, tmp_path) as rig:
        rig.issuer.new_key("two", elliptic=True)
        job = rig.job(jti=None, key="two", algorithm="ES256")
        signed, _, signature = job.rpartition(".")
        raw = urlsafe_b64decode(signature + "==")
        second = (ORDER - int.from_bytes(raw[32:])).to_bytes(32)
        other = urlsafe_b64encode(raw[:32] + second).decode().rstrip("=")
        assert await code(rig, f"{signed}.{other}") == ""
        assert await code(rig, job) == "invalid-token"
        assert await code(rig, rig.job(jti=None, key="two", algorithm="ES256", run_id="2")) == ""


async def test_used_tokens_are_forgotten_when_they_have_expired(
    authority: Authority, tmp_path: Path
) -> None:
    clock = Clock(time.time())
    async with trusting(authority, tmp_path, clock=clock) as rig:
        job = rig.job()
        assert await code(rig, job) == ""
        clock.advance(86_400)
        assert await code(rig, rig.job(exp=int(time.time()) + 300)) == ""
    with closing(sqlite3.connect(tmp_path / "tokens.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM minted").fetchone() == (1,)


async def test_a_burned_token_is_refused_at_once_by_every_process(
    authority: Authority, tmp_path: Path
) -> None:
    async with (
        trusting(authority, tmp_path) as one,
        trusting(authority, tmp_path, issuer=one.issuer) as two,
    ):
        job = one.job()
        first = (await one.publishing.mint(job)).secret
        second = (await one.publishing.mint(one.job())).secret
        assert await caller(two, first)
        for text in (first, first, "wsp_unknown", "", "wst_" + first[4:]):
            await one.publishing.burn(text)
        assert await caller(two, first) is None
        assert await caller(one, first) is None
        assert await caller(two, second)
        assert await code(two, job) == "invalid-token"


async def test_a_token_expires(authority: Authority, tmp_path: Path) -> None:
    clock = Clock(time.time())
    async with trusting(authority, tmp_path, clock=clock) as rig:
        minted = await rig.publishing.mint(rig.job())
        clock.advance(899)
        assert await caller(rig, minted.secret)
        clock.advance(3)
        assert await caller(rig, minted.secret) is None


async def test_a_token_obeys_the_rules_of_now(authority: Authority, tmp_path: Path) -> None:
    async with trusting(authority, tmp_path) as rig:
        minted = await rig.publishing.mint(rig.job())
        for rule, expected in (
            (
                publisher("upload:private:acme-tool", repository_id="7"),
                {"upload:private:acme-tool"},
            ),
            (publisher("upload:private", repository_id="8"), set()),
        ):
            async with trusting(authority, tmp_path, rule, issuer=rig.issuer) as reloaded:
                found = await caller(reloaded, minted.secret)
                assert found
                assert set(map(str, found.rights.grants)) == expected
        without = publisher("read:main", repository_id="7")
        async with trusting(authority, tmp_path, without, issuer=rig.issuer) as reloaded:
            assert await caller(reloaded, minted.secret) is None
            assert reloaded.publishing.audience is None
            assert await code(reloaded, rig.job()) == "invalid-token"


@pytest.mark.parametrize(
    "claims",
    [
        {"repository_id": "8"},
        {"repository_id": None},
        {"repository_id": ["8", "9"]},
        {"repository_id": {"7": "7"}},
        {"environment": "Test"},
        {"environment": None},
    ],
)
async def test_a_job_that_no_rule_names_gets_no_token(
    authority: Authority, tmp_path: Path, claims: dict[str, Any]
) -> None:
    rule = publisher("upload:private:acme-tool", repository_id="7", environment="release")
    reading = publisher("read:main", sub="repo:acme/tool")
    async with trusting(authority, tmp_path, rule, reading) as rig:
        assert await code(rig, rig.job(**{"environment": "release"} | claims)) == (
            "invalid-publisher"
        )
        assert await code(rig, rig.job(environment="release", repository_id=7)) == ""


NOW = int(time.time())


def nested(depth: int = 5500) -> str:
    return urlsafe_b64encode(b"[" * depth + b"]" * depth).decode().rstrip("=")


async def test_hostile_tokens_mint_nothing(authority: Authority, tmp_path: Path) -> None:
    async with trusting(authority, tmp_path) as rig:
        right = rig.job()
        head, body, signature = right.split(".")
        claims = jwt.decode(right, options={"verify_signature": False})
        stranger = Issuer()
        stranger.url = rig.issuer.url
        stranger.new_key("one")
        hostile: list[str] = [
            jwt.encode(claims, "", "none"),
            jwt.encode(claims, "x" * 32, "HS256", headers={"kid": "one"}),
            stranger.token(**claims),
            f"{head}.{body}.{signature[:-4]}AAAA",
            f"{nested()}.{body}.{signature}",
            f"{head}.{nested()}.{signature}",
            f"{urlsafe_b64encode(b'{}').decode()}.{body}.{signature}",
            *("", "..", "a.b.c", f"{head}..{signature}", right + "A" * 20_000, "é.é.é"),
            *(rig.job(aud=each) for each in ("pypi", None, [], ["pypi"], {"a": 1})),
            *(rig.job(exp=each) for each in (NOW - 60, None, "x", float("inf"))),
            *(rig.job(nbf=each) for each in (NOW + 3600, "x", float("inf"))),
            *(rig.job(iat=each) for each in (NOW + 3600, None, float("nan"))),
            *(rig.job(iss=each) for each in (f"{rig.issuer.url}/", None, "https://example.org")),
            *(rig.job(sub=each) for each in (None, 7, ["a"])),
            rig.job(algorithm="PS256"),
        ]
        for token in hostile:
            assert await code(rig, token) == "invalid-token", token[:200]
        assert await code(rig, right) == ""


async def test_odd_claims_of_the_issuer_are_no_error(authority: Authority, tmp_path: Path) -> None:
    async with trusting(authority, tmp_path) as rig:
        deep: Any = []
        for _ in range(200):
            deep = [deep]
        assert await code(rig, rig.job(ref="\ud800")) == "invalid-token"
        assert await code(rig, rig.job(ref="x" * 20_000)) == "invalid-token"
        assert await code(rig, rig.job(jti=[1])) == "invalid-token"
        for odd in ("x" * 2000, deep, {"a": deep}, 10**300, "a\x00b\né"):
            jti = odd if isinstance(odd, str) else "usual"
            job = rig.job(jti=f"{jti}{time.time_ns()}", ref=odd, run_id=odd, odd=odd)
            minted = await rig.publishing.mint(job)
            found = await caller(rig, minted.secret)
            assert found
            assert found.label
            assert len(found.label) < 400
            assert found.label.isascii()
            assert found.label.isprintable()


async def test_unknown_keys_do_not_flood_the_issuer(authority: Authority, tmp_path: Path) -> None:
    async with trusting(authority, tmp_path) as rig:
        stranger = Issuer()
        stranger.url = rig.issuer.url
        for number in range(30):
            stranger.new_key(f"{number}", elliptic=True)
        jobs = [stranger.token(key=f"{each}", algorithm="ES256") for each in range(30)]
        codes = await asyncio.gather(*(code(rig, each) for each in jobs))
        assert set(codes) == {"invalid-token"}
        assert rig.issuer.requests == ["/.well-known/openid-configuration", "/keys"]


async def test_projects_belong_to_what_does_not_change(
    authority: Authority, tmp_path: Path
) -> None:
    rule = publisher("upload:private", aud="waystation.example.com")
    async with trusting(authority, tmp_path, rule) as rig:

        async def owner(**claims: Any) -> str:
            return (await rig.publishing.mint(rig.job(**claims))).principal.owner

        assert await owner(repository="acme/renamed") == "oidc:ci:repository_id:7"
        gitlab = {"repository_id": None, "project_id": "4", "pipeline_id": "99"}
        assert await owner(**gitlab) == "oidc:ci:project_id:4"
        odd = [await owner(repository_id=None, sub=each) for each in ("a b", "a?b", "a%20b")]
        assert odd == ["oidc:ci:sub:a%20b", "oidc:ci:sub:a%3Fb", "oidc:ci:sub:a%2520b"]
        long = [await owner(repository_id=None, sub="x" * 250 + end) for end in "ab"]
        assert len(set(long)) == 2
        assert all(len(each) < 100 for each in long)


async def test_publishers_are_those_of_indexes_that_take_uploads(
    authority: Authority, tmp_path: Path
) -> None:
    async with trusting(authority, tmp_path, accepting=["other"]) as rig:
        assert rig.publishing.audience is None
    async with trusting(authority, tmp_path) as rig:
        assert rig.publishing.covers({"main", "private"})
        assert not rig.publishing.covers({"main", "other"})
