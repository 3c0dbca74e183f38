"""Files that are not listed still keep their names private."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import NoSuchProject
from proxy.indexes.local import LocalDirectory
from proxy.model import ProjectName
from tests.support.directories import FOO, HeardChanges, names, opened
from tests.support.distributions import make_wheel
from tests.support.records import CountedRecords

TOOL = ProjectName("acme-tool")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("watch", [True, False])
async def test_what_cannot_be_listed_claims_its_project(
    tmp_path: Path, before: bool, watch: bool
) -> None:
    root, elsewhere = tmp_path / "packages", tmp_path / "elsewhere"
    root.mkdir()
    wheel = make_wheel(elsewhere, "acme_tool", "1.5")

    def put() -> None:
        (root / wheel.name).symlink_to(wheel)
        (root / "acme-old-1.0.tar.bz2").write_bytes(b"BZh")

    if before:
        put()
    heard = HeardChanges()
    directory = LocalDirectory("private", root, CountedRecords(), heard, watch=watch)
    await directory.open()
    try:
        if not before:
            with pytest.raises(NoSuchProject):
                await directory.page(TOOL)
            put()
        for name in (TOOL, ProjectName("acme-old")):
            assert (await directory.page(name)).files == ()
        assert {TOOL, "acme-old"} <= await directory.projects()
        if not before and watch:
            assert TOOL in heard.changes()
    finally:
        await directory.close()


@pytest.mark.parametrize("watch", [True, False])
async def test_a_name_that_only_a_broken_file_claimed_can_be_given_up(
    tmp_path: Path, watch: bool
) -> None:
    broken = tmp_path / "foo-9-py3-none-any.whl"
    records = CountedRecords()
    async with opened(tmp_path, records, watch=watch) as directory:
        broken.write_bytes(b"junk")
        assert await names(directory) == []
        await directory.release(FOO)
        assert await names(directory) == []  # the file is still there
        broken.unlink()
        assert await names(directory) == []  # a name does not fall free by itself
        await directory.release(FOO)
        with pytest.raises(NoSuchProject):
            await directory.page(FOO)
        assert FOO not in await directory.projects()
        broken.write_bytes(b"junk")
        assert await names(directory) == []


@pytest.mark.parametrize("watch", [True, False])
async def test_what_cannot_be_listed_keeps_its_name_until_the_last_of_it_is_gone(
    tmp_path: Path, watch: bool
) -> None:
    root, elsewhere = tmp_path / "packages", tmp_path / "elsewhere"
    root.mkdir()
    links = [root / make_wheel(elsewhere, "foo", version).name for version in ("1.0", "2.0")]
    for link in links:
        link.symlink_to(elsewhere / link.name)
    async with opened(root, watch=watch) as directory:
        for link in links:
            await directory.release(FOO)
            assert await names(directory) == []
            link.unlink()
        await directory.release(FOO)
        with pytest.raises(NoSuchProject):
            await directory.page(FOO)
