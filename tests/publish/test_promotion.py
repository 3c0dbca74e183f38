"""Promotion from one local index to another: what stays, what is recorded, and what is refused."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.errors import FileConflict, NotPermitted, UploadRefused, UploadTooLarge
from proxy.model import METADATA, PROVENANCE, SIGNATURE, File, ProjectName, ProjectStatus
from proxy.publish import Action, Promotion, Selection, Upkeep
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.distributions import make_sdist, make_wheel
from tests.support.publishing import ADMIN, ANA, BEN, DirectoryPublisher, publish, publishing

FOO = ProjectName("foo")
FIRST = Selection(FOO, version="1.0")
NOW = 1_800_000_000.0
BESIDE = {SIGNATURE: b"signed", PROVENANCE: b"{}"}


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[DirectoryPublisher]:
    """With a wheel and an sdist of foo 1.0, and a wheel of 2.0."""
    async with publishing(tmp_path / "dev") as publisher:
        publisher.name = "dev"
        for path in (
            make_wheel(tmp_path / "dist", "foo", "1.0"),
            make_sdist(tmp_path / "dist", "foo", "1.0"),
            make_wheel(tmp_path / "dist", "foo", "2.0"),
        ):
            await publish(publisher, path, beside=BESIDE)
        yield publisher


@pytest.fixture
async def prod(tmp_path: Path) -> AsyncIterator[DirectoryPublisher]:
    async with publishing(tmp_path / "prod", clock=Clock(NOW)) as publisher:
        yield publisher


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


async def files(publisher: DirectoryPublisher) -> dict[str, File]:
    page = await publisher.page(FOO)
    return {file.filename: file for file in page.files} if page else {}


async def same_as_in(source: DirectoryPublisher, target: DirectoryPublisher) -> bool:
    """Whether each file of the target is listed as in the source, apart from its address."""
    known = await files(source)
    for name, file in (await files(target)).items():
        there = known[name]
        parts = [
            (f.hashes, f.size, f.uploaded, f.yanked, f.metadata, f.beside) for f in (file, there)
        ]
        if parts[0] != parts[1] or bool(file.provenance) is not bool(there.provenance):
            return False
    return True


def spooled(publisher: DirectoryPublisher) -> list[Path]:
    return list(publisher.packages.incoming.glob("*"))


async def test_promoted_files_are_links_and_listed_as_before(
    dev: DirectoryPublisher, prod: DirectoryPublisher
) -> None:
    await Upkeep(dev).yank(FIRST, "it breaks", ANA)
    changes = await Promotion(dev, prod).promote(FIRST, BEN)
    names = {"foo-1.0-py3-none-any.whl", "foo-1.0.tar.gz"}
    assert set(await files(prod)) == names
    assert await same_as_in(dev, prod)
    for name in names:
        assert (prod.root / "foo" / name).samefile(dev.root / "foo" / name)
        assert (prod.root / "foo" / f"{name}{SIGNATURE}").read_bytes() == b"signed"
        assert (prod.root / "foo" / f"{name}{PROVENANCE}").read_bytes() == b"{}"
    assert len(await files(dev)) == 3
    assert {(each.action, each.at, each.actor, each.detail) for each in changes} == {
        (Action.PUBLISH, NOW, "ben", "dev"),
        (Action.YANK, NOW, "ben", "it breaks"),
    }
    stored = prod.journal.changes()
    assert [(each.action, each.filename) for each in stored] == [
        (each.action, each.filename) for each in changes
    ]
    assert prod.journal.owners(FOO) == ["ben"]
    assert spooled(prod) == []


async def test_a_yank_in_one_index_leaves_the_other(
    dev: DirectoryPublisher, prod: DirectoryPublisher
) -> None:
    await Promotion(dev, prod).promote(FIRST, ADMIN)
    await Upkeep(dev).yank(FIRST, "", ANA)
    await Upkeep(dev).delete(Selection(FOO), ANA)
    assert [file.yanked for file in (await files(prod)).values()] == [False, False]


async def test_both_indexes_serve_a_linked_file_whatever_happens_to_the_other_link(
    dev: DirectoryPublisher, prod: DirectoryPublisher
) -> None:
    """A link more, less, or under another name changes times of the file, without an event."""
    name = "foo-1.0-py3-none-any.whl"
    expected = (dev.folder(FOO) / name).read_bytes()

    async def served(publisher: DirectoryPublisher, suffix: str = "") -> bytes:
        return await read_blob((await publisher.directory.file(FOO, name + suffix)).blob)

    assert await served(dev) == expected
    await Promotion(dev, prod).promote(FIRST, ADMIN)
    assert await served(dev) == await served(prod) == expected
    await Upkeep(dev).delete(FIRST, ANA)
    assert (await served(prod, METADATA)).startswith(b"Metadata-Version")
    assert await served(prod) == expected
    assert await Upkeep(dev).remove_deleted(before=math.inf) == 2
    assert await served(prod) == expected


async def test_a_file_whose_time_was_changed_keeps_its_upload_time(
    dev: DirectoryPublisher, prod: DirectoryPublisher
) -> None:
    """Its link would be listed with the wrong time, so it is copied."""
    before = await files(dev)
    name = "foo-1.0-py3-none-any.whl"
    os.utime(dev.root / "foo" / name, (1, 1))
    await Promotion(dev, prod).promote(FIRST, ADMIN)
    assert (await files(prod))[name].uploaded == before[name].uploaded
    assert (dev.root / "foo" / name).stat().st_mtime == 1


async def test_files_are_copied_to_another_file_system(
    dev: DirectoryPublisher, elsewhere: Path
) -> None:
    async with publishing(elsewhere / "prod") as prod:
        assert len(await Promotion(dev, prod).promote(Selection(FOO), ANA)) == 3
        assert len(await files(prod)) == 3
        assert await same_as_in(dev, prod)
        assert spooled(prod) == []


async def test_what_is_there_already_is_left_out(
    dev: DirectoryPublisher, prod: DirectoryPublisher
) -> None:
    await Promotion(dev, prod).promote(FIRST, ANA)
    (change,) = await Promotion(dev, prod).promote(Selection(FOO), ANA)
    assert change.version == "2.0"
    assert await Promotion(dev, prod).promote(Selection(FOO), ANA) == []


async def test_nothing_is_promoted_if_one_file_conflicts(
    tmp_path: Path, dev: DirectoryPublisher, prod: DirectoryPublisher
) -> None:
    other = make_wheel(tmp_path / "other", "foo", "2.0", requires=["bar"])
    await publish(prod, other)
    with pytest.raises(FileConflict, match=r"foo-2\.0-py3-none-any\.whl"):
        await Promotion(dev, prod).promote(Selection(FOO), ANA)
    assert list(await files(prod)) == [other.name]
    await Upkeep(prod).delete(Selection(FOO), ANA)
    with pytest.raises(FileConflict, match="deleted"):
        await Promotion(dev, prod).promote(Selection(FOO), ANA)


async def test_a_volatile_index_gets_the_new_bytes_with_what_is_beside_them(
    tmp_path: Path, dev: DirectoryPublisher
) -> None:
    other = make_wheel(tmp_path / "other", "foo", "2.0", requires=["bar"])
    async with publishing(tmp_path / "prod", overwrite=True) as prod:
        await publish(prod, other, beside={".sig": b"of other bytes"})
        await Upkeep(prod).yank(Selection(FOO), "old", ANA)
        (change,) = await Promotion(dev, prod).promote(Selection(FOO, version="2.0"), ANA)
        assert change.action is Action.REPLACE
        assert await same_as_in(dev, prod)
        assert not (prod.root / "foo" / f"{other.name}.sig").exists()


async def test_the_rules_are_those_of_uploads(
    tmp_path: Path, dev: DirectoryPublisher, prod: DirectoryPublisher
) -> None:
    await Promotion(dev, prod).promote(FIRST, ANA)
    with pytest.raises(NotPermitted, match="foo belongs to ana"):
        await Promotion(dev, prod).promote(Selection(FOO), BEN)
    await Upkeep(prod).set_status(FOO, ProjectStatus("archived"), ANA)
    with pytest.raises(NotPermitted, match="foo is archived"):
        await Promotion(dev, prod).promote(Selection(FOO), ANA)
    async with publishing(tmp_path / "taken", upstream={"foo"}) as taken:
        with pytest.raises(NotPermitted, match="`waystation claim foo`"):
            await Promotion(dev, taken).promote(FIRST, ADMIN)
    async with publishing(tmp_path / "small", max_file=100) as small:
        with pytest.raises(UploadTooLarge, match="takes at most 100"):
            await Promotion(dev, small).promote(FIRST, ADMIN)
    size = max((file.size or 0) for file in (await files(dev)).values())
    async with publishing(tmp_path / "narrow", project_quota=size) as narrow:
        with pytest.raises(UploadTooLarge, match="the project would take"):
            await Promotion(dev, narrow).promote(Selection(FOO), ADMIN)
        assert await files(narrow) == {}


async def test_what_is_not_in_the_source_cannot_be_promoted(
    dev: DirectoryPublisher, prod: DirectoryPublisher
) -> None:
    with pytest.raises(UploadRefused, match=r"there is no file version 3\.0 of foo in dev"):
        await Promotion(dev, prod).promote(Selection(FOO, version="3.0"), ADMIN)
    with pytest.raises(UploadRefused, match="there is no file bar in dev"):
        await Promotion(dev, prod).promote(Selection(ProjectName("bar")), ADMIN)
