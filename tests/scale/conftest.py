"""An upstream with wheels, and an object store that replicas share."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.replicas import SharedStore, Wheels
from tests.support.seaweedfs import ObjectServer, object_server
from tests.support.upstream import Upstream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
def wheels(upstream: Upstream, tmp_path: Path) -> Wheels:
    return Wheels(upstream, tmp_path)


@pytest.fixture
def shared(shared_object_server: ObjectServer, tmp_path: Path) -> SharedStore:
    return SharedStore(shared_object_server, secrets.token_hex(8), tmp_path)


@pytest.fixture(scope="session")
def frail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """An object store that tests kill, stop and start again."""
    with object_server(tmp_path_factory.mktemp("frail-server")) as server:
        yield server


@pytest.fixture
def frail(frail_server: ObjectServer, tmp_path: Path) -> Iterator[SharedStore]:
    """A part of the store that may be killed and stopped; it runs again afterwards."""
    frail_server.heal()
    yield SharedStore(frail_server, secrets.token_hex(8), tmp_path)
    frail_server.heal()


@pytest.fixture(params=["files-alone", "with-redis"])
def records(request: pytest.FixtureRequest) -> dict[str, str]:
    """More keys of ``[storage]``: replicas share their records too, or not."""
    if request.param == "files-alone":
        return {}
    return {"records": request.getfixturevalue("redis_url")}
