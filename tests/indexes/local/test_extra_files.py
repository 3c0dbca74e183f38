"""Signatures and other files beside distributions of a directory or an archive."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from proxy.errors import IndexUnavailable, NoSuchFile
from proxy.indexes.local import LocalDirectory
from proxy.model import ProjectStatus
from tests.support.content import read_blob
from tests.support.directories import FOO, names, opened
from tests.support.distributions import make_sdist, make_wheel

WHEEL, SDIST = "foo-1.0-py3-none-any.whl", "foo-1.0.tar.gz"
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A wheel with a signature, and an sdist with two other files."""
    folder = tmp_path / "packages" / "foo"
    make_wheel(folder, "foo", "1.0")
    make_sdist(folder, "foo", "1.0")
    (folder / f"{WHEEL}.asc").write_bytes(SIGNATURE)
    (folder / f"{SDIST}.sha256").write_bytes(b"00")
    (folder / f"{SDIST}.sigstore.json").write_bytes(b"{}")
    (folder / f"{SDIST}.part").write_bytes(b"secret")
    (folder / f"{SDIST}.asc.bak").write_bytes(b"secret")
    return tmp_path / "packages"


async def beside(index: LocalDirectory) -> dict[str, tuple[str, ...]]:
    return {file.filename: file.beside for file in (await index.page(FOO)).files}


async def read(index: LocalDirectory, filename: str) -> bytes:
    return await read_blob((await index.file(FOO, filename)).blob)


@pytest.mark.parametrize("watch", [True, False])
@pytest.mark.parametrize("form", ["directory", "archive"])
async def test_they_are_listed_and_served(
    tmp_path: Path, root: Path, form: str, watch: bool
) -> None:
    if form == "archive":
        root = Path(shutil.make_archive(str(tmp_path / "wheels"), "zip", root))
    async with opened(root, watch=watch, extra_files=True) as index:
        assert await beside(index) == {WHEEL: (".asc",), SDIST: (".sigstore.json", ".sha256")}
        assert await read(index, f"{WHEEL}.asc") == SIGNATURE
        assert await read(index, f"{SDIST}.sigstore.json") == b"{}"
        (wheel, sdist) = sorted((await index.page(FOO)).files, key=lambda file: file.filename)
        await index.file(FOO, f"{WHEEL}.asc", wheel.address_digest)
        for filename, digest in (
            *((f"{SDIST}.asc", None), (f"{SDIST}.part", None), (f"{SDIST}.asc.bak", None)),
            *((f"{WHEEL}.asc", sdist.address_digest), (f"{WHEEL}.asc.sha256", None)),
        ):
            with pytest.raises(NoSuchFile):
                await index.file(FOO, filename, digest)


async def test_they_are_not_listed_unless_it_is_asked_for(root: Path) -> None:
    async with opened(root) as index:
        assert await beside(index) == {WHEEL: (), SDIST: ()}
        with pytest.raises(NoSuchFile):
            await index.file(FOO, f"{WHEEL}.asc")


@pytest.mark.parametrize("watch", [True, False])
async def test_one_that_comes_changes_or_goes_is_noticed(root: Path, watch: bool) -> None:
    signature = root / "foo" / f"{SDIST}.asc"
    async with opened(root, watch=watch, extra_files=True) as index:
        before = await index.page(FOO)
        signature.write_bytes(SIGNATURE)
        after = await index.page(FOO)
        assert before.version != after.version
        assert ".asc" in (await beside(index))[SDIST]
        assert await read(index, signature.name) == SIGNATURE
        signature.write_bytes(SIGNATURE * 2)
        assert await read(index, signature.name) == SIGNATURE * 2
        signature.unlink()
        assert ".asc" not in (await beside(index))[SDIST]
        with pytest.raises(NoSuchFile):
            await index.file(FOO, signature.name)


async def test_a_link_or_a_folder_is_none_of_them(tmp_path: Path, root: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "foo" / f"{SDIST}.asc").symlink_to(tmp_path / "secret")
    (root / "foo" / f"{SDIST}.sig").mkdir()
    async with opened(root, extra_files=True) as index:
        assert (await beside(index))[SDIST] == (".sigstore.json", ".sha256")
        for suffix in (".asc", ".sig"):
            with pytest.raises(NoSuchFile):
                await index.file(FOO, SDIST + suffix)


async def test_one_that_becomes_a_link_is_not_followed(tmp_path: Path, root: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    signature = root / "foo" / f"{WHEEL}.asc"
    async with opened(root, extra_files=True) as index:
        blob = (await index.file(FOO, signature.name)).blob
        signature.unlink()
        signature.symlink_to(tmp_path / "secret")
        with pytest.raises(IndexUnavailable):
            await read_blob(blob)
        with pytest.raises(NoSuchFile):
            await index.file(FOO, signature.name)


async def test_a_signature_without_its_distribution_keeps_the_name_private(tmp_path: Path) -> None:
    (tmp_path / f"{SDIST}.asc").write_bytes(SIGNATURE)
    async with opened(tmp_path, extra_files=True) as index:
        assert await names(index) == []
        with pytest.raises(NoSuchFile):
            await index.file(FOO, f"{SDIST}.asc")


@pytest.mark.parametrize("watch", [True, False])
@pytest.mark.parametrize("form", ["directory", "archive"])
async def test_provenance_beside_a_distribution_is_listed_and_served(
    tmp_path: Path, root: Path, form: str, watch: bool
) -> None:
    (root / "foo" / f"{WHEEL}.provenance").write_bytes(b'{"version": 1}')
    if form == "archive":
        root = Path(shutil.make_archive(str(tmp_path / "wheels"), "zip", root))
    async with opened(root, watch=watch) as index:
        files = {file.filename: file for file in (await index.page(FOO)).files}
        assert files[WHEEL].provenance
        assert files[SDIST].provenance is None
        assert files[WHEEL].beside == ()
        digest = files[WHEEL].address_digest
        found = await index.file(FOO, f"{WHEEL}.provenance", digest)
        assert await read_blob(found.blob) == b'{"version": 1}'
        with pytest.raises(NoSuchFile):
            await index.file(FOO, f"{SDIST}.provenance")


async def test_provenance_that_comes_later_is_seen_by_the_next_request(root: Path) -> None:
    async with opened(root) as index:
        assert {file.provenance for file in (await index.page(FOO)).files} == {None}
        (root / "foo" / f"{WHEEL}.provenance").write_bytes(b"{}")
        assert [bool(file.provenance) for file in (await index.page(FOO)).files] == [True, False]


async def test_the_status_of_a_project_is_in_a_file_of_its_folder(root: Path) -> None:
    async with opened(root) as index:
        before = await index.page(FOO)
        assert before.status is None
        status = root / "foo" / ".project-status"
        status.write_text('{"status": "archived", "reason": "see bar"}')
        page = await index.page(FOO)
        assert page.status == ProjectStatus("archived", "see bar")
        assert page.version != before.version
        for unreadable in ("not JSON", '{"status": "sold"}', "[]"):
            status.write_text(unreadable)
            assert (await index.page(FOO)).status is None
        status.write_text('{"status": "quarantined"}')
        assert (await index.page(FOO)).files == ()
        with pytest.raises(NoSuchFile):
            await index.file(FOO, WHEEL)
        status.unlink()
        assert (await index.page(FOO)).version == before.version
