"""Tokens in an object store: made by a command on any machine, they count on all replicas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.access import basic
from tests.support.replicas import SharedStore, Wheels, get
from tests.support.running import Running, waystation
from tests.support.upstream import Upstream
from tests.support.waiting import until

pytestmark = pytest.mark.slow

PAGE = "/simple/foo/"


@pytest.fixture
def config(tmp_path: Path, wheels: Wheels) -> Path:
    wheels.add("foo")
    path = tmp_path / "access.toml"
    path.write_text("[access]\n")
    return path


async def token(store: SharedStore, config: Path, *arguments: str) -> str:
    """What the command prints, as run on a machine of its own."""
    given = ("--config", config, "--cache-dir", config.parent / "machine")
    done = await waystation("token", *arguments, *given, cwd=config.parent, **store.variables())
    return done.succeeded().out.strip()


async def status(server: Running, secret: str) -> int:
    return (await get(server, PAGE, {"Authorization": basic(secret)})).status


async def test_a_token_counts_on_all_replicas_until_it_is_revoked(
    shared: SharedStore, upstream: Upstream, config: Path
) -> None:
    async with (
        shared.replica(upstream, "--config", config) as one,
        shared.replica(upstream, "--config", config) as other,
    ):
        secret = await token(shared, config, "create", "--name", "ci", "--scope", "read:*")
        assert [await status(each, secret) for each in (one, other)] == [200, 200]
        successor = await token(shared, config, "rotate", "--name", "ci")
        for server in (one, other):
            await until(lambda server=server: _refuses(server, secret))  # type: ignore[misc]
            assert await status(server, successor) == 200
        (listed,) = json.loads(await token(shared, config, "list", "--json"))
        await token(shared, config, "revoke", listed["id"])
        for server in (one, other):
            await until(lambda server=server: _refuses(server, successor))  # type: ignore[misc]
    assert not list(config.parent.glob("**/tokens.sqlite"))


async def test_known_tokens_stay_valid_while_the_store_is_away(
    frail: SharedStore, upstream: Upstream, config: Path
) -> None:
    secret = await token(frail, config, "create", "--name", "ci", "--scope", "read:*")
    later = await token(frail, config, "create", "--name", "later", "--scope", "read:*")
    async with frail.replica(upstream, "--config", config) as server:
        assert await status(server, secret) == 200
        frail.server.kill()
        assert await status(server, later) == 200
        async with frail.replica(upstream, "--config", config) as started:
            assert await status(started, secret) == 503
            frail.server.start()
            await until(lambda: _accepts(started, secret))


async def _refuses(server: Running, secret: str) -> bool:
    return await status(server, secret) == 401


async def _accepts(server: Running, secret: str) -> bool:
    return await status(server, secret) == 200
