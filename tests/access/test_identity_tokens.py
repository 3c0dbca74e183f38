"""Identity tokens of CI, against an issuer over TLS."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from proxy.access import (
    Access,
    Caller,
    ClaimRule,
    GrantTable,
    IdentityTokens,
    IssuerKeys,
    parse_grant,
)
from proxy.errors import NotAuthenticated
from proxy.upstream import DocumentFetcher
from tests.support.access import basic
from tests.support.clock import Clock
from tests.support.issuer import Issuer, running_issuer
from tests.support.pki import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def rule(*rights: str, **claims: str | list[str]) -> ClaimRule:
    wanted = {
        name: frozenset([value] if isinstance(value, str) else value)
        for name, value in claims.items()
    }
    return ClaimRule(wanted, frozenset(map(parse_grant, rights)))


OURS = rule("read:main", repository_owner_id="1234567")


@asynccontextmanager
async def ci(
    authority: Authority, *rules: ClaimRule, clock: Clock | None = None
) -> AsyncIterator[tuple[Issuer, Access]]:
    clock = clock or Clock(time.time())
    fetcher = DocumentFetcher("ci", ca_bundle=authority.bundle)
    async with running_issuer(authority) as issuer:
        keys = IssuerKeys(issuer.url, fetcher.fetch, (), clock)
        tokens = IdentityTokens("ci", issuer.url, "waystation.example.com", rules or [OURS], keys)
        yield issuer, Access([tokens], GrantTable(), clock=clock)
        await keys.close()
        await fetcher.close()


async def accepted(access: Access, token: str) -> Caller | None:
    try:
        return await access.authenticate(f"Bearer {token}")
    except NotAuthenticated:
        return None


async def test_a_token_of_the_issuer_is_a_principal_with_the_rights_of_its_claims(
    authority: Authority,
) -> None:
    release = rule("upload:private:acme-tool", repository_id="7", environment=["release", "test"])
    async with ci(authority, OURS, release) as (issuer, access):
        for value in (f"Bearer {issuer.token()}", basic(issuer.token(sub="repo:x\n y"))):
            caller = await access.authenticate(value)
            assert set(map(str, caller.rights.grants)) == {"read:main"}
        assert caller.label == "oidc:ci:repo:x??y"
        both = await accepted(access, issuer.token(repository_id=7, environment="release"))
        assert both
        assert set(map(str, both.rights.grants)) == {"read:main", "upload:private:acme-tool"}
        assert await accepted(access, issuer.token(repository_owner_id="999")) is None
        other = issuer.token(repository_owner_id="9", repository_id="7", environment="Release")
        assert await accepted(access, other) is None
        assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]


async def test_elliptic_keys_and_lists_of_audiences(authority: Authority) -> None:
    async with ci(authority) as (issuer, access):
        issuer.new_key("two", elliptic=True)
        audiences = ["other", "waystation.example.com"]
        token = issuer.token(key="two", algorithm="ES256", aud=audiences)
        assert await accepted(access, token)


NOW = int(time.time())


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "pypi"},
        {"aud": "waystation.example.com.evil.example"},
        {"aud": None},
        {"exp": NOW - 60},
        {"exp": None},
        {"iat": NOW + 3600},
        {"iat": None},
        {"nbf": NOW + 3600},
        {"sub": None},
        {"algorithm": "RS384"},
        {"algorithm": "PS256"},
    ],
)
async def test_a_claim_that_is_wrong_or_missing(
    authority: Authority, claims: dict[str, Any]
) -> None:
    async with ci(authority) as (issuer, access):
        assert await accepted(access, issuer.token(**claims)) is None
        assert await accepted(access, issuer.token())


async def test_forged_tokens(authority: Authority) -> None:
    async with ci(authority) as (issuer, access):
        right = issuer.token()
        head, body, signature = right.split(".")
        claims = jwt.decode(right, options={"verify_signature": False})
        forged = [
            jwt.encode(claims, "", "none"),
            jwt.encode(claims, "x" * 32, "HS256", headers={"kid": "one"}),
            f"{head}.{body}.{signature[:-4]}AAAA",
            f"{head}.{body}.",
            f"{head}..{signature}",
            right + "A" * 17_000,
            "a.b.c",
            f"a.{body}.c",
        ]
        for token in forged:
            assert await accepted(access, token) is None
        stranger = Issuer()
        stranger.url = issuer.url
        stranger.new_key("one")
        assert await accepted(access, stranger.token()) is None
        assert await accepted(access, issuer.token(iss=f"{issuer.url}/")) is None


async def test_names_of_github_have_no_case_and_others_have(authority: Authority) -> None:
    claims = {"repository": frozenset(["Acme/Tool"])}
    rules = [ClaimRule(claims, frozenset([parse_grant("admin")]))]
    async with running_issuer(authority) as issuer:
        keys = IssuerKeys(issuer.url, DocumentFetcher("ci").fetch)
        for url, expected in (
            ("https://token.actions.githubusercontent.com", True),
            ("https://github.example.com/_services/token", True),
            ("https://gitlab.example.com", False),
        ):
            tokens = IdentityTokens("ci", url, "x", rules, keys)
            assert tokens._matches(rules[0], {"repository": "acme/tool"}) is expected


async def test_a_token_is_refused_at_its_end_though_it_was_known(authority: Authority) -> None:
    clock = Clock(time.time())
    async with ci(authority, clock=clock) as (issuer, access):
        value = f"Bearer {issuer.token(exp=int(clock()) + 60)}"
        assert (await access.authenticate(value)).label
        clock.advance(61)
        assert access.known(value.encode(), clock()) is None


async def test_new_keys_are_fetched_at_most_once_a_minute(authority: Authority) -> None:
    clock = Clock(time.time())
    async with ci(authority, clock=clock) as (issuer, access):
        assert await accepted(access, issuer.token())
        issuer.new_key("two")
        for number in range(5):
            assert await accepted(access, issuer.token(key="two", jti=str(number))) is None
        assert len(issuer.requests) == 2
        clock.advance(61)
        assert await accepted(access, issuer.token(key="two"))
        assert len(issuer.requests) == 4


async def test_former_keys_stay_while_the_issuer_is_down_but_not_for_ever(
    authority: Authority,
) -> None:
    clock = Clock(time.time())
    async with ci(authority, clock=clock) as (issuer, access):
        assert await accepted(access, issuer.token())
        issuer.mode = "down"
        clock.advance(86_400)
        assert await accepted(access, issuer.token(jti="1"))
        clock.advance(2 * 86_400)
        assert await accepted(access, issuer.token(jti="2")) is None


@pytest.mark.parametrize("mode", ["down", "redirect", "huge", "elsewhere"])
async def test_an_issuer_that_misbehaves_proves_nothing(authority: Authority, mode: str) -> None:
    async with ci(authority) as (issuer, access):
        issuer.mode = mode
        assert await accepted(access, issuer.token()) is None


async def test_an_issuer_has_to_describe_itself_and_to_be_trusted(
    authority: Authority, tmp_path: Path
) -> None:
    async with ci(authority) as (issuer, access):
        issuer.described = "https://other.example.com"
        assert await accepted(access, issuer.token()) is None
    async with ci(Authority(tmp_path)) as (issuer, _):
        fetcher = DocumentFetcher("ci", ca_bundle=authority.bundle)
        keys = IssuerKeys(issuer.url, fetcher.fetch)
        assert await keys.find("one") is None
        await fetcher.close()
