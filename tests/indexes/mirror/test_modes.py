"""Modes of a mirror: what is stored, what is verified, and where clients fetch files."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import Denied, DigestMismatch, NoSuchFile
from proxy.indexes import Guarded
from proxy.model import METADATA, PROVENANCE
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.fake_index import FakeIndex
from tests.support.mirror_site import DEMO, MirrorSite
from tests.support.policies import FakePolicy
from tests.support.site import serving
from tests.support.upstream import Fault, Upstream

WHEEL = f"{DEMO}-1.0-py3-none-any.whl"


@pytest.fixture
async def site(tmp_path: Path, clock: Clock):  # type: ignore[no-untyped-def]
    async with Upstream() as upstream:
        made = MirrorSite(tmp_path, upstream, clock)
        made.add(provenance={"version": 1})
        yield made


async def test_streamed_files_are_verified_and_not_stored(site: MirrorSite) -> None:
    async with site.open(mode="stream") as it:
        for _ in range(2):
            data = await it.read((await it.page()).files[0])
            assert data == (site.root / "dist" / WHEEL).read_bytes()
        await it.read((await it.page()).files[0], METADATA)
        await it.all_stored()
        assert it.stored == set()
        assert list(it.cache.spool.glob("*")) == []
    assert site.upstream.count(WHEEL) >= 2


async def test_wrong_bytes_are_not_streamed_to_their_end(site: MirrorSite) -> None:
    site.upstream.fault("/files/", Fault(corrupt=True))
    async with site.open(mode="stream") as it:
        with pytest.raises(DigestMismatch):
            await it.read((await it.page()).files[0])


async def test_clients_are_redirected_to_files_and_their_siblings(site: MirrorSite) -> None:
    async with site.open(mode="redirect") as it:
        (file,) = (await it.page()).files
        for suffix in ("", METADATA, PROVENANCE):
            artifact = await it.mirror.file(DEMO, WHEEL + suffix, file.address_digest)
            assert artifact.location.startswith(site.upstream.origin)
            assert artifact.location.endswith(suffix)
        with pytest.raises(NoSuchFile):
            await it.mirror.file(DEMO, "demo-2.0.tar.gz")
    assert site.upstream.count("/files/") == 0


async def test_what_is_stored_is_sent_from_here_in_every_mode(site: MirrorSite) -> None:
    async with site.open() as it:
        data = await it.read((await it.page()).files[0])
    for mode in ("stream", "redirect"):
        async with site.open(mode=mode) as it:
            (file,) = (await it.page()).files
            artifact = await it.mirror.file(DEMO, WHEEL, file.address_digest)
            assert not artifact.location
            assert await read_blob(artifact.blob) == data
    assert site.upstream.count(WHEEL) == 1


async def test_offline_nothing_is_redirected(site: MirrorSite) -> None:
    async with site.open(mode="redirect") as it:
        await it.page()
    async with site.open(mode="redirect", offline=True, offline_list_all=True) as it:
        with pytest.raises(NoSuchFile):
            await it.get(WHEEL, (await it.page()).files[0].address_digest)


async def test_rules_come_before_a_redirect(site: MirrorSite) -> None:
    async with site.open(mode="redirect") as it:
        guarded = Guarded(it.mirror, [FakePolicy(lambda file: True)])
        digest = (await it.page()).files[0].address_digest
        with pytest.raises(Denied):
            await guarded.file(DEMO, WHEEL, digest)


async def test_a_redirect_is_a_302_that_is_never_stored(site: MirrorSite) -> None:
    async with site.open(mode="redirect") as it:
        digest = (await it.page()).files[0].address_digest
        index = FakeIndex("main")
        index.page, index.file = it.mirror.page, it.mirror.file  # type: ignore[method-assign]
        async with serving(index) as server:
            for method in ("GET", "HEAD"):
                answer = await server.get(f"/files/{DEMO}/{digest}/{WHEEL}", method)
                assert answer.status == 302
                assert answer.headers["Location"] == site.upstream.url_of(WHEEL)
                assert answer.headers["Cache-Control"] == "no-store"
