"""Links that are signed for a short time: an expired one is replaced in the same request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.errors import NoSuchFile, UpstreamError, UpstreamRefused
from proxy.indexes.mirror.lazy_download import LazyDownload
from proxy.model import File
from tests.support.distributions import wheel_metadata
from tests.support.mirror_site import DEMO, PAGE, MirrorSite, OpenMirror
from tests.support.upstream import Fault

NAME = "demo-1.0-py3-none-any.whl"
META, PROOF = ".metadata", ".provenance"
DOWN = Fault(status=503)
REFUSALS = [400, 401, 403, 404, 410]


async def expired(
    site: MirrorSite, it: OpenMirror, status: int, **listed: Any
) -> tuple[File, bytes]:
    """A file whose link on our page is refused, while upstream's page has another one."""
    data = site.add(padding=200_000, provenance={"version": 1}, **listed).content.read_bytes()
    site.upstream.address = site.upstream.files_url.replace("/files/", "/old/")
    site.upstream.fault("/old/", Fault(status=status))
    (file,) = (await it.page()).files
    site.upstream.address = None
    site.clock.advance(5)
    return file, data


@pytest.mark.parametrize("status", REFUSALS)
async def test_the_new_link_is_used_in_the_same_request(site: MirrorSite, status: int) -> None:
    async with site.open() as it:
        file, data = await expired(site, it, status)
        assert await it.read(file) == data
        assert site.upstream.count(PAGE) == 2


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("suffix", [META, PROOF])
async def test_siblings_have_links_as_well(site: MirrorSite, status: int, suffix: str) -> None:
    async with site.open() as it:
        file, _ = await expired(site, it, status)
        got = await it.read(file, suffix)
        wanted = wheel_metadata(site.root / "dist" / NAME)
        assert got == (wanted if suffix == META else b'{"version": 1}')
        assert site.upstream.count(PAGE) == 2
        assert not site.upstream.count(NAME, "HEAD")
        assert site.upstream.of("/files/")[0].path.endswith(suffix)


@pytest.mark.parametrize("status", REFUSALS)
async def test_so_does_a_question_for_the_length(site: MirrorSite, status: int) -> None:
    async with site.open() as it:
        file, data = await expired(site, it, status, size=False)
        artifact = await it.mirror.file(DEMO, NAME, file.address_digest)
        assert isinstance(artifact.blob, LazyDownload)
        assert await artifact.blob.size_without_download() == len(data)
        assert site.upstream.count(PAGE) == 2


async def test_a_page_that_says_that_it_is_unchanged_is_not_asked_whether_it_is(
    site: MirrorSite,
) -> None:
    site.upstream.page_headers = {"ETag": '"always the same"'}
    async with site.open() as it:
        file, data = await expired(site, it, 403)
        assert await it.read(file) == data
        assert "If-None-Match" not in site.upstream.of(PAGE)[1].headers


async def test_concurrent_requests_share_one_page_and_one_download(site: MirrorSite) -> None:
    async with site.open() as it:
        file, data = await expired(site, it, 403)
        got = await asyncio.gather(*(it.read(file) for _ in range(10)))
        assert set(got) == {data}
        assert (site.upstream.count(PAGE), site.upstream.count("/files/")) == (2, 1)


async def test_the_wheel_that_metadata_is_read_from_needs_no_third_page(site: MirrorSite) -> None:
    async with site.open() as it:
        file, _ = await expired(site, it, 403)
        site.upstream.fault(META, Fault(status=403))
        assert await it.read(file, META) == wheel_metadata(site.root / "dist" / NAME)
        assert site.upstream.count(PAGE) == 2


async def test_a_link_that_expires_while_a_download_is_interrupted_is_replaced(
    site: MirrorSite,
) -> None:
    data = site.add(padding=1_000_000).content.read_bytes()
    site.upstream.address = site.upstream.files_url.replace("/files/", "/old/")
    async with site.open() as it:
        (file,) = (await it.page()).files
        path = site.upstream.shelf.files[NAME].path
        site.upstream.fault(
            "/old/",
            Fault(body=data, truncate=500_000, headers={"ETag": '"a"'}),
            times=1,
        )
        site.upstream.fault("/old/", Fault(status=403))
        site.upstream.address = None
        site.clock.advance(5)
        assert await it.read(file) == data
        assert site.upstream.count(path) >= 3
        assert site.upstream.count(PAGE) == 2


@pytest.mark.parametrize("status", REFUSALS)
async def test_a_link_that_the_page_still_has_is_not_tried_again(
    site: MirrorSite, status: int
) -> None:
    site.add()
    async with site.open() as it:
        (file,) = (await it.page()).files
        site.upstream.fault("/files/", Fault(status=status))
        site.clock.advance(5)
        with pytest.raises((UpstreamRefused, NoSuchFile)):
            await it.read(file)
        assert (site.upstream.count(PAGE), site.upstream.count("/files/")) == (2, 1)


async def test_a_file_that_the_page_does_not_list_any_more_is_absent(site: MirrorSite) -> None:
    async with site.open() as it:
        file, _ = await expired(site, it, 403)
        site.add("2.0")
        site.upstream.remove(NAME)
        with pytest.raises(NoSuchFile):
            await it.read(file)
        assert site.upstream.count(PAGE) == 2


async def test_while_the_page_fails_the_refusal_is_reported(site: MirrorSite) -> None:
    async with site.open() as it:
        file, _ = await expired(site, it, 403)
        site.upstream.fault(PAGE, DOWN)
        with pytest.raises(UpstreamRefused, match="403"):
            await it.read(file)


async def test_other_errors_are_none_of_the_link(site: MirrorSite) -> None:
    async with site.open() as it:
        file, _ = await expired(site, it, 451)
        with pytest.raises(UpstreamError, match="451"):
            await it.read(file)
        assert site.upstream.count(PAGE) == 1
