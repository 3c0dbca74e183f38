"""Policies of indexes of every kind, from their tables to a running proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.composition import open_proxy, resolve_tree
from proxy.composition.proxy import Proxy
from proxy.config import load_settings
from proxy.errors import Denied
from proxy.events import Event, Events, PageChanged
from proxy.model import ProjectName
from tests.support.clock import Clock
from tests.support.distributions import make_wheel
from tests.support.policies import upload_time
from tests.support.upstream import Upstream

OPEN, PRIVATE = ProjectName("open"), ProjectName("private")
DAY = 86400.0
WEEK = {"kind": "cooldown", "age": "7d"}


@pytest.fixture
async def upstream(tmp_path: Path, clock: Clock) -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        for version, age in (("1.0", 30 * DAY), ("2.0", DAY)):
            wheel = make_wheel(tmp_path / "dist", "open", version)
            running.add(wheel, uploaded=upload_time(clock() - age))
        yield running


@asynccontextmanager
async def opened(root: Path, clock: Clock, **given: Any) -> AsyncIterator[Proxy]:
    known = {"cache_dir": str(root / "cache"), "speculate": "off", "netrc": False}
    settings = load_settings({**known, **given}, None, resolve_tree).settings
    async with open_proxy(settings, clock) as proxy:
        yield proxy


def tables(root: Path, upstream: Upstream) -> dict[str, Any]:
    """A directory with a young private project, an upstream, and both as one."""
    make_wheel(root / "packages", "private", "1.0")
    return {
        "local": {"kind": "local", "path": str(root / "packages")},
        "world": {"kind": "mirror", "url": upstream.url},
        "main": {"kind": "fallthrough", "of": ["local", "world"]},
    }


async def shown(proxy: Proxy, index: str = "main", project: ProjectName = OPEN) -> list[str]:
    page = await proxy.indexes[index].page(project)
    return [file.filename.split("-")[1] for file in page.files]


async def test_the_policies_of_an_index_bind_it_and_those_that_are_made_of_it(
    tmp_path: Path, clock: Clock, upstream: Upstream
) -> None:
    indexes = tables(tmp_path, upstream)
    indexes["world"]["policies"] = ["week"]
    async with opened(tmp_path, clock, indexes=indexes, policies={"week": WEEK}) as proxy:
        for index in ("world", "main"):
            assert await shown(proxy, index) == ["1.0"]
        assert await shown(proxy, "main", PRIVATE) == ["1.0"], "private files do not wait"
        for digest in (None, "-"):
            with pytest.raises(Denied, match=r"Refused by rule week: open 2\.0 is of"):
                await proxy.index.file(OPEN, "open-2.0-py3-none-any.whl", digest)
    assert upstream.count("/files/") == 0


async def test_policies_of_a_directory_and_of_an_index_of_others(
    tmp_path: Path, clock: Clock, upstream: Upstream
) -> None:
    indexes = tables(tmp_path, upstream)
    indexes["local"]["policies"] = ["none"]
    indexes["main"]["policies"] = ["newest"]
    policies = {
        "none": {"kind": "deny", "projects": ["private"], "show": "hide"},
        "newest": {"kind": "files", "latest": 1},
    }
    async with opened(tmp_path, clock, indexes=indexes, policies=policies) as proxy:
        assert await shown(proxy) == ["2.0"]
        assert await shown(proxy, "world") == ["1.0", "2.0"]
        for index in ("local", "main"):
            with pytest.raises(Denied):  # and the name is not requested from upstream
                await shown(proxy, index, PRIVATE)
    assert upstream.count("/private/") == 0


async def test_inner_and_outer_policies_add_up(
    tmp_path: Path, clock: Clock, upstream: Upstream
) -> None:
    indexes = tables(tmp_path, upstream)
    indexes["world"]["policies"] = ["week"]
    indexes["main"]["policies"] = ["old"]
    policies = {"week": WEEK, "old": {"kind": "deny", "versions": {"open": "<2"}, "show": "hide"}}
    async with opened(tmp_path, clock, indexes=indexes, policies=policies) as proxy:
        assert await shown(proxy) == []
        page = await proxy.index.page(OPEN)
        assert page.not_after == clock() + 6 * DAY
        clock.advance(6 * DAY)
        assert await shown(proxy) == ["2.0"]


async def test_an_index_as_of_an_instant(tmp_path: Path, clock: Clock, upstream: Upstream) -> None:
    indexes = tables(tmp_path, upstream)
    for name in ("world", "main"):
        indexes[f"{name}-then"] = indexes[name] | {"as_of": upload_time(clock() - 2 * DAY)}
    async with opened(tmp_path, clock, indexes=indexes) as proxy:
        for name in ("world", "main"):
            assert await shown(proxy, name) == ["1.0", "2.0"]
            assert await shown(proxy, f"{name}-then") == ["1.0"]
    assert upstream.count("/simple/open/") == 1


async def test_the_short_form_is_the_tree_of_the_long_form(
    tmp_path: Path, clock: Clock, upstream: Upstream
) -> None:
    (tmp_path / "packages").mkdir()
    exempt = [{"policy": ["cooldown"], "project": "open", "forever": True, "reason": "ours"}]
    short = {"packages": str(tmp_path / "packages"), "upstream": upstream.url, "cooldown": "7d"}
    long = {
        "indexes": {
            "private": {"kind": "local", "path": str(tmp_path / "packages")},
            "upstream": {"kind": "mirror", "url": upstream.url, "policies": ["cooldown"]},
            "main": {"kind": "fallthrough", "of": ["private", "upstream"]},
        },
        "policies": {"cooldown": WEEK},
    }
    for given in (short, long):
        async with opened(tmp_path, clock, **given) as proxy:
            assert await shown(proxy) == ["1.0"]
        async with opened(tmp_path, clock, exempt=exempt, **given) as proxy:
            assert await shown(proxy) == ["1.0", "2.0"]


async def test_a_new_epoch_outdates_the_pages_of_all_or_of_some_projects(
    tmp_path: Path, clock: Clock, upstream: Upstream
) -> None:
    heard: list[ProjectName | None] = []

    def note(event: Event) -> None:
        if isinstance(event, PageChanged):
            heard.append(event.project)

    given = {"cache_dir": str(tmp_path / "cache"), "upstream": upstream.url}
    async with open_proxy(load_settings(given).settings, clock, Events(note)) as proxy:
        heard.clear()
        before = proxy.epoch()
        proxy.epoch.grow()
        proxy.epoch.grow([OPEN, PRIVATE])
        assert proxy.epoch() == before + 2
        assert heard == [None, OPEN, PRIVATE]
