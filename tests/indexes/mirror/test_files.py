"""The files of a mirror: cached, fetched, no longer listed, vanished, wrong."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import Denied, DigestMismatch, NoSuchFile, NoSuchProject, UpstreamError
from proxy.events import Outcome
from proxy.indexes.mirror.lazy_download import LazyDownload
from proxy.model import File
from proxy.storage.keys import RecordKind
from tests.support.content import read_blob, sha256
from tests.support.distributions import make_wheel
from tests.support.listings import html_page
from tests.support.mirror_site import DEMO, PAGE, MirrorSite, OpenMirror
from tests.support.mounts import mounted
from tests.support.stored import stored_bytes, stored_path
from tests.support.upstream import Fault
from tests.support.waiting import until

HIT, REVALIDATED, STALE, MISS, JOINED, *_ = Outcome
NAME = "demo-1.0-py3-none-any.whl"
FILES = "/files/"
DOWN = Fault(status=503)


def listed(content: Path) -> tuple[bytes, str]:
    """Its bytes, and the digest in its address."""
    data = content.read_bytes()
    return data, sha256(data)


async def test_a_file_is_fetched_once_and_then_cached(site: MirrorSite) -> None:
    data, digest = listed(site.add(padding=300_000).content)
    async with site.open() as it:
        (file,) = (await it.page()).files
        assert file.address_digest == digest
        assert await it.read(file) == data
        assert it.last is MISS
        await it.all_stored()
        assert it.stored == {digest}
        assert await it.read(file) == data
        assert it.last is HIT
    assert site.upstream.count(FILES) == 1


async def test_asking_for_a_file_fetches_nothing_before_it_is_read(site: MirrorSite) -> None:
    data, digest = listed(site.add().content)
    async with site.open() as it:
        artifact = await it.mirror.file(DEMO, NAME, digest)
        assert artifact.blob.size == await artifact.blob.length() == len(data)
    assert site.upstream.count(FILES) == 0


async def test_a_size_that_no_page_gives_is_requested_with_head(site: MirrorSite) -> None:
    data, digest = listed(site.add(size=False).content)
    async with site.open() as it:
        artifact = await it.mirror.file(DEMO, NAME, digest)
        assert isinstance(artifact.blob, LazyDownload)
        assert artifact.blob.size is None
        assert await artifact.blob.size_without_download() == len(data)
        assert [each.method for each in site.upstream.of(FILES)] == ["HEAD"]


@pytest.mark.parametrize(
    "fault", [Fault(status=403), Fault(status=405), Fault(status=500), Fault(chunked=True)]
)
async def test_a_size_that_head_does_not_give_is_requested_with_one_byte(
    site: MirrorSite, fault: Fault
) -> None:
    data, digest = listed(site.add(size=False).content)
    async with site.open() as it:
        artifact = await it.mirror.file(DEMO, NAME, digest)
        assert isinstance(artifact.blob, LazyDownload)
        site.upstream.fault(FILES, fault, times=1)
        assert await artifact.blob.size_without_download() == len(data)
        assert [each.method for each in site.upstream.of(FILES)] == ["HEAD", "GET"]


async def test_a_failing_size_raises_the_error_of_the_file(
    site: MirrorSite,
) -> None:
    data, digest = listed(site.add(size=False).content)
    async with site.open() as it:
        artifact = await it.mirror.file(DEMO, NAME, digest)
        assert isinstance(artifact.blob, LazyDownload)
        for status in (403, 500):
            site.upstream.fault(FILES, Fault(status=status), times=2)
            with pytest.raises(UpstreamError, match=str(status)):
                await artifact.blob.size_without_download()
        assert await artifact.blob.length() == len(data)
        assert await read_blob(artifact.blob) == data


async def test_the_length_of_a_file_is_that_of_its_only_fetch(site: MirrorSite) -> None:
    data, digest = listed(site.add(size=False).content)
    async with site.open() as it:
        artifact = await it.mirror.file(DEMO, NAME, digest)
        assert await artifact.blob.length() == len(data)
        assert await read_blob(artifact.blob) == data
        assert it.last is MISS
    assert [each.method for each in site.upstream.of(FILES)] == ["GET"]


async def test_concurrent_requests_share_one_fetch(site: MirrorSite) -> None:
    data, digest = listed(site.add(padding=1_000_000).content)
    gate = asyncio.Event()
    site.upstream.fault(FILES, Fault(gate=gate, gate_at=200_000))
    async with site.open() as it:
        reading = [asyncio.create_task(it.get(NAME, digest)) for _ in range(20)]
        await until(lambda: site.upstream.count(FILES) == 1)
        gate.set()
        assert set(await asyncio.gather(*reading)) == {data}
    assert site.upstream.count(FILES) == 1


async def test_an_address_is_enough_on_an_empty_cache(site: MirrorSite) -> None:
    data, digest = listed(site.add().content)
    async with site.open() as it:
        assert await it.get(NAME, digest) == data
    assert site.upstream.count(PAGE) == 1


async def test_an_address_is_enough_after_a_restart(site: MirrorSite) -> None:
    data, digest = listed(site.add().content)
    async with site.open() as it:
        await it.page()
    site.clock.advance(30 * 86400)
    site.upstream.fault(PAGE, DOWN)
    async with site.open() as it:
        assert await it.get(NAME, digest) == data
    assert [each.path for each in site.upstream.of(FILES)] == [f"/files/{site_path(site)}"]
    assert site.upstream.count(PAGE) == 1


def site_path(site: MirrorSite) -> str:
    return site.upstream.shelf.files[NAME].path


async def test_a_cached_file_needs_no_upstream(site: MirrorSite) -> None:
    data, digest = listed(site.add().content)
    async with site.open() as it:
        await it.get(NAME, digest)
    await site.upstream.stop()
    site.clock.advance(30 * 86400)
    async with site.open() as it:
        assert await it.get(NAME, digest) == data
        assert it.last is HIT


@pytest.mark.parametrize("name", ["demo-9.9-py3-none-any.whl", NAME + ".sig", "x.whl.metadata"])
async def test_what_no_page_lists_is_not_asked_for(site: MirrorSite, name: str) -> None:
    _, digest = listed(site.add().content)
    async with site.open() as it:
        await it.page()
        with pytest.raises(NoSuchFile):
            await it.get(name, digest)
        with pytest.raises(NoSuchFile, match="lists other bytes"):
            await it.get(NAME, "0" * 64)
    assert site.upstream.count() == 1


async def test_a_file_of_a_page_that_another_process_fetched_is_found(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        await it.page()
        site.clock.advance(1)
        data, digest = listed(site.add("2.0").content)
        async with site.open() as other:
            await other.page(checked_after=site.clock())
        assert await it.get("demo-2.0-py3-none-any.whl", digest) == data
    assert site.upstream.count(PAGE) == 2


async def test_replaced_bytes_have_addresses_of_their_own(site: MirrorSite) -> None:
    old, old_digest = listed(site.add().content)
    async with site.open(on_changed_file="accept") as it:
        assert await it.get(NAME, old_digest) == old
        await it.all_stored()
        site.clock.advance(601)
        new, new_digest = listed(site.add(files={"news.py": b""}).content)
        assert [file.address_digest for file in (await it.page()).files] == [new_digest]
        for _ in range(2):
            assert await it.get(NAME, new_digest) == new
            assert await it.get(NAME, old_digest) == old
            await it.all_stored()
        assert it.stored == {old_digest, new_digest}
    assert old != new
    assert site.upstream.count(FILES) == 2


async def test_replaced_bytes_that_were_never_cached_are_absent(site: MirrorSite) -> None:
    _, old_digest = listed(site.add().content)
    async with site.open(on_changed_file="accept") as it:
        await it.page()
        site.clock.advance(601)
        site.add(files={"news.py": b""})
        await it.page()
        with pytest.raises(NoSuchFile, match="lists other bytes"):
            await it.get(NAME, old_digest)
    assert site.upstream.count(FILES) == 0


@pytest.mark.parametrize("hashes", [("sha256",), ("sha512",), ("md5",)])
async def test_what_was_once_listed_is_there_after_upstream_dropped_the_project(
    site: MirrorSite, hashes: tuple[str, ...]
) -> None:
    data = site.add(hashes=hashes).content.read_bytes()
    async with site.open() as it:
        (file,) = (await it.page()).files
        await it.read(file)
    site.clock.advance(601)
    site.upstream.fault(PAGE, Fault(status=404))
    async with site.open() as it:
        await it.page()
        site.clock.advance(61)
        with pytest.raises(NoSuchProject):
            await it.page()
        assert await it.read(file) == data
        assert it.last is HIT
        with pytest.raises(NoSuchProject):
            await it.get(NAME, "0" * 64)


async def test_what_was_once_listed_is_there_while_upstream_is_down(site: MirrorSite) -> None:
    data, digest = listed(site.add().content)
    async with site.open() as it:
        await it.get(NAME, digest)
    async with site.open() as it:
        for key in await it.cache.records.keys(RecordKind.PAGE):
            await it.cache.records.forget(key)
    site.upstream.fault("/", DOWN)
    async with site.open() as it:
        assert await it.get(NAME, digest) == data
        with pytest.raises(UpstreamError):
            await it.get(NAME, "0" * 64)


async def test_files_of_a_quarantined_project_are_not_served(site: MirrorSite) -> None:
    _, digest = listed(site.add().content)
    async with site.open() as it:
        await it.get(NAME, digest)
        await it.all_stored()
        site.clock.advance(601)
        site.upstream.page_keys[DEMO] = {"project-status": {"status": "quarantined"}}
        assert await it.names() == []
        with pytest.raises(Denied, match="Refused by rule quarantined: demo is quarantined"):
            await it.get(NAME, digest)
    async with site.open() as it:
        for asked in (digest, "-", "0" * 64):
            with pytest.raises(Denied):
                await it.get(NAME, asked)
    site.clock.advance(601)
    site.upstream.page_keys.clear()
    async with site.open() as it:
        assert await it.names() == [NAME]
        await it.get(NAME, digest)
        assert it.last is HIT


async def test_a_listed_file_that_vanished_is_absent_and_its_page_is_rechecked(
    site: MirrorSite,
) -> None:
    _, digest = listed(site.add().content)
    site.add("2.0")
    async with site.open() as it:
        await it.page()
        site.upstream.remove(NAME)
        it.heard.clear()
        with pytest.raises(NoSuchFile, match="upstream no longer has it"):
            await it.get(NAME, digest)
        await it.heard.until(lambda: it.heard.changes() == [DEMO])
        assert await it.names() == ["demo-2.0-py3-none-any.whl"]
    assert site.upstream.count(PAGE) == 2


async def test_asking_for_its_size_finds_out_as_well(site: MirrorSite) -> None:
    _, digest = listed(site.add(size=False).content)
    site.add("2.0")
    async with site.open() as it:
        await it.page()
        site.upstream.remove(NAME)
        artifact = await it.mirror.file(DEMO, NAME, digest)
        it.heard.clear()
        with pytest.raises(NoSuchFile, match="upstream no longer has it"):
            await artifact.blob.length()
        await it.heard.until(lambda: it.heard.changes() == [DEMO])


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_a_file_that_upstream_fails_to_give_is_no_absence(
    site: MirrorSite, status: int
) -> None:
    data, digest = listed(site.add().content)
    async with site.open() as it:
        site.upstream.fault(FILES, Fault(status=status))
        with pytest.raises(UpstreamError):
            await it.get(NAME, digest)
        site.upstream.heal()
        assert await it.get(NAME, digest) == data
    assert site.upstream.count(PAGE) == 1


async def test_a_rule_of_a_waystation_upstream_is_a_refusal_and_the_page_is_rechecked(
    site: MirrorSite,
) -> None:
    """Also without the reason phrase, which servers on the way may drop."""
    digest = listed(site.add().content)[1]
    site.add("2.0")
    async with site.open() as it:
        await it.page()
        site.clock.advance(1)
        site.upstream.fault(FILES, Fault(status=403, headers={"Waystation-Rule": "week"}))
        site.upstream.remove(NAME)
        with pytest.raises(Denied, match=r"Refused by rule pypi: refused .* by rule week") as no:
            await it.get(NAME, digest)
        assert (no.value.project, no.value.filename) == (DEMO, NAME)
        site.upstream.heal()
        with pytest.raises(NoSuchFile):
            await it.get(NAME, digest)
    assert site.upstream.count(PAGE) == 2


@pytest.mark.parametrize("rule", ["two words", "A", "a" * 64, "r\u00fcle"])
async def test_what_is_no_name_of_a_rule_is_a_failure(site: MirrorSite, rule: str) -> None:
    digest = listed(site.add().content)[1]
    async with site.open() as it:
        site.upstream.fault(FILES, Fault(status=403, headers={"Waystation-Rule": rule}))
        with pytest.raises(UpstreamError, match="403 Forbidden"):
            await it.get(NAME, digest)


async def test_wrong_bytes_are_never_kept_and_the_page_is_rechecked(site: MirrorSite) -> None:
    data, digest = listed(site.add().content)
    async with site.open() as it:
        await it.page()
        site.upstream.fault(FILES, Fault(corrupt=True))
        it.heard.clear()
        with pytest.raises(DigestMismatch):
            await it.get(NAME, digest)
        await it.heard.until(lambda: it.heard.revalidated() == [DEMO])
        assert it.stored == set()
        site.upstream.heal()
        assert await it.get(NAME, digest) == data
    assert site.upstream.count(PAGE) == 2


@pytest.mark.parametrize("hashes", [("md5",), ("sha512",), ("md5", "sha512"), ("sha384", "sha1")])
async def test_files_without_sha256_are_verified_and_cached(
    site: MirrorSite, hashes: tuple[str, ...]
) -> None:
    data = site.add(hashes=hashes).content.read_bytes()
    async with site.open() as it:
        (file,) = (await it.page()).files
        algorithm, _, digits = file.address_digest.partition("-")
        assert algorithm in hashes and file.hashes[algorithm] == digits
        site.upstream.fault(FILES, Fault(corrupt=True), times=1)
        with pytest.raises(DigestMismatch):
            await it.read(file)
        assert it.stored == set()
        assert await it.read(file) == data
        await it.all_stored()
        assert it.stored == {sha256(data)}
    site.clock.advance(30 * 86400)
    async with site.open() as it:
        assert await it.read(file) == data
        assert it.last is HIT


async def plain(site: MirrorSite) -> File:
    """A file of which upstream tells neither digest nor size."""
    site.add(hashes=(), size=False)
    async with site.open() as it:
        (file,) = (await it.page()).files
        assert file.address_digest == "-"
        await it.read(file)
        assert site.upstream.count(FILES, "GET") == 1
    return file


async def test_a_file_without_digest_is_cached_for_an_hour(site: MirrorSite) -> None:
    file = await plain(site)
    async with site.open() as it:
        site.clock.advance(3599)
        await it.read(file)
        assert it.last is HIT
        data = site.add(files={"news.py": b""}, hashes=(), size=False).content.read_bytes()
        site.clock.advance(2)
        assert await it.read(file) == data
        assert it.last is MISS
        await it.all_stored()
        site.clock.advance(3599)
        assert await it.read(file) == data
        assert it.last is HIT


@pytest.mark.parametrize("size", [True, False])
async def test_a_cached_file_without_digest_is_served_while_upstream_is_down(
    site: MirrorSite, size: bool
) -> None:
    data = site.add(hashes=(), size=size).content.read_bytes()
    async with site.open() as it:
        (file,) = (await it.page()).files
        await it.read(file)
        await it.all_stored()
        site.clock.advance(3601)
        site.upstream.fault("/", DOWN)
        artifact = await it.mirror.file(DEMO, NAME, "-")
        assert await artifact.blob.length() == len(data)
        assert await read_blob(artifact.blob) == data
        assert it.last is STALE


async def test_links_of_html_pages_lead_to_the_files(site: MirrorSite) -> None:
    data, digest = listed(site.add().content)
    where = site_path(site)
    page = html_page(DEMO, [{"filename": NAME, "url": f"../../files/{where}#sha256={digest}"}])
    site.upstream.pages[DEMO] = (page, "text/html")
    async with site.open() as it:
        assert await it.get(NAME, digest) == data


async def test_a_read_only_store_passes_files_on(site: MirrorSite) -> None:
    data, digest = listed(site.add(padding=300_000).content)
    with mounted(site.cache_dir / "blob", "ro"), mounted(site.cache_dir / "spool", "ro"):
        async with site.open() as it:
            for _ in range(2):
                assert await it.get(NAME, digest) == data
            assert it.stored == set()


async def test_a_full_disk_passes_pages_and_files_on(
    site: MirrorSite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, digest = listed(site.add(padding=3_000_000).content)
    with mounted(tmp_path / "cache", "size=64k"):
        async with site.open() as it:
            assert await it.names() == [NAME]
            assert await it.names() == [NAME]
            for _ in range(2):
                assert await it.get(NAME, digest) == data
            assert it.stored == set()
    assert "No space left" in caplog.text


async def test_running_downloads_finish_before_the_connection_closes(site: MirrorSite) -> None:
    _, digest = listed(site.add(padding=1_000_000).content)
    gate = asyncio.Event()
    site.upstream.fault(FILES, Fault(gate=gate, gate_at=500_000))
    async with site.open() as it:
        reading = asyncio.create_task(it.get(NAME, digest))
        await until(lambda: site.upstream.count(FILES) == 1)
        reading.cancel()
        asyncio.get_running_loop().call_later(0.1, gate.set)
    async with site.open() as it:
        assert it.stored == {digest}


async def test_what_takes_longer_than_the_grace_is_given_up(site: MirrorSite) -> None:
    _, digest = listed(site.add(padding=1_000_000).content)
    site.upstream.fault(FILES, Fault(gate=asyncio.Event(), gate_at=500_000))
    async with site.open(shutdown_grace=0.05) as it:
        reading = asyncio.create_task(it.get(NAME, digest))
        await until(lambda: site.upstream.count(FILES) == 1)
        reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    async with site.open() as it:
        assert it.stored == set()
        assert list(it.cache.spool.iterdir()) == []


async def test_two_mirrors_share_what_one_has_fetched(site: MirrorSite) -> None:
    data, digest = listed(site.add().content)
    async with site.open() as it, site.open() as other:
        assert await it.get(NAME, digest) == data
        await it.all_stored()
        assert await other.get(NAME, digest) == data
        assert other.last is HIT
    assert site.upstream.count(FILES) == 1


async def test_other_files_of_the_version_have_their_own_bytes(site: MirrorSite) -> None:
    one = site.add(tag="py3-none-any").content
    two = make_wheel(site.root / "dist", DEMO, "1.0", tag="py3-none-manylinux2014_x86_64")
    site.upstream.add(two)
    async with site.open() as it:
        for content in (one, two):
            data, digest = listed(content)
            assert await it.get(content.name, digest) == data


@pytest.mark.parametrize("listed_fields", ["size", "no size", "no sha256", "nothing"])
@pytest.mark.parametrize("damage", ["shorter", "longer", "empty", "a folder", "a link", "a pipe"])
async def test_a_stored_file_that_is_not_what_it_was_is_fetched_again(
    site: MirrorSite, damage: str, listed_fields: str
) -> None:
    listing: dict[str, dict[str, Any]] = {
        "size": {},
        "no size": {"size": False},
        "no sha256": {"hashes": ("md5",)},
        "nothing": {"hashes": (), "size": False},
    }
    data = site.add(padding=300_000, **listing[listed_fields]).content.read_bytes()
    async with site.open() as it:
        (file,) = (await it.page()).files
        await it.read(file)
        await it.all_stored()
        spoil(stored_path(it.cache.folder / "blob", sha256(data)), damage)
        assert await it.read(file) == data
        assert it.last is MISS
        await it.all_stored()
        if damage != "a folder":
            assert await it.read(file) == data
            assert it.last is HIT


def spoil(path: Path, damage: str) -> None:
    if damage in ("shorter", "longer", "empty"):
        os.truncate(path, {"shorter": 1000, "longer": 900_000, "empty": 0}[damage])
        return
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage == "a link":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)


async def test_a_damaged_file_that_upstream_does_not_give_is_upstreams_error(
    site: MirrorSite,
) -> None:
    _, digest = listed(site.add().content)
    async with site.open() as it:
        await it.get(NAME, digest)
        await it.all_stored()
        os.truncate(stored_path(it.cache.folder / "blob", digest), 10)
        site.upstream.fault(FILES, DOWN)
        with pytest.raises(UpstreamError):
            await it.get(NAME, digest)


async def test_the_store_stays_within_its_limit_while_files_arrive(site: MirrorSite) -> None:
    for number in range(12):
        made = site.add(f"{number}.0", padding=200_000).content
    limit = 4 * made.stat().st_size + 1000
    async with site.open(max_size=limit) as it:
        for file in (await it.page()).files:
            await it.read(file)
            await it.all_stored()
            assert 0 < stored_size(it) <= limit


async def test_what_was_being_sent_goes_when_it_has_been_sent(site: MirrorSite) -> None:
    # Larger than what a download keeps in memory: readers of smaller ones need no file.
    for number in range(4):
        made = site.add(f"{number}.0", padding=300_000).content
    limit = 2 * made.stat().st_size + 1000
    async with site.open(max_size=limit) as it, AsyncExitStack() as stack:
        for file in (await it.page()).files:
            artifact = await it.mirror.file(DEMO, file.filename, file.address_digest)
            spans = artifact.blob.spans()
            assert spans is not None
            await anext(spans)
            stack.push_async_callback(spans.aclose)
            await it.all_stored()
        assert stored_size(it) > limit
        await stack.aclose()
        await until(lambda: 0 < stored_size(it) <= limit)


def stored_size(it: OpenMirror) -> int:
    """Bytes of all files in the store."""
    return stored_bytes(it.cache.folder / "blob")
