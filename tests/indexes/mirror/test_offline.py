"""Offline mode: only cached pages and files are served, without a request to upstream."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.errors import NoSuchFile, NoSuchProject
from proxy.events import Outcome
from proxy.model import File
from proxy.storage.keys import RecordKind
from tests.support.mirror_site import DEMO, MirrorSite
from tests.support.network import connections
from tests.support.upstream import Fault

HIT = Outcome.HIT
ONE, TWO = "demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"


async def warmed(site: MirrorSite, **listed: Any) -> tuple[File, File]:
    """Two files on a stored page, of which the first is cached; upstream has stopped."""
    site.add("1.0", **listed)
    site.add("2.0", **listed)
    async with site.open() as it:
        one, two = (await it.page()).files
        await it.read(one)
    site.upstream.requests.clear()
    await site.upstream.stop()
    site.clock.advance(365 * 86400)
    return one, two


async def test_pages_list_the_cached_files_of_any_age(site: MirrorSite) -> None:
    one, _ = await warmed(site)
    with connections() as seen:
        async with site.open(offline=True) as it:
            page = await it.page()
            assert [file.filename for file in page.files] == [ONE]
            assert page.fresh_until and page.fresh_until > site.clock()
            assert await it.mirror.projects() == {DEMO}
            assert len(await it.read(one)) == one.size
            assert it.last is HIT
            assert it.outcomes == [HIT]
    assert seen == []


@pytest.mark.parametrize("hashes", [("sha512",), ("md5",), ()])
async def test_files_without_sha256_are_listed_if_they_are_cached(
    site: MirrorSite, hashes: tuple[str, ...]
) -> None:
    one, two = await warmed(site, hashes=hashes)
    async with site.open(offline=True) as it:
        assert await it.names() == [ONE]
        assert await it.read(one)
        with pytest.raises(NoSuchFile):
            await it.read(two)
        for key in it.stored:
            await it.cache.store.delete(key)
        assert await it.names() == []


async def test_all_files_can_be_listed_on_demand(site: MirrorSite) -> None:
    await warmed(site)
    async with site.open(offline=True, offline_list_all=True) as it:
        assert await it.names() == [ONE, TWO]


async def test_a_file_that_is_not_cached_is_absent_at_once_with_the_reason(
    site: MirrorSite,
) -> None:
    _, two = await warmed(site)
    with connections() as seen:
        async with asyncio.timeout(5), site.open(offline=True) as it:
            with pytest.raises(NoSuchFile, match="not in the offline cache"):
                await it.read(two)
            with pytest.raises(NoSuchFile, match="not in the offline cache"):
                await it.read(two, ".metadata")
            with pytest.raises(NoSuchFile):
                await it.get("demo-3.0-py3-none-any.whl", two.address_digest)
            with pytest.raises(NoSuchProject, match="offline, and the cache has no page of it"):
                await it.page("other")
            with pytest.raises(NoSuchProject, match="offline, and the cache has no page of it"):
                await it.get("other-1.0-py3-none-any.whl", two.address_digest, "other")
    assert seen == []


async def test_metadata_that_are_not_cached_are_read_from_the_cached_wheel(
    site: MirrorSite,
) -> None:
    one, _ = await warmed(site)
    async with site.open(offline=True) as it:
        text = await it.read(one, ".metadata")
        assert text.startswith(b"Metadata-Version:")
        assert one.metadata


async def test_provenance_is_there_if_it_was_asked_for_before(site: MirrorSite) -> None:
    site.add("1.0", provenance={"version": 1})
    site.add("2.0", provenance={"version": 2})
    async with site.open() as it:
        one, two = (await it.page()).files
        await it.read(one, ".provenance")
    site.clock.advance(86400)
    with connections() as seen:
        async with site.open(offline=True) as it:
            assert await it.read(one, ".provenance") == b'{"version": 1}'
            with pytest.raises(NoSuchFile, match="not in the offline cache"):
                await it.read(two, ".provenance")
    assert seen == []


async def test_what_was_once_listed_is_there_offline(site: MirrorSite) -> None:
    one, _ = await warmed(site)
    async with site.open() as it:
        for key in await it.cache.records.keys(RecordKind.PAGE):
            await it.cache.records.forget(key)
    async with site.open(offline=True) as it:
        assert len(await it.read(one)) == one.size


async def test_what_must_be_revalidated_is_good_enough_offline(site: MirrorSite) -> None:
    site.upstream.cache_control = "max-age=0, must-revalidate"
    await warmed(site)
    async with site.open(offline=True) as it:
        assert await it.names() == [ONE]


async def test_a_file_that_a_running_server_stores_is_listed_soon(site: MirrorSite) -> None:
    _, two = await warmed(site)
    await site.upstream.start()
    async with site.open(offline=True) as it:
        assert await it.names() == [ONE]
        async with site.open() as online:
            await online.read(two)
        assert await it.names() == [ONE, TWO]


async def test_the_same_pages_serve_online_again(site: MirrorSite) -> None:
    await warmed(site)
    async with site.open(offline=True) as it:
        await it.page()
    await site.upstream.start()
    site.upstream.fault("/simple/", Fault(status=500), times=1)
    async with site.open(stale_if_error=2 * 365 * 86400) as it:
        assert await it.names() == [ONE, TWO]


async def test_an_address_without_digest_is_absent_with_the_reason(site: MirrorSite) -> None:
    site.add(hashes=())
    async with site.open() as it:
        await it.page()
    async with site.open(offline=True) as it:
        with pytest.raises(NoSuchFile, match="not in the offline cache"):
            await it.get("demo-1.0-py3-none-any.whl", "-")
