"""Several directories and archives as one index."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from proxy.errors import IndexUnavailable, NoSuchFile, NoSuchProject
from proxy.indexes import Merged
from proxy.model import METADATA, ProjectName
from tests.indexes.local.test_zip import archive
from tests.support.content import read_blob, sha256
from tests.support.directories import BAR, FOO, opened
from tests.support.distributions import make_sdist, make_wheel, wheel_metadata
from tests.support.records import CountedRecords

WHEEL = "foo-1.0-py3-none-any.whl"


@asynccontextmanager
async def union(*roots: Path, records: CountedRecords | None = None) -> AsyncIterator[Merged]:
    records = records or CountedRecords()
    async with AsyncExitStack() as stack:
        opening = (opened(each, records) for each in roots)
        yield Merged("private", [await stack.enter_async_context(each) for each in opening])


async def listed(index: Merged) -> list[str]:
    return [file.filename for file in (await index.page(FOO)).files]


async def test_all_files_are_listed_and_the_earlier_one_of_a_name_is_served(
    tmp_path: Path,
) -> None:
    one = make_wheel(tmp_path / "1", "foo", "1.0")
    make_wheel(tmp_path / "2", "foo", "1.0", requires=["bar"])
    two = make_sdist(tmp_path / "2" / "deep" / "er", "foo", "0.9")
    three = make_wheel(tmp_path / "made", "foo", "2.0")
    root = archive(tmp_path / "wheels.zip", {three.name: three, WHEEL: b"no wheel"})
    async with union(tmp_path / "1", tmp_path / "2", root) as index:
        page = await index.page(FOO)
        assert {file.filename for file in page.files} == {WHEEL, two.name, three.name}
        assert set(page.versions) == {"1.0", "0.9", "2.0"}
        for source in (one, two, three):
            file = page.file(source.name)
            artifact = await index.file(FOO, source.name, file.address_digest)
            assert await read_blob(artifact.blob) == source.read_bytes()
            assert file.sha256 == sha256(source.read_bytes())
        for source in (one, three):
            artifact = await index.file(FOO, source.name + METADATA)
            assert await read_blob(artifact.blob) == wheel_metadata(source)
        with pytest.raises(NoSuchFile):
            await index.file(FOO, "foo-3.0.tar.gz")
        assert await index.projects() == {FOO, "deep"}


async def test_the_other_file_of_the_name_appears_when_the_first_has_gone(tmp_path: Path) -> None:
    one = make_wheel(tmp_path / "1", "foo", "1.0")
    two = make_wheel(tmp_path / "2", "foo", "1.0", requires=["bar"])
    async with union(tmp_path / "1", tmp_path / "2") as index:
        first = await index.page(FOO)
        one.unlink()
        second = await index.page(FOO)
        assert first.version != second.version
        assert second.files[0].sha256 == sha256(two.read_bytes())
        with pytest.raises(NoSuchFile):
            await index.file(FOO, WHEEL, first.files[0].address_digest)


async def test_a_project_is_private_if_it_was_in_any(tmp_path: Path) -> None:
    records = CountedRecords()
    (tmp_path / "1").mkdir()
    make_wheel(tmp_path / "made", "foo", "1.0")
    root = archive(tmp_path / "2.zip", {WHEEL: tmp_path / "made" / WHEEL})
    other = make_wheel(tmp_path / "made", "bar", "1.0")
    async with union(tmp_path / "1", root, records=records) as index:
        assert await listed(index) == [WHEEL]
        archive(root, {other.name: other})
        assert await listed(index) == []
    async with union(tmp_path / "1", root, records=records) as index:
        assert await listed(index) == []
        with pytest.raises(NoSuchProject):
            await index.page(ProjectName("baz"))


async def test_one_that_cannot_be_read_stops_the_search(tmp_path: Path) -> None:
    make_wheel(tmp_path / "1", "foo", "1.0")
    make_wheel(tmp_path / "2", "bar", "1.0")
    async with union(tmp_path / "1", tmp_path / "2") as index:
        assert await listed(index) == [WHEEL]
        await index.page(BAR)  # a file that is being read would delay the kernel's event
        shutil.rmtree(tmp_path / "2")
        for project in (FOO, BAR):
            with pytest.raises(IndexUnavailable):
                await index.page(project)
        assert (await index.explain(FOO)).result == "unavailable"
