"""Yank, delete, restore, status, owners and claims, and what the journal says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.errors import UploadRefused
from proxy.model import ProjectName, ProjectStatus
from proxy.publish import Action, Selection, Upkeep
from tests.support.clock import Clock
from tests.support.distributions import make_wheel
from tests.support.publishing import ANA, DirectoryPublisher, publish, publishing

FOO = ProjectName("foo")
ALL, FIRST = Selection(FOO), Selection(FOO, version="1.0")
NOW = 1_800_000_000.0


@pytest.fixture
async def publisher(tmp_path: Path) -> AsyncIterator[DirectoryPublisher]:
    """With two versions of foo, the first one with a signature."""
    async with publishing(tmp_path / "packages", clock=Clock(NOW)) as publisher:
        for version in ("1.0", "2.0"):
            beside = {".asc": b"signed"} if version == "1.0" else {}
            wheel = make_wheel(tmp_path / "dist", "foo", version)
            await publish(publisher, wheel, beside=beside)
        yield publisher


async def yanked(publisher: DirectoryPublisher) -> list[bool | str]:
    page = await publisher.page(FOO)
    return [file.yanked for file in page.files] if page else []


async def test_a_deleted_version_can_be_restored_as_it_was(publisher: DirectoryPublisher) -> None:
    upkeep, before = Upkeep(publisher), await publisher.page(FOO)
    await upkeep.yank(FIRST, "bad", ANA)
    assert before
    yanked_page = await publisher.page(FOO)
    await upkeep.delete(FIRST, ANA)
    page = await publisher.page(FOO)
    assert page
    assert page.files == before.files[1:]
    assert len(await upkeep.restore(FIRST, ANA)) == 1
    assert await publisher.page(FOO) == yanked_page
    assert (publisher.root / "foo" / f"{before.files[0].filename}.asc").read_bytes() == b"signed"
    with pytest.raises(UploadRefused, match=r"no deleted file is kept of version 1\.0 of foo"):
        await upkeep.restore(FIRST, ANA)


async def test_a_deleted_project_stays_private_and_can_be_restored(
    publisher: DirectoryPublisher,
) -> None:
    upkeep = Upkeep(publisher)
    assert len(await upkeep.delete(ALL, ANA)) == 2
    page = await publisher.page(FOO)
    assert page
    assert page.files == ()
    assert len(await upkeep.restore(ALL, ANA)) == 2
    assert len(await yanked(publisher)) == 2


async def test_deleted_bytes_are_removed_after_a_time(publisher: DirectoryPublisher) -> None:
    upkeep = Upkeep(publisher)
    await upkeep.delete(FIRST, ANA)
    assert await upkeep.remove_deleted(before=NOW) == 0
    assert await upkeep.remove_deleted(before=NOW + 1) == 1
    assert await upkeep.remove_deleted(before=NOW + 1) == 0
    assert list((publisher.private_folder / "deleted").iterdir()) == []
    assert publisher.journal.changes()[-1].action is Action.REMOVE
    with pytest.raises(UploadRefused):
        await upkeep.restore(FIRST, ANA)


async def test_the_status_of_a_project_is_on_its_page(publisher: DirectoryPublisher) -> None:
    upkeep = Upkeep(publisher)
    await upkeep.set_status(FOO, ProjectStatus("deprecated", "use bar"), ANA)
    page = await publisher.page(FOO)
    assert page
    assert page.status == ProjectStatus("deprecated", "use bar")
    await upkeep.set_status(FOO, ProjectStatus("active"), ANA)
    page = await publisher.page(FOO)
    assert page
    assert page.status is None
    with pytest.raises(UploadRefused, match="there is no status 'sold'"):
        await upkeep.set_status(FOO, ProjectStatus("sold"), ANA)


async def test_what_is_not_there_cannot_be_changed(publisher: DirectoryPublisher) -> None:
    upkeep = Upkeep(publisher)
    with pytest.raises(UploadRefused, match=r"there is no file version 3\.0 of foo in private"):
        await upkeep.yank(Selection(FOO, version="3.0"), "", ANA)
    with pytest.raises(UploadRefused, match="private has no project bar"):
        await upkeep.delete(Selection(ProjectName("bar")), ANA)
    with pytest.raises(UploadRefused, match="has no project bar"):
        await upkeep.set_status(ProjectName("bar"), ProjectStatus("archived"), ANA)
    assert len(publisher.journal.changes()) == 2


async def test_files_that_were_copied_in_can_be_changed_too(
    tmp_path: Path, publisher: DirectoryPublisher
) -> None:
    make_wheel(publisher.root, "foo", "3.0")
    upkeep, third = Upkeep(publisher), Selection(FOO, version="3.0")
    await upkeep.yank(third, "old", ANA)
    assert await yanked(publisher) == [False, False, "old"]
    await upkeep.delete(third, ANA)
    await upkeep.restore(third, ANA)
    assert await yanked(publisher) == [False, False, "old"]


async def test_numbers_of_changes_rise_over_restarts(publisher: DirectoryPublisher) -> None:
    await Upkeep(publisher).yank(ALL, "", ANA)
    async with publishing(publisher.root) as second:
        await Upkeep(second).unyank(ALL, ANA)
        assert [each.number for each in second.journal.changes()] == [1, 2, 3, 4, 5, 6]
    assert [each.number for each in publisher.journal.changes(since=4)] == [5, 6]
    assert publisher.journal.last_number() == 6
