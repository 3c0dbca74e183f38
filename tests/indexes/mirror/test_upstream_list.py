"""The project list of an upstream: fetched whole, kept on disk, and combined without memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.composition.proxy import Proxy, open_proxy
from proxy.config import load_settings
from proxy.indexes import LongList, listed_projects
from proxy.model import ProjectName
from proxy.runtime import compress
from proxy.storage import NameList, write_name_list
from tests.support.clock import Clock
from tests.support.distributions import make_wheel
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
NAMES = ["zope", "Foo.Bar", "aaa", "acme-secret", "foo_bar"]


def name_list(path: Path, names: list[str]) -> NameList:
    parts: dict[str, bytearray] = {}
    for name in names:
        parts.setdefault(name[0], bytearray()).extend(name.encode() + b"\n")
    write_name_list(path, parts)
    return NameList(path)


def test_a_name_list_is_a_sorted_set(tmp_path: Path) -> None:
    names = [f"project-{number}" for number in range(1000)] + ["a", "0", "zz", "a"]
    found = name_list(tmp_path / "names", names)
    assert list(found) == sorted(set(names))
    assert len(found) == 1003
    assert all(name in found for name in names)
    for absent in ("", "b", "project-", "project-1000", "zzz", "a\nb", "ä", 3):
        assert absent not in found


def test_a_name_list_stays_usable_when_it_is_replaced(tmp_path: Path) -> None:
    first = name_list(tmp_path / "names", ["a"])
    second = name_list(tmp_path / "names", ["b"])
    assert (list(first), list(second)) == (["a"], ["b"])
    assert first.version != second.version


def test_long_lists_are_united_and_filtered_without_being_in_memory(tmp_path: Path) -> None:
    many = name_list(tmp_path / "names", [f"p{number:07}" for number in range(200_000)])
    tracemalloc.start()
    names = LongList([(many, lambda name: True), ({"a", "p0000001"}, lambda name: True)])
    names = names.only(lambda name: name != "p0000002")
    assert sum(1 for _ in names) == 200_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert "a" in names
    assert "p0000002" not in names


class Listing:
    def __init__(self, root: Path, upstream: Upstream, clock: Clock) -> None:
        self.root, self.upstream, self.clock = root, upstream, clock
        make_wheel(root / "packages", "acme-secret", "1.0")
        self.offer([{"name": name} for name in NAMES])

    def offer(self, projects: list[dict[str, Any]], **more: Any) -> None:
        body = json.dumps({"meta": {"api-version": "1.0"}, "projects": projects}).encode()
        self.serve(body, JSON_TYPE, **more)

    def serve(self, body: bytes, content_type: str, **headers: str) -> None:
        fault = Fault(body=body, content_type=content_type, headers={"ETag": '"1"', **headers})
        self.upstream.heal()
        self.upstream.fault("/simple/", fault)

    @asynccontextmanager
    async def open(self, **more: Any) -> AsyncIterator[Proxy]:
        tables = {
            "private": {"kind": "local", "path": str(self.root / "packages")},
            "world": {"kind": "mirror", "url": self.upstream.url, "reserved": ["acme-*"]},
            "main": {"kind": "fallthrough", "of": ["private", "world"]},
        }
        known = {"cache_dir": self.root / "cache", "retries": 0, "list_upstream": True}
        settings = {"indexes": tables, "netrc": False, "speculate": "off", **known, **more}
        async with open_proxy(load_settings(settings).settings, self.clock) as proxy:
            yield proxy

    async def names(self, proxy: Proxy) -> list[ProjectName]:
        return sorted(await listed_projects(proxy.index))


@pytest.fixture
async def listing(tmp_path: Path, clock: Clock) -> AsyncIterator[Listing]:
    async with Upstream() as upstream:
        yield Listing(tmp_path, upstream, clock)


async def test_upstream_projects_are_listed_by_the_rules_of_the_index(listing: Listing) -> None:
    async with listing.open() as proxy:
        assert await listing.names(proxy) == ["aaa", "acme-secret", "foo-bar", "zope"]
        world = proxy.indexes["world"]
        assert sorted(await listed_projects(world)) == ["aaa", "foo-bar", "zope"]
        assert await proxy.index.projects() == {"acme-secret"}
    assert listing.upstream.count() == 1


async def test_by_default_upstream_is_not_asked(listing: Listing) -> None:
    async with listing.open(list_upstream=False) as proxy:
        assert await listing.names(proxy) == ["acme-secret"]
    assert listing.upstream.requests == []


async def test_the_list_is_revalidated_after_an_hour_in_the_background(listing: Listing) -> None:
    async with listing.open() as proxy:
        await listing.names(proxy)
        await listing.names(proxy)
        listing.clock.advance(3601)
        listing.offer([{"name": "new"}])
        assert "aaa" in await listing.names(proxy)
        await until(lambda: listing.upstream.count() == 2, 5)

        async def is_new() -> bool:
            return await listing.names(proxy) == ["acme-secret", "new"]

        await until(is_new, 5)
    assert listing.upstream.of()[1].headers["If-None-Match"] == '"1"'


async def test_a_list_that_is_not_modified_stays(listing: Listing) -> None:
    async with listing.open() as proxy:
        before = await listing.names(proxy)
        listing.clock.advance(3601)
        listing.upstream.heal()
        listing.upstream.fault("/simple/", Fault(status=304, body=b""))
        await listing.names(proxy)
        await until(lambda: listing.upstream.count() == 2, 5)
        assert await listing.names(proxy) == before
        assert await listing.names(proxy) == before
    assert listing.upstream.count() == 2


async def test_another_process_and_a_restart_use_the_list_on_disk(listing: Listing) -> None:
    async with listing.open() as proxy:
        before = await listing.names(proxy)
    async with listing.open() as proxy:
        assert await listing.names(proxy) == before
    async with listing.open(offline=True) as proxy:
        assert await listing.names(proxy) == before
    assert listing.upstream.count() == 1


@pytest.mark.parametrize("status", [404, 500])
async def test_an_upstream_that_fails_leaves_the_rest(listing: Listing, status: int) -> None:
    listing.upstream.heal()
    listing.upstream.fault("/simple/", Fault(status=status))
    async with listing.open() as proxy:
        for _ in range(3):
            assert await listing.names(proxy) == ["acme-secret"]
    assert listing.upstream.count() == 1


HTML = b"<html><body><a href='x/'>aaa</a><A\nclass=b HREF=y >\n Foo.Bar </A><a>&lt;b</a></body>"


@pytest.mark.parametrize(
    ("body", "kind", "headers"),
    [
        (HTML, "text/html", {}),
        (compress(HTML), "text/html", {"Content-Encoding": "gzip"}),
        (b'{"projects":[{"name":"aaa"},{"name" : "foo_bar","x":1},{"name":"-"}]}', JSON_TYPE, {}),
        (b'{"projects":[{"name":"aaa"},{"name":"foo_bar"},{"name":"a/b"}', JSON_TYPE, {}),
    ],
)
async def test_lists_of_all_forms_are_read_and_what_is_no_name_is_left_out(
    listing: Listing, body: bytes, kind: str, headers: dict[str, str]
) -> None:
    listing.serve(body, kind, **headers)
    async with listing.open() as proxy:
        assert await listing.names(proxy) == ["aaa", "acme-secret", "foo-bar"]


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"\x89PNG", compress(b"x")[:5]])
async def test_what_is_no_list_changes_nothing(listing: Listing, body: bytes) -> None:
    async with listing.open() as proxy:
        before = await listing.names(proxy)
        listing.clock.advance(3601)
        listing.serve(body, JSON_TYPE)
        await listing.names(proxy)
        await until(lambda: listing.upstream.count() == 2, 5)
        assert await listing.names(proxy) == before
