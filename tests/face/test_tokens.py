"""A person makes a token, uses it, and revokes it; nothing grows rights that were not there."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from tests.support.face_world import BROWSER, FaceWorld, face_world

SETTINGS = """
[access]
token_max_age = "40d"
[access.groups]
release = ["token:alice/release"]
[access.rights]
alice = ["read:main", "metrics"]
bob = ["read:main:demo*"]
"@release" = ["admin"]
[access.proxy]
from = ["127.0.0.1"]
user_header = "X-User"
"""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FaceWorld]:
    async with face_world(tmp_path, after=SETTINGS) as running:
        yield running


async def post(
    world: FaceWorld, path: str, fields: Iterable[tuple[str, str]], **headers: str
) -> tuple[int, str]:
    given = BROWSER | {"X-User": "alice", "Origin": world.server.address} | headers
    async with world.client.post(
        world.server.address + path, data=list(fields), headers=given
    ) as answer:
        assert "no-store" in answer.headers["Cache-Control"]
        return answer.status, await answer.text()


def form(name: str = "laptop", scope: str = "read:main", days: str = "30") -> list[tuple[str, str]]:
    return [("name", name), ("scope", scope), ("days", days)]


async def reads(world: FaceWorld, token: str) -> int:
    secret = "Basic " + b64encode(f"__token__:{token}".encode()).decode()
    headers = {"Authorization": secret}
    async with world.client.get(f"{world.server.index}demo/", headers=headers) as answer:
        return answer.status


async def test_a_token_is_shown_once_works_and_ends_when_it_is_revoked(world: FaceWorld) -> None:
    status, text = await post(world, "/-/tokens", form())
    assert status == 200
    found = re.search(r'data-copyable="the token">([^<]+)<', text)
    assert found
    assert await reads(world, found[1]) == 200
    _, text = await world.get("/-/tokens", **{"X-User": "alice"})
    assert "alice/laptop" in text and found[1] not in text
    assert found[1] not in "\n".join(world.server.err.lines)
    _, others = await world.get("/-/tokens", **{"X-User": "bob"})
    assert "alice/laptop" not in others
    wanted = re.search(r'name="id" value="([^"]+)"', text)
    assert wanted
    await post(world, "/-/tokens/revoke", [("id", wanted[1])], **{"X-User": "bob"})
    assert await reads(world, found[1]) == 200  # it is not that of bob
    await post(world, "/-/tokens/revoke", [("id", wanted[1])])
    _, text = await world.get("/-/tokens", **{"X-User": "alice"})
    assert "alice/laptop" not in text


@pytest.mark.parametrize(
    "wrong",
    [
        form(scope="admin"),
        form(scope="read:*"),
        form(scope="read:main:*"),
        form(name="release"),  # to which the settings give more
        form(name="a/b"),
        form(name=""),
        form(name="<b>"),
        form(days="90"),  # longer than tokens may live
        form(days="100000"),
        form(days="-1"),
        [("name", "x"), ("days", "7")],
    ],
)
async def test_a_wrong_form_makes_no_token_and_says_why(
    world: FaceWorld, wrong: list[tuple[str, str]]
) -> None:
    status, text = await post(world, "/-/tokens", wrong)
    assert status == 200 and 'id="problem"' in text and "the token<" not in text
    assert "data-copyable" not in text
    assert "no valid token" in (await world.get("/-/tokens", **{"X-User": "alice"}))[1]


async def test_only_persons_and_only_our_own_forms_make_tokens(world: FaceWorld) -> None:
    _, text = await post(world, "/-/tokens", form())
    found = re.search(r'data-copyable="the token">([^<]+)<', text)
    assert found
    secret = "Basic " + b64encode(f"__token__:{found[1]}".encode()).decode()
    assert (await world.get("/-/tokens", Authorization=secret))[0] == 403
    assert (await world.get("/-/tokens"))[0] == 401
    for origin in ("http://evil.example.com", "http://127.0.0.1:1", "null", ""):
        status, _ = await post(world, "/-/tokens", form("second"), Origin=origin)
        assert status == 403
    assert "alice/second" not in (await world.get("/-/tokens", **{"X-User": "alice"}))[1]
