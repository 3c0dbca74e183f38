"""Claims on names that a local directory has, or had, and how they are given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import NoSuchProject
from proxy.storage.claims import Claims
from tests.support.directories import BAR, FOO, names, opened
from tests.support.distributions import make_wheel
from tests.support.records import CountedRecords


@pytest.mark.parametrize("watch", [True, False])
async def test_a_claim_purged_right_after_its_files_were_deleted_is_gone(
    tmp_path: Path, watch: bool
) -> None:
    records = CountedRecords()
    wheel = make_wheel(tmp_path, "foo", "1.0")
    async with opened(tmp_path, records, watch=watch) as directory:
        assert await names(directory) == [wheel.name]
        wheel.unlink()
        await directory.release(FOO)
        for _ in range(2):
            with pytest.raises(NoSuchProject):
                await directory.page(FOO)
        assert FOO not in await directory.projects()
    assert not records.claims.of(str(tmp_path))


@pytest.mark.parametrize("watch", [True, False])
async def test_a_name_that_is_purged_while_it_has_files_stays_private(
    tmp_path: Path, watch: bool
) -> None:
    file = tmp_path / "cache" / "private-names"
    root = tmp_path / "packages"
    wheel = make_wheel(root, "foo", "1.0")
    claims = Claims(file)
    async with opened(root, claims=claims, watch=watch) as directory:
        assert await Claims(file).release([FOO]) == {FOO}  # as another process does
        assert claims.refresh() == (set(), {FOO})
        await directory.release(FOO)
        wheel.unlink()
        assert await names(directory) == []
    claims = Claims(file)
    await claims.load(CountedRecords())
    async with opened(root, claims=claims, watch=watch) as directory:
        assert await names(directory) == []


async def test_only_the_claim_that_is_named_is_given_up(tmp_path: Path) -> None:
    records = CountedRecords()
    for name in ("foo", "bar"):
        make_wheel(tmp_path, name, "1.0")
    async with opened(tmp_path, records) as directory:
        for wheel in tmp_path.glob("*.whl"):
            wheel.unlink()
        await directory.release(FOO)
        assert await names(directory, BAR) == []
        assert await directory.projects() == {"bar"}
