"""Signatures and other files beside distributions of an upstream."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import Denied, NoSuchFile, UpstreamError
from proxy.events import Outcome
from proxy.indexes import Guarded
from proxy.model import File
from tests.support.distributions import make_wheel
from tests.support.faults import Fault
from tests.support.listings import Listed
from tests.support.mirror_site import DEMO, MirrorSite
from tests.support.policies import FakePolicy

SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n"


def signed(site: MirrorSite, content: bytes = SIGNATURE, **more: Any) -> Listed:
    listed = site.add(**{"gpg-sig": True, **more})
    site.upstream.shelf.contents[f"{listed.path}.asc"] = content
    return listed


async def only(it: Any) -> File:
    (file,) = (await it.page()).files
    assert isinstance(file, File)
    return file


@pytest.mark.parametrize("form", ["json", "html"])
async def test_an_announced_signature_is_fetched_once_and_stored(
    site: MirrorSite, form: Any
) -> None:
    site.upstream.form = form
    listed = signed(site)
    async with site.open(extra_files=True) as it:
        file = await only(it)
        assert file.beside == (".asc",)
        for outcome in (Outcome.MISS, Outcome.HIT):
            assert await it.read(file, ".asc") == SIGNATURE
            assert it.last == outcome
            await it.all_stored()
            await it.mirror._siblings.close()
    assert site.upstream.count(".asc") == 1
    assert site.upstream.count(listed.content.name) == 1, "the wheel itself is not fetched"
    await site.upstream.stop()
    async with site.open(extra_files=True, offline=True, offline_list_all=True) as it:
        assert await it.read(await only(it), ".asc") == SIGNATURE


@pytest.mark.parametrize("form", ["json", "html"])
async def test_without_the_setting_nothing_is_announced_or_asked_for(
    site: MirrorSite, form: Any
) -> None:
    site.upstream.form = form
    signed(site)
    async with site.open() as it:
        file = await only(it)
        assert file.beside == ()
        with pytest.raises(NoSuchFile):
            await it.read(file, ".asc")
    assert site.upstream.count(".asc") == 0


async def test_files_that_the_page_lists_beside_theirs_are_siblings(site: MirrorSite) -> None:
    listed = site.add()
    name, url = listed.content.name, site.upstream.files_url + listed.path
    files = [{"filename": name, "url": url, "hashes": dict(listed.entry["hashes"])}]
    for suffix, content in ((".sha256", b"00"), (".sigstore", b"{}")):
        site.upstream.shelf.contents[listed.path + suffix] = content
        files.append({"filename": name + suffix, "url": url + suffix, "hashes": {}})
    files.append({"filename": f"{name}.sig", "url": f"{url}/elsewhere/{name}.sig", "hashes": {}})
    site.upstream.page_keys[DEMO] = {"files": files}
    async with site.open(extra_files=True) as it:
        page = await it.page()
        assert {file.filename: file.beside for file in page.files} == {
            name: (".sha256", ".sigstore"),
            f"{name}.sig": (),
        }
        assert await it.read(page.file(name), ".sha256") == b"00"


async def test_a_signature_that_upstream_does_not_have_is_none(site: MirrorSite) -> None:
    site.upstream.add(make_wheel(site.root / "dist", DEMO, "1.0"), **{"gpg-sig": True})
    async with site.open(extra_files=True) as it:
        with pytest.raises(NoSuchFile):
            await it.read(await only(it), ".asc")


@pytest.mark.parametrize("content", [b"<html>Log in</html>", bytes(9 * 2**20)])
async def test_what_is_no_signature_is_refused_and_not_stored(
    site: MirrorSite, content: bytes
) -> None:
    signed(site, content)
    async with site.open(extra_files=True) as it:
        with pytest.raises(UpstreamError):
            await it.read(await only(it), ".asc")
        assert it.stored == set()


async def test_a_failure_of_upstream_is_one(site: MirrorSite) -> None:
    signed(site)
    site.upstream.fault(".asc", Fault(status=500))
    async with site.open(extra_files=True) as it:
        with pytest.raises(UpstreamError):
            await it.read(await only(it), ".asc")


async def test_that_of_a_refused_file_is_refused_before_it_is_fetched(site: MirrorSite) -> None:
    listed = signed(site)
    async with site.open(extra_files=True) as it:
        file = await only(it)
        guarded = Guarded(it.mirror, [FakePolicy(lambda each: each.filename == file.filename)])
        with pytest.raises(Denied):
            await guarded.file(DEMO, f"{listed.content.name}.asc", file.address_digest)
    assert site.upstream.count(".asc") == 0
