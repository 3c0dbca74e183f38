"""What pages show of files that upstream no longer lists."""

from __future__ import annotations

import pytest

from proxy.errors import NoSuchFile
from proxy.storage.mirror_records import NO_LONGER_LISTED
from tests.support.mirror_site import MirrorSite

ONE, TWO = "demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"


@pytest.mark.parametrize("offline", [False, True])
async def test_cached_files_removed_upstream_are_shown_as_yanked_if_set(
    site: MirrorSite, offline: bool
) -> None:
    old = site.add().content.read_bytes()
    site.add("2.0")
    async with site.open(vanished_files="show") as it:
        for file in (await it.page()).files:
            await it.read(file)
        await it.all_stored()
        site.upstream.remove(ONE)
        site.clock.advance(601)
        await it.page()
    async with site.open(vanished_files="show", offline=offline) as it:
        page = await it.page()
        assert [(file.filename, file.yanked) for file in page.files] == [
            (TWO, False),
            (ONE, NO_LONGER_LISTED),
        ]
        assert set(page.versions) >= {"1.0", "2.0"}
        assert await it.read(page.file(ONE)) == old


async def test_removed_files_are_hidden_by_default_and_still_served(site: MirrorSite) -> None:
    listed = site.add()
    site.add("2.0")
    async with site.open() as it:
        (file, _) = (await it.page()).files
        await it.read(file)
        await it.all_stored()
        site.upstream.remove(ONE)
        site.clock.advance(601)
        assert await it.names() == [TWO]
        assert await it.get(ONE, file.address_digest) == listed.content.read_bytes()


async def test_removed_files_that_are_not_cached_are_not_shown(site: MirrorSite) -> None:
    site.add()
    site.add("2.0")
    async with site.open(vanished_files="show") as it:
        await it.page()
        site.upstream.remove(ONE)
        site.clock.advance(601)
        assert await it.names() == [TWO]


async def test_one_that_is_shown_and_then_evicted_is_no_such_file(site: MirrorSite) -> None:
    site.add()
    site.add("2.0")
    async with site.open(vanished_files="show") as it:
        for file in (await it.page()).files:
            await it.read(file)
        await it.all_stored()
        site.upstream.remove(ONE)
        site.clock.advance(601)
        gone = (await it.page()).file(ONE)
        assert gone.yanked == NO_LONGER_LISTED
        await it.cache.store.delete(gone.address_digest)
        with pytest.raises(NoSuchFile):
            await it.read(gone)
