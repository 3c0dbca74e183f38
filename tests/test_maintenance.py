"""What people do to a cache, while a mirror is running on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.composition.cache import Cache, open_cache
from proxy.config.settings import Settings
from proxy.maintenance import (
    CachedFile,
    Stats,
    cached_files,
    pinned_files,
    purge,
    purge_everything,
    purge_file,
    stats,
    verify,
)
from proxy.storage.keys import Key, RecordKind
from proxy.storage.mirror_records import CachedFileRecord, CachedFiles
from tests.support.clock import Clock
from tests.support.content import random_bytes, sha256
from tests.support.mirror_site import DEMO, PAGE, MirrorSite
from tests.support.stored import stored_bytes, stored_keys, stored_path
from tests.support.upstream import Upstream
from tests.support.waiting import until

ONE, TWO = "demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"


@pytest.fixture
async def site(tmp_path: Path, clock: Clock) -> AsyncIterator[MirrorSite]:
    """Upstream has two files of ``demo`` and one of ``other``; all but the second are cached."""
    async with Upstream() as upstream:
        site = MirrorSite(tmp_path, upstream, clock)
        site.add("1.0", padding=1000)
        site.add("2.0")
        site.add("1.0", "other")
        async with site.open() as it:
            for project in (DEMO, "other"):
                file = (await it.page(project)).files[0]
                await it.read(file, "", project)
            await it.read((await it.page()).files[0], ".metadata")
        yield site
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, 5)


@pytest.fixture
async def cache(site: MirrorSite) -> AsyncIterator[Cache]:
    async with open_cache(Settings(cache_dir=site.cache_dir), site.clock) as cache:
        yield cache


def keys(cache: Cache) -> set[str]:
    return stored_keys(cache.folder / "blob")


def content(site: MirrorSite, filename: str = ONE) -> bytes:
    return site.upstream.shelf.files[filename].content.read_bytes()


async def test_stats_count_what_is_there(cache: Cache) -> None:
    size = stored_bytes(cache.folder / "blob")
    assert await stats(cache) == Stats(projects=2, files=3, size=size)


async def test_an_empty_cache_has_nothing(tmp_path: Path, clock: Clock) -> None:
    async with open_cache(Settings(cache_dir=tmp_path / "new"), clock) as cache:
        assert await stats(cache) == Stats(0, 0, 0)
        assert await cached_files(cache) == []
        assert (await verify(cache)).sound == 0
        assert await purge(cache, ["demo"]) == Stats(1, 0, 0, unknown=("demo",))
        assert await purge_everything(cache) == Stats(0, 0, 0)


async def test_holdings_are_listed_by_project(site: MirrorSite, cache: Cache) -> None:
    found = dict(await cached_files(cache))
    assert list(found) == [DEMO, "other"]
    assert [file.filename for file in found[DEMO]] == [ONE, ONE + ".metadata"]
    data = content(site)
    assert found[DEMO][0] == CachedFile(ONE, sha256(data), len(data))
    assert await cached_files(cache, ["other"]) == [("other", found["other"])]
    assert await cached_files(cache, ["nothing"]) == []


async def test_what_was_deleted_is_no_holding(site: MirrorSite, cache: Cache) -> None:
    await cache.store.delete(sha256(content(site)))
    ((_, files),) = await cached_files(cache, [DEMO])
    assert [file.filename for file in files] == [ONE + ".metadata"]


async def test_a_record_that_cannot_be_read_is_no_holding(cache: Cache) -> None:
    await cache.records.put(Key.parse("held/x/odd/-/odd-1.0.zip"), b"{")
    assert [project for project, _ in await cached_files(cache)] == [DEMO, "other"]


async def test_verify_drops_what_is_damaged_and_it_is_fetched_again(
    site: MirrorSite, cache: Cache
) -> None:
    data = content(site)
    path = stored_path(cache.folder / "blob", sha256(data))
    async with site.open() as it:
        file = (await it.page()).files[0]
        path.write_bytes(b"!" + data[1:])
        found = await verify(cache)
        assert (found.sound, list(found.damaged)) == (2, [sha256(data)])
        assert not path.exists()
        assert await it.read(file) == data
        await it.all_stored()
        assert path.read_bytes() == data
    assert (await verify(cache)).damaged == []


async def test_a_file_cut_short_is_damaged(site: MirrorSite, cache: Cache) -> None:
    path = stored_path(cache.folder / "blob", sha256(content(site)))
    path.write_bytes(content(site)[:100])
    assert (await verify(cache)).damaged == [path.name]


async def test_purging_a_project_leaves_nothing_of_it(site: MirrorSite, cache: Cache) -> None:
    before = await stats(cache)
    done = await purge(cache, [DEMO])
    assert (done.projects, done.files) == (1, 2)
    after = await stats(cache)
    assert (after.projects, after.files, after.size) == (1, 1, before.size - done.size)
    left = await cache.records.keys()
    assert [key for key in left if "demo" in key or sha256(content(site)) in key] == []
    assert [project for project, _ in await cached_files(cache)] == ["other"]


async def test_a_purged_project_is_fetched_again(site: MirrorSite, cache: Cache) -> None:
    await purge(cache, [DEMO])
    async with site.open() as it:
        assert await it.get(ONE, sha256(content(site))) == content(site)
    assert site.upstream.count(PAGE) == 2


async def test_a_running_mirror_forgets_what_is_purged(site: MirrorSite, cache: Cache) -> None:
    async with site.open() as it:
        file = (await it.page()).files[0]
        await purge(cache, [DEMO])
        it.mirror.forget(DEMO)
        assert await it.read(file) == content(site)
        assert await it.names() == [ONE, TWO]
    assert site.upstream.count(PAGE) == 2


async def test_files_that_other_projects_have_too_are_kept(site: MirrorSite, cache: Cache) -> None:
    digest = sha256(content(site))
    await CachedFiles(cache.records, "x").put(
        "other", digest, "o.zip", CachedFileRecord(digest, 5, 1.0)
    )
    await purge(cache, [DEMO])
    assert digest in keys(cache)
    await purge(cache, ["other"])
    assert keys(cache) == set()


async def test_purging_gives_a_private_name_up(cache: Cache) -> None:
    for name in ("demo", "demo-more"):
        await cache.records.put(Key.parse(f"claim/%2Fsrv%2Fpackages/{name}"), b"")
    await purge(cache, [DEMO])
    assert await cache.records.keys(RecordKind.CLAIM) == ["claim/%2Fsrv%2Fpackages/demo-more"]


async def test_purging_everything_keeps_what_is_known_of_private_files(cache: Cache) -> None:
    kept = ["claim/%2Fsrv%2Fpackages/demo", "local//srv/packages"]
    for key in kept:
        await cache.records.put(Key.parse(key), b"value")
    done = await purge_everything(cache)
    assert (done.projects, done.files) == (2, 3)
    assert await stats(cache) == Stats(0, 0, 0)
    left = await cache.records.keys()
    assert [key for key in left if not key.startswith("used/")] == kept


async def test_files_without_a_record_are_purged_with_everything(cache: Cache) -> None:
    data = random_bytes(100)
    cache.spool.mkdir(exist_ok=True)
    (cache.spool / "x").write_bytes(data)
    await cache.store.put(sha256(data), cache.spool / "x")
    assert (await purge_everything(cache)).files == 4


async def test_purges_are_announced(cache: Cache) -> None:
    await purge(cache, ["b", "a"])
    await purge_everything(cache)
    assert cache.purges.read_new() == ["a", "b", "*"]


async def test_a_purged_file_takes_its_metadata_along_and_leaves_the_page(cache: Cache) -> None:
    ((_, files),) = await cached_files(cache, [DEMO])
    wheel = next(each for each in files if each.filename.endswith(".whl"))
    pages = await cache.records.keys(RecordKind.PAGE)
    done = await purge_file(cache, DEMO, wheel.filename)
    assert done.files == len([each for each in files if each.filename.startswith(wheel.filename)])
    assert wheel.sha256 not in keys(cache)
    assert await cache.records.keys(RecordKind.PAGE) == pages
    assert (cache.refreshes.read_new(), cache.purges.read_new()) == ([DEMO], [])
    assert (await purge_file(cache, DEMO, wheel.filename)).files == 0
    assert (await purge_file(cache, DEMO, "../x")).files == 0


async def test_bytes_that_another_file_has_too_stay_when_one_is_purged(
    site: MirrorSite, cache: Cache
) -> None:
    digest = sha256(content(site))
    await CachedFiles(cache.records, "x").put(
        "other", digest, "o.zip", CachedFileRecord(digest, 5, 1.0)
    )
    ((_, files),) = await cached_files(cache, [DEMO])
    named = next(each.filename for each in files if each.sha256 == digest)
    await purge_file(cache, DEMO, named)
    assert digest in keys(cache)


async def test_pinned_files_are_listed_by_name(cache: Cache) -> None:
    ((_, files),) = await cached_files(cache, [DEMO])
    await cache.pins.pin([files[0].sha256])
    assert dict(await pinned_files(cache))[DEMO] == [files[0].filename]
