"""The documents beside a mirror's files: each that a page lists can be had, and none is wrong."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import DigestMismatch, NoSuchFile, UpstreamError
from proxy.events import Outcome
from proxy.model import File
from tests.support.content import sha256
from tests.support.distributions import make_wheel, wheel_metadata
from tests.support.memory_store import MemoryStore
from tests.support.mirror_site import DEMO, MirrorSite, OpenMirror
from tests.support.mounts import mounted
from tests.support.upstream import Fault
from tests.support.waiting import until

HIT, REVALIDATED, STALE, MISS, JOINED, *_ = Outcome
NAME = "demo-1.0-py3-none-any.whl"
META, PROOF = ".metadata", ".provenance"
DOWN = Fault(status=503)
NO_DIGEST: dict[str, Any] = {"core-metadata": True}
WRONG_DIGEST: dict[str, Any] = {"core-metadata": {"sha256": "0" * 64}}


async def listed(it: OpenMirror) -> File:
    (file,) = (await it.page()).files
    return file


async def everything_stored(it: OpenMirror) -> None:
    """Until all that was fetched is stored and remembered."""
    await it.mirror._siblings.close()
    await it.all_stored()


async def test_metadata_are_fetched_once_and_then_cached(site: MirrorSite) -> None:
    wheel = site.add()
    async with site.open() as it:
        file = await listed(it)
        assert await it.read(file, META) == wheel.metadata == wheel_metadata(wheel.content)
        assert it.last is MISS
        await everything_stored(it)
        assert await it.read(file, META) == wheel.metadata
        assert it.last is HIT
    async with site.open() as it:
        assert await it.read(file, META) == wheel.metadata
        assert it.last is HIT
    assert site.upstream.count(NAME + META) == site.upstream.count("/files/") == 1


async def test_a_store_without_files_on_this_disk_serves_files_and_metadata(
    site: MirrorSite,
) -> None:
    """The wheel is copied for as long as its metadata is read."""
    wheel, store = site.add(), MemoryStore()
    site.upstream.fault(META, Fault(status=404))
    async with site.open(store=store) as it:
        file = await listed(it)
        assert await it.read(file, META) == wheel.metadata
        await everything_stored(it)
        assert sorted(store.content) == sorted([file.address_digest, sha256(wheel.metadata)])
        assert await it.read(file) == wheel.content.read_bytes()
        assert not list(it.cache.spool.glob("*"))
    async with site.open(store=store, offline=True) as it:
        assert await it.read(await listed(it), META) == wheel.metadata


async def test_concurrent_requests_share_one_fetch(site: MirrorSite) -> None:
    wheel = site.add()
    gate = asyncio.Event()
    site.upstream.fault(META, Fault(hang=gate))
    async with site.open() as it:
        file = await listed(it)
        asking = [asyncio.create_task(it.read(file, META)) for _ in range(20)]
        await until(lambda: site.upstream.count(META) == 1)
        gate.set()
        assert set(await asyncio.gather(*asking)) == {wheel.metadata}
    assert site.upstream.count("/files/") == 1


@pytest.mark.parametrize("fault", [Fault(status=404), DOWN, Fault(corrupt=True), Fault(reset=True)])
@pytest.mark.parametrize("wheel_cached", [False, True])
async def test_what_upstream_fails_to_give_is_read_from_the_wheel(
    site: MirrorSite, fault: Fault, wheel_cached: bool
) -> None:
    wheel = site.add(padding=300_000)
    site.upstream.fault(META, fault)
    async with site.open() as it:
        file = await listed(it)
        if wheel_cached:
            await it.read(file)
            await everything_stored(it)
        assert await it.read(file, META) == wheel.metadata
        assert it.last is MISS
        await everything_stored(it)
        assert it.stored == {sha256(wheel.content.read_bytes()), sha256(wheel.metadata or b"")}
        assert await it.read(file) == wheel.content.read_bytes()
        assert it.last is HIT
    assert sum(each.path.endswith(NAME) for each in site.upstream.requests) == 1


async def test_metadata_that_match_the_listed_digest_nowhere_are_an_error(site: MirrorSite) -> None:
    site.add(**WRONG_DIGEST)
    async with site.open() as it:
        with pytest.raises(DigestMismatch):
            await it.read(await listed(it), META)
        assert len(it.stored) == 1  # the wheel itself is all right


async def test_the_metadata_of_a_wheel_that_vanished_is_absent(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        file = await listed(it)
        site.upstream.fault("/files/", Fault(status=404))
        with pytest.raises(NoSuchFile):
            await it.read(file, META)


async def test_metadata_are_an_error_while_upstream_is_down(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        file = await listed(it)
        site.upstream.fault("/files/", DOWN)
        with pytest.raises(UpstreamError):
            await it.read(file, META)
        site.upstream.heal()
        await it.read(file, META)


async def test_a_wheel_that_is_none_has_no_metadata(site: MirrorSite, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"PK not a wheel")
    site.upstream.add(path, **WRONG_DIGEST)
    async with site.open() as it:
        with pytest.raises(UpstreamError, match="cannot be read"):
            await it.read(await listed(it), META)


async def test_two_wheels_of_one_version_have_each_their_own(site: MirrorSite) -> None:
    one = site.add(tag="py3-none-any")
    members = {
        "demo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n\n!"
    }
    two = site.add(tag="py2-none-any", files=members)
    site.upstream.fault(META, Fault(status=404), times=1)
    assert one.metadata != two.metadata
    async with site.open() as it:
        files = {file.filename: file for file in (await it.page()).files}
        for _ in range(2):
            for wheel in (one, two):
                assert await it.read(files[wheel.content.name], META) == wheel.metadata
            await everything_stored(it)
        for key in it.stored:
            await it.cache.store.delete(key)
        for wheel in (two, one):
            assert await it.read(files[wheel.content.name], META) == wheel.metadata


async def test_metadata_without_digest_are_cached_with_their_wheel(site: MirrorSite) -> None:
    wheel = site.add(**NO_DIGEST)
    async with site.open() as it:
        file = await listed(it)
        assert file.metadata is True
        assert await it.read(file, META) == wheel.metadata
        await everything_stored(it)
        site.clock.advance(30 * 86400)
        assert await it.read(file, META) == wheel.metadata
        assert it.last is HIT
    assert site.upstream.count(META) == 1


async def test_a_portals_page_is_no_metadata(site: MirrorSite) -> None:
    wheel = site.add(**NO_DIGEST)
    site.upstream.fault(META, Fault(body=b"<html>Please sign in</html>"))
    async with site.open() as it:
        assert await it.read(await listed(it), META) == wheel.metadata


async def test_metadata_of_a_wheel_without_any_digest(site: MirrorSite) -> None:
    wheel = site.add(hashes=(), size=False, **NO_DIGEST)
    site.upstream.fault(META, Fault(status=404))
    async with site.open() as it:
        file = await listed(it)
        assert file.address_digest == "-"
        assert await it.read(file, META) == wheel.metadata


async def test_metadata_that_is_not_advertised_is_not_there(site: MirrorSite) -> None:
    site.add(metadata=False)
    async with site.open() as it:
        with pytest.raises(NoSuchFile):
            await it.read(await listed(it), META)
    assert site.upstream.count("/files/") == 0


async def test_metadata_once_listed_is_there_when_the_page_is_gone(site: MirrorSite) -> None:
    wheel = site.add()
    async with site.open() as it:
        file = await listed(it)
        await it.read(file, META)
        await everything_stored(it)
        site.clock.advance(601)
        site.upstream.page_keys[DEMO] = {"files": []}
        assert await it.names() == []
        assert await it.read(file, META) == wheel.metadata


async def test_metadata_is_answered_where_nothing_can_be_stored(
    site: MirrorSite, caplog: pytest.LogCaptureFixture
) -> None:
    wheel = site.add()
    with mounted(site.cache_dir / "blob", "ro"):
        async with site.open() as it:
            for _ in range(2):
                assert await it.read(await listed(it), META) == wheel.metadata
            await everything_stored(it)
            assert list(it.cache.spool.iterdir()) == []
    assert f"{NAME}.metadata is not stored" in caplog.text


async def test_a_full_disk_is_left_as_it_was(site: MirrorSite, tmp_path: Path) -> None:
    text = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n\n" + b"long " * 100_000
    wheel = site.add(files={"demo-1.0.dist-info/METADATA": text})
    with mounted(tmp_path / "cache", "size=200k"):
        async with site.open() as it:
            assert await it.read(await listed(it), META) == wheel.metadata == text
            await everything_stored(it)
            assert it.stored == set()
            assert list(it.cache.spool.iterdir()) == []


async def test_the_wheel_is_waited_for_until_it_is_stored(site: MirrorSite) -> None:
    """Its last bytes come a moment before; the more there are, the longer the disk takes."""
    wheels = [site.add(f"{number}.0", padding=500_000) for number in range(12)]
    site.upstream.fault(META, Fault(status=404))
    async with site.open() as it:
        files = (await it.page()).files
        got = await asyncio.gather(*(it.read(file, META) for file in files))
        assert got == [wheel.metadata for wheel in wheels]


def proof(number: int = 1) -> dict[str, Any]:
    return {"version": number, "attestation_bundles": []}


def text_of(number: int = 1) -> bytes:
    return json.dumps(proof(number)).encode()


async def test_provenance_is_cached_for_ten_minutes(site: MirrorSite) -> None:
    site.add(provenance=proof(1))
    async with site.open() as it:
        file = await listed(it)
        assert await it.read(file, PROOF) == text_of(1)
        site.add(provenance=proof(2))
        site.clock.advance(599)
        assert await it.read(file, PROOF) == text_of(1)
        assert it.last is HIT
        site.clock.advance(2)
        assert await it.read(file, PROOF) == text_of(2)
        assert it.last is MISS
    assert site.upstream.count(PROOF) == 2


@pytest.mark.parametrize("fault", [DOWN, Fault(reset=True), Fault(body=b"<html>sign in</html>")])
async def test_provenance_may_be_stale_while_upstream_fails(site: MirrorSite, fault: Fault) -> None:
    site.add(provenance=proof())
    async with site.open() as it:
        file = await listed(it)
        await it.read(file, PROOF)
    site.clock.advance(601)
    async with site.open() as it:
        await it.page()
        site.upstream.fault(PROOF, fault)
        assert await it.read(file, PROOF) == text_of()
        assert it.last is STALE


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"[" * 100_000, b""])
async def test_what_is_not_json_is_no_provenance(site: MirrorSite, body: bytes) -> None:
    site.add(provenance=proof())
    site.upstream.fault(PROOF, Fault(body=body))
    async with site.open() as it:
        with pytest.raises(UpstreamError, match="not JSON"):
            await it.read(await listed(it), PROOF)
        site.upstream.heal()
        assert await it.read(await listed(it), PROOF) == text_of()


async def test_provenance_that_upstream_dropped_is_absent(site: MirrorSite) -> None:
    site.add(provenance=proof())
    async with site.open() as it:
        file = await listed(it)
        site.upstream.fault(PROOF, Fault(status=404))
        with pytest.raises(NoSuchFile):
            await it.read(file, PROOF)


async def test_a_file_without_provenance_has_none(site: MirrorSite) -> None:
    site.upstream.add(make_wheel(site.root, DEMO, "1.0"))
    async with site.open() as it:
        with pytest.raises(NoSuchFile):
            await it.read(await listed(it), PROOF)
