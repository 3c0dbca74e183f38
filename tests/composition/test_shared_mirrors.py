"""Several indexes of one upstream: one cache, each index with rules and settings of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.composition.proxy import Proxy, open_proxy
from proxy.config.settings import Settings
from proxy.errors import NoSuchProject
from proxy.indexes import Index
from proxy.model import ProjectName
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.distributions import make_wheel
from tests.support.upstream import Upstream
from tests.support.waiting import until

FOO = ProjectName("foo")


class SharedUpstream:
    def __init__(self, root: Path, upstream: Upstream, clock: Clock) -> None:
        self.root = root
        self.upstream = upstream
        self.clock = clock
        upstream.add(make_wheel(root / "dist", FOO, "1.0"))

    def mirror(self, **more: Any) -> dict[str, Any]:
        return {"kind": "mirror", "url": self.upstream.url, **more}

    @asynccontextmanager
    async def open(self, **indexes: Any) -> AsyncIterator[Proxy]:
        settings = Settings(
            cache_dir=self.root / "cache",
            retries=0,
            speculate="off",
            shutdown_grace=10.0,
            indexes=indexes,
        )
        async with open_proxy(settings, self.clock) as proxy:
            yield proxy


@pytest.fixture
async def shared(tmp_path: Path, clock: Clock) -> AsyncIterator[SharedUpstream]:
    async with Upstream() as upstream:
        yield SharedUpstream(tmp_path, upstream, clock)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, 5)


async def read(index: Index) -> bytes:
    (file,) = (await index.page(FOO)).files
    return await read_blob((await index.file(FOO, file.filename, file.address_digest)).blob)


async def test_indexes_of_one_upstream_share_its_pages_and_files(shared: SharedUpstream) -> None:
    async with shared.open(main=shared.mirror(), fast=shared.mirror()) as proxy:
        one, other = proxy.indexes["main"], proxy.indexes["fast"]
        pages = await asyncio.gather(*(index.page(FOO) for index in (one, other) * 5))
        assert len(set(await asyncio.gather(read(one), read(other)))) == 1
        assert all(page == pages[0] for page in pages)
        assert len(proxy.mirrors) == 1
        assert [one.name, other.name] == ["main", "fast"]
    assert shared.upstream.count("/simple/foo/") == 1
    assert shared.upstream.count("/files/") == 1


async def test_each_has_rules_of_its_own(shared: SharedUpstream) -> None:
    tables = {"main": shared.mirror(reserved=["fo*"]), "fast": shared.mirror()}
    async with shared.open(**tables) as proxy:
        for _ in range(2):  # whatever the other has fetched by now
            with pytest.raises(NoSuchProject):
                await proxy.indexes["main"].page(FOO)
            with pytest.raises(NoSuchProject):
                await proxy.indexes["main"].file(FOO, "foo-1.0-py3-none-any.whl")
            assert (await proxy.indexes["fast"].page(FOO)).files
            assert await proxy.indexes["main"].projects() == set()
        assert len(proxy.mirrors) == 1


@pytest.mark.parametrize(
    "more", [{"page_ttl": 60}, {"missing_statuses": [403]}, {"file_hosts": ["a.example.com"]}]
)
async def test_other_settings_mean_a_mirror_of_its_own_on_the_same_cache(
    shared: SharedUpstream, more: dict[str, Any]
) -> None:
    async with shared.open(main=shared.mirror(), other=shared.mirror(**more)) as proxy:
        await proxy.indexes["main"].page(FOO)
        assert len(proxy.mirrors) == 2
    async with shared.open(main=shared.mirror(**more)) as proxy:
        await proxy.indexes["main"].page(FOO)
    assert shared.upstream.count("/simple/foo/") == 1


async def test_a_setting_that_repeats_what_is_inherited_changes_nothing(
    shared: SharedUpstream,
) -> None:
    async with shared.open(main=shared.mirror(), same=shared.mirror(retries=0)) as proxy:
        assert len(proxy.mirrors) == 1


async def test_other_credentials_share_nothing(shared: SharedUpstream) -> None:
    user = {"username": "me", "password": "secret"}
    async with shared.open(main=shared.mirror(), mine=shared.mirror(**user)) as proxy:
        await proxy.indexes["main"].page(FOO)
        await proxy.indexes["mine"].page(FOO)
        assert len(proxy.mirrors) == 2
    first, second = shared.upstream.of("/simple/foo/")
    assert "Authorization" not in first.headers
    assert "Authorization" in second.headers


async def test_the_settings_of_a_table_are_in_force_for_its_upstream_alone(
    shared: SharedUpstream,
) -> None:
    tables = {"main": shared.mirror(), "quick": shared.mirror(page_ttl=60)}
    async with shared.open(**tables) as proxy:
        assert (await proxy.indexes["main"].page(FOO)).fresh_until == shared.clock() + 600
        assert (await proxy.indexes["quick"].page(FOO)).fresh_until == shared.clock() + 60


async def test_an_explanation_calls_each_index_by_its_own_name(shared: SharedUpstream) -> None:
    """The mirror that they share has the name of one of them."""
    main = {"kind": "fallthrough", "of": ["strict", "open"]}
    strict = shared.mirror(reserved=["fo*"])
    async with shared.open(strict=strict, open=shared.mirror(), main=main) as proxy:
        assert (await proxy.index.page(FOO)).files
        steps = (await proxy.index.explain(FOO)).steps
        assert [(step.index, step.result) for step in steps] == [
            ("main", None),
            ("strict", "absent"),
            ("open", "answers"),
        ]
        with pytest.raises(NoSuchProject):
            await proxy.index.page(ProjectName("bar"))
        found = await proxy.index.explain(ProjectName("bar"))
        assert [step.result for step in found.steps] == [None, "absent", "absent"]
    async with shared.open(strict=strict, open=shared.mirror(), main=main) as proxy:
        found = await proxy.index.explain(ProjectName("bar"))
        assert found.result == "unknown"  # it was not requested since the start
