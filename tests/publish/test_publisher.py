"""Publishing to a directory: what is listed then, who may, and what conflicts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from proxy.errors import FileConflict, NotPermitted, UploadTooLarge
from proxy.model import SIGNATURE, ProjectName, ProjectStatus
from proxy.publish import Action, Selection, Upkeep
from tests.support.distributions import make_sdist, make_wheel
from tests.support.publishing import ADMIN, ANA, BEN, DirectoryPublisher, publish, publishing

FOO = ProjectName("foo")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "dist", "foo", "1.0")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Other bytes of the same name."""
    return make_wheel(tmp_path / "other", "foo", "1.0", requires=["bar"])


def stored(root: Path) -> set[str]:
    """Files of packages and spool files, without the journal."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root))
        for path in files
        if path.name != "lock" and not path.name.startswith("journal")
    }


async def listed(publisher: DirectoryPublisher) -> list[str]:
    page = await publisher.page(FOO)
    return [file.filename for file in page.files] if page else []


async def test_a_published_file_is_on_the_page_at_once(tmp_path: Path, wheel: Path) -> None:
    root = tmp_path / "packages"
    async with publishing(root) as publisher:
        assert await publish(publisher, wheel)
        assert await listed(publisher) == [wheel.name]
        assert await publish(publisher, make_sdist(tmp_path / "dist", "foo", "1.0"))
        (change, _) = publisher.journal.changes()
        assert (change.number, change.actor, change.action) == (1, "ana", Action.PUBLISH)
        assert (change.project, change.version, change.filename) == ("foo", "1.0", wheel.name)
        assert change.size == wheel.stat().st_size
    assert (root / "foo" / wheel.name).read_bytes() == wheel.read_bytes()
    assert stored(root) == {f"foo/{wheel.name}", "foo/foo-1.0.tar.gz"}


async def test_a_signature_is_kept_beside_the_file(tmp_path: Path, wheel: Path) -> None:
    root = tmp_path / "packages"
    async with publishing(root) as publisher:
        await publish(publisher, wheel, beside={SIGNATURE: b"signed"})
    assert (root / "foo" / f"{wheel.name}.asc").read_bytes() == b"signed"


async def test_the_same_bytes_again_change_nothing(tmp_path: Path, wheel: Path) -> None:
    async with publishing(tmp_path / "packages") as publisher:
        await publish(publisher, wheel)
        assert not await publish(publisher, wheel)
        assert len(publisher.journal.changes()) == 1


async def test_other_bytes_of_a_name_conflict(tmp_path: Path, wheel: Path, other: Path) -> None:
    root = tmp_path / "packages"
    async with publishing(root) as publisher:
        await publish(publisher, wheel)
        with pytest.raises(FileConflict, match="File already exists"):
            await publish(publisher, other)
        await Upkeep(publisher).delete(Selection(FOO), ANA)
        with pytest.raises(FileConflict, match="deleted"):
            await publish(publisher, other)
        assert await publish(publisher, wheel)
    assert (root / "foo" / wheel.name).read_bytes() == wheel.read_bytes()


async def test_a_volatile_index_replaces_bytes(tmp_path: Path, wheel: Path, other: Path) -> None:
    root = tmp_path / "packages"
    async with publishing(root, overwrite=True) as publisher:
        await publish(publisher, wheel)
        assert await publish(publisher, other)
        page = await publisher.page(FOO)
        assert page
        assert [file.size for file in page.files] == [other.stat().st_size]
        assert [each.action for each in publisher.journal.changes()] == ["publish", "replace"]
    assert stored(root) == {f"foo/{wheel.name}"}


@pytest.mark.parametrize("same", [True, False])
async def test_of_many_uploads_of_one_name_one_is_published(
    tmp_path: Path, wheel: Path, other: Path, same: bool
) -> None:
    root = tmp_path / "packages"
    async with publishing(root) as first, publishing(root) as second:
        uploads = (
            publish((first, second)[number % 2], wheel if same or number % 3 else other)
            for number in range(20)
        )
        results = await asyncio.gather(*uploads, return_exceptions=True)
        assert results.count(True) == 1
        conflicts = [each for each in results if isinstance(each, FileConflict)]
        assert len(conflicts) + results.count(False) == len(results) - 1
        assert bool(conflicts) is not same
        assert len(first.journal.changes()) == 1
        assert await listed(first) == await listed(second) == [wheel.name]
    assert stored(root) == {f"foo/{wheel.name}"}


async def test_the_first_user_owns_the_name(tmp_path: Path, wheel: Path) -> None:
    newer = make_wheel(tmp_path / "dist", "foo", "2.0")
    async with publishing(tmp_path / "packages") as publisher:
        await publish(publisher, wheel, ANA)
        with pytest.raises(NotPermitted, match="foo belongs to ana"):
            await publish(publisher, newer, BEN)
        with pytest.raises(NotPermitted, match="belongs to ana"):
            await Upkeep(publisher).yank(Selection(FOO), "", BEN)
        await Upkeep(publisher).set_owners(FOO, ["ana", "ben"], ANA)
        assert await publish(publisher, newer, BEN)
        assert await publish(publisher, make_wheel(tmp_path / "dist", "foo", "3.0"), ADMIN)


async def test_a_name_of_upstream_has_to_be_claimed(tmp_path: Path, wheel: Path) -> None:
    async with publishing(tmp_path / "packages", upstream={"foo"}) as publisher:
        with pytest.raises(NotPermitted, match="`waystation claim foo`"):
            await publish(publisher, wheel, ADMIN)
        with pytest.raises(NotPermitted, match="only an administrator"):
            await Upkeep(publisher).claim(FOO, ANA)
        await Upkeep(publisher).claim(FOO, ADMIN)
        assert await publish(publisher, wheel, ANA)
        await Upkeep(publisher).delete(Selection(FOO), ANA)
        assert await listed(publisher) == []
        assert await publish(publisher, wheel, ANA)


@pytest.mark.parametrize("status", ["archived", "quarantined"])
async def test_a_project_that_is_closed_takes_no_files(
    tmp_path: Path, wheel: Path, status: str
) -> None:
    newer = make_wheel(tmp_path / "dist", "foo", "2.0")
    async with publishing(tmp_path / "packages") as publisher:
        await publish(publisher, wheel)
        upkeep = Upkeep(publisher)
        await upkeep.set_status(FOO, ProjectStatus(status, "see bar"), ANA)
        with pytest.raises(NotPermitted, match=f"foo is {status}"):
            await publish(publisher, newer)
        await upkeep.set_status(FOO, ProjectStatus("active"), ANA)
        assert await publish(publisher, newer)
        assert len(await listed(publisher)) == 2


async def test_quotas_count_what_is_published_now(tmp_path: Path, wheel: Path) -> None:
    size = wheel.stat().st_size
    second = make_wheel(tmp_path / "dist", "foo", "2.0")
    async with publishing(
        tmp_path / "packages", user_quota=size + second.stat().st_size - 1
    ) as publisher:
        await publish(publisher, wheel)
        with pytest.raises(UploadTooLarge, match="all that you have published"):
            await publish(publisher, second)
        upkeep, first = Upkeep(publisher), Selection(FOO, version="1.0")
        for _ in range(2):  # what was restored counts again, once
            await upkeep.delete(first, ANA)
            await upkeep.restore(first, ANA)
        with pytest.raises(UploadTooLarge, match="all that you have published"):
            await publish(publisher, second)
        await upkeep.delete(first, ANA)
        assert await publish(publisher, second)
    async with publishing(tmp_path / "second", project_quota=size) as publisher:
        await publish(publisher, wheel)
        with pytest.raises(UploadTooLarge, match="the project"):
            await publish(publisher, second, ADMIN)


async def test_a_file_that_is_too_large_leaves_nothing(tmp_path: Path, wheel: Path) -> None:
    root = tmp_path / "packages"
    async with publishing(root, max_file=100) as publisher:
        with pytest.raises(UploadTooLarge, match="more than 100"):
            await publish(publisher, wheel)
    assert stored(root) == set()


async def test_a_file_that_is_replaced_loses_the_signatures_of_its_former_bytes(
    tmp_path: Path,
) -> None:
    first = make_wheel(tmp_path / "dist", "foo", "1.0")
    other = make_wheel(tmp_path / "other", "foo", "1.0", requires=["bar"])
    async with publishing(tmp_path / "packages", overwrite=True) as publisher:
        await publish(publisher, first, beside={".asc": b"one", ".provenance": b"{}"})
        await publish(publisher, other, beside={".asc": b"two"})
        stored = sorted(path.name for path in publisher.folder(FOO).iterdir())
        assert stored == [first.name, f"{first.name}.asc"]
        assert (publisher.folder(FOO) / f"{first.name}.asc").read_bytes() == b"two"
