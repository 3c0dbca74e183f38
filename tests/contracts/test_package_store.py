"""The contract of ``PackageStore``, run over every place that packages can be in."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
import pytest_asyncio
from obstore.store import MemoryStore

from proxy.errors import FileConflict, NotPermitted, UploadRefused, UploadTooLarge
from proxy.migration import Intake, IntakeResult, Offer, open_folder
from proxy.model import (
    METADATA,
    PROVENANCE,
    SIGNATURE,
    YANKED_SUFFIX,
    File,
    ProjectName,
    ProjectStatus,
)
from proxy.publish import Action, PastIndex, Promotion, Publisher, Selection, Snapshots, Upkeep
from proxy.scale import open_object_store
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.distributions import make_sdist, make_wheel
from tests.support.object_packages import replica
from tests.support.publishing import ADMIN, ANA, BEN, publish, publishing

FOO = ProjectName("foo")
ALL, FIRST = Selection(FOO), Selection(FOO, version="1.0")
BESIDE = {SIGNATURE: b"signed", PROVENANCE: b"{}"}
Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Publisher]]
"""Opens another publisher to the same place."""


@pytest_asyncio.fixture(params=["directory", "objects", "seaweedfs"])
async def open_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:
        if request.param == "directory":
            yield lambda **options: publishing(tmp_path / "packages", **options)
            return
        store: Any = MemoryStore()
        if request.param == "seaweedfs":
            url = request.getfixturevalue("bucket")
            store = await stack.enter_async_context(open_object_store(url))
        numbers = count()
        yield lambda **options: replica(store, tmp_path / f"replica{next(numbers)}", **options)


@pytest.fixture
async def publisher(open_place: Open, tmp_path: Path) -> AsyncIterator[Publisher]:
    """With two versions of foo, the first one with a signature and provenance."""
    async with open_place() as publisher:
        await publish(publisher, make_wheel(tmp_path / "dist", "foo", "1.0"), beside=BESIDE)
        await publish(publisher, make_sdist(tmp_path / "dist", "foo", "2.0"))
        yield publisher


async def files(publisher: Publisher) -> dict[str, File]:
    page = await publisher.page(FOO)
    return {file.filename: file for file in page.files} if page else {}


async def yanked(publisher: Publisher) -> list[bool | str]:
    return [file.yanked for file in (await files(publisher)).values()]


def actions(publisher: Publisher, since: int = 0) -> list[str]:
    return [change.action for change in publisher.journal.changes(since)]


async def test_what_is_published_is_listed_and_served_as_it_was_sent(
    publisher: Publisher, tmp_path: Path
) -> None:
    listed = await files(publisher)
    for path in (tmp_path / "dist").iterdir():
        artifact = await publisher.packages.index.file(FOO, path.name)
        assert await read_blob(artifact.blob) == path.read_bytes()
        assert listed[path.name].size == path.stat().st_size
        assert listed[path.name].uploaded
    assert len(listed) == 2
    (name, _) = sorted(listed)
    provenance = await publisher.packages.index.file(FOO, name + PROVENANCE)
    assert await read_blob(provenance.blob) == b"{}"


async def test_changes_are_numbered_and_kept(open_place: Open, publisher: Publisher) -> None:
    await Upkeep(publisher).yank(ALL, "", ANA)
    async with open_place() as other:
        await Upkeep(other).unyank(FIRST, ANA)
        assert [each.number for each in other.journal.changes()] == [1, 2, 3, 4, 5]
        assert actions(other, since=3) == ["yank", "unyank"]
        assert other.journal.last_number() == 5
        first = other.journal.changes()[0]
        assert (first.actor, first.project, first.version) == ("ana", "foo", "1.0")
        assert len(other.journal.changes_of(FOO)) == 5
        assert other.journal.changes_of(ProjectName("bar")) == []
        last = other.journal.last_of_file(first.filename, Action.UNYANK, Action.PUBLISH)
        assert last
        assert last.number == 5


async def test_the_same_bytes_again_change_nothing(publisher: Publisher, tmp_path: Path) -> None:
    assert not await publish(publisher, make_wheel(tmp_path / "dist", "foo", "1.0"))
    assert actions(publisher) == ["publish", "publish"]


async def test_a_name_keeps_its_bytes_also_after_its_deletion(
    publisher: Publisher, tmp_path: Path
) -> None:
    other = make_wheel(tmp_path / "other", "foo", "1.0", requires=["bar"])
    with pytest.raises(FileConflict, match="File already exists"):
        await publish(publisher, other)
    await Upkeep(publisher).delete(ALL, ANA)
    assert await files(publisher) == {}
    with pytest.raises(FileConflict, match="deleted"):
        await publish(publisher, other)
    assert await publish(publisher, make_wheel(tmp_path / "dist", "foo", "1.0"))


async def test_a_volatile_index_replaces_bytes(open_place: Open, tmp_path: Path) -> None:
    other = make_wheel(tmp_path / "other", "foo", "1.0", requires=["bar"])
    async with open_place(overwrite=True) as publisher:
        await publish(publisher, make_wheel(tmp_path / "dist", "foo", "1.0"), beside=BESIDE)
        assert await publish(publisher, other)
        (file,) = (await files(publisher)).values()
        assert (file.size, file.provenance) == (other.stat().st_size, None)
        assert actions(publisher) == ["publish", "replace"]
        artifact = await publisher.packages.index.file(FOO, file.filename)
        assert await read_blob(artifact.blob) == other.read_bytes()


@pytest.mark.parametrize("same", [True, False])
async def test_of_many_uploads_of_one_name_one_is_published(
    open_place: Open, tmp_path: Path, same: bool
) -> None:
    wheels = [
        make_wheel(
            tmp_path / f"dist{number}", "foo", "1.0", requires=[] if same else [f"r{number}"]
        )
        for number in range(20)
    ]
    async with open_place() as first, open_place() as second:
        uploads = (
            publish((first, second)[number % 2], wheel) for number, wheel in enumerate(wheels)
        )
        results = await asyncio.gather(*uploads, return_exceptions=True)
        assert results.count(True) == 1
        conflicts = [each for each in results if isinstance(each, FileConflict)]
        assert len(conflicts) == (0 if same else 19), results
        winner = wheels[results.index(True)]
    async with open_place() as third:
        assert actions(third) == ["publish"]
        artifact = await third.packages.index.file(FOO, winner.name)
        assert await read_blob(artifact.blob) == winner.read_bytes()


async def test_of_two_first_users_at_once_one_owns_the_name(
    open_place: Open, tmp_path: Path
) -> None:
    """Whether they upload by one process or by two."""
    wheels = [make_wheel(tmp_path / "dist", "foo", f"{number}.0") for number in range(4)]
    async with open_place() as first, open_place() as second:
        uploads = zip((first, first, second, second), wheels, (ANA, BEN) * 2, strict=True)
        results = await asyncio.gather(
            *(publish(place, wheel, editor) for place, wheel, editor in uploads),
            return_exceptions=True,
        )
        assert [isinstance(each, NotPermitted) for each in results].count(True) == 2, results
    async with open_place() as third:
        (owner,) = third.journal.owners(FOO)
        assert {change.actor for change in third.journal.changes()} == {owner}
        assert len(await files(third)) == 2


@pytest.mark.parametrize("limit", ["project_quota", "user_quota"])
async def test_uploads_at_once_stay_below_a_quota(
    open_place: Open, tmp_path: Path, limit: str
) -> None:
    wheels = [make_wheel(tmp_path / "dist", "foo", f"{number}.0") for number in range(8)]
    size = max(wheel.stat().st_size for wheel in wheels)
    options: dict[str, Any] = {limit: 3 * size}
    async with open_place(**options) as first, open_place(**options) as second:
        uploads = (
            publish((first, second)[number % 2], wheel) for number, wheel in enumerate(wheels)
        )
        results = await asyncio.gather(*uploads, return_exceptions=True)
        assert results.count(True) == 3
        assert [isinstance(each, UploadTooLarge) for each in results].count(True) == 5, results
    async with open_place() as third:
        assert len(await files(third)) == 3


async def test_later_bytes_of_a_name_can_be_restored_after_the_first_ones_are_removed(
    open_place: Open, tmp_path: Path
) -> None:
    clock = Clock()
    async with open_place(overwrite=True, clock=clock) as publisher:
        upkeep = Upkeep(publisher)
        await publish(publisher, make_wheel(tmp_path / "first", "foo", "1.0"))
        await upkeep.delete(ALL, ANA)
        clock.advance(10)
        later = make_wheel(tmp_path / "later", "foo", "1.0", requires=["bar"])
        await publish(publisher, later)
        await upkeep.delete(ALL, ANA)
        assert await upkeep.remove_deleted(before=clock() - 5) == 1
        await upkeep.restore(ALL, ANA)
        artifact = await publisher.packages.index.file(FOO, later.name)
        assert await read_blob(artifact.blob) == later.read_bytes()


async def test_deleted_files_can_be_restored_until_they_are_removed(publisher: Publisher) -> None:
    upkeep = Upkeep(publisher)
    await upkeep.yank(FIRST, "bad", ANA)
    before = await files(publisher)
    (change,) = await upkeep.delete(FIRST, ANA)
    assert [each.filename for each in publisher.journal.deleted()] == [change.filename]
    assert len(await files(publisher)) == 1
    await upkeep.restore(FIRST, ANA)
    assert await files(publisher) == before
    with pytest.raises(UploadRefused, match=r"no deleted file is kept of version 1\.0 of foo"):
        await upkeep.restore(FIRST, ANA)
    await upkeep.delete(ALL, ANA)
    assert await upkeep.remove_deleted(before=publisher.clock()) == 0
    assert await upkeep.remove_deleted(before=publisher.clock() + 1) == 2
    assert await upkeep.remove_deleted(before=publisher.clock() + 1) == 0
    assert publisher.journal.deleted() == []
    with pytest.raises(UploadRefused):
        await upkeep.restore(ALL, ANA)
    assert await files(publisher) == {}
    await publisher.packages.tidy()


async def test_a_yank_has_a_reason_and_can_be_taken_back(publisher: Publisher) -> None:
    upkeep = Upkeep(publisher)
    (change,) = await upkeep.yank(FIRST, "it \n breaks", ANA)
    assert (change.version, change.detail) == ("1.0", "it breaks")
    assert await yanked(publisher) == ["it breaks", False]
    assert await upkeep.yank(FIRST, "it breaks", ANA) == []
    assert len(await upkeep.yank(ALL, "", ANA)) == 2
    assert await yanked(publisher) == [True, True]
    assert len(await upkeep.unyank(ALL, ANA)) == 2
    assert await upkeep.unyank(ALL, ANA) == []
    assert await yanked(publisher) == [False, False]
    assert actions(publisher, since=2) == [Action.YANK] * 3 + [Action.UNYANK] * 2


@pytest.mark.parametrize(
    "reason", ["it\0 breaks\x1b[1m\u202e all", "\ud800", "\U0001f40d" * 1000, '"' * 1000]
)
async def test_reasons_are_on_the_page_as_in_the_journal(publisher: Publisher, reason: str) -> None:
    """So that the same again, and a roll-back, change nothing."""
    upkeep, snapshots = Upkeep(publisher), Snapshots(publisher)
    (yank,) = await upkeep.yank(FIRST, reason, ANA)
    (closed,) = await upkeep.set_status(FOO, ProjectStatus("quarantined", reason), ANA)
    assert yank.detail.isprintable() and closed.detail == f"quarantined: {yank.detail}"
    page = await publisher.page(FOO)
    assert page
    assert (page.files, page.status) == ((), ProjectStatus("quarantined", yank.detail))
    await upkeep.set_status(FOO, ProjectStatus("deprecated", reason), ANA)
    assert await yanked(publisher) == [yank.detail, False]
    assert await upkeep.yank(FIRST, reason, ANA) == []
    await snapshots.create("before", ADMIN)
    assert await snapshots.restore("before", ADMIN) == []


async def test_reasons_and_owners_without_sense_are_refused(publisher: Publisher) -> None:
    upkeep = Upkeep(publisher)
    with pytest.raises(UploadRefused, match="more than 1000 characters"):
        await upkeep.yank(ALL, "x" * 1001, ANA)
    with pytest.raises(UploadRefused, match="more than 1000 characters"):
        await upkeep.set_status(FOO, ProjectStatus("archived", "x" * 1001), ANA)
    for name in ("", " ana", "a\nb", "\u202eana", "a" * 501):
        with pytest.raises(UploadRefused, match="cannot be the name of a user"):
            await upkeep.set_owners(FOO, ["ben", name], ANA)
    assert publisher.journal.owners(FOO) == ["ana"]


async def test_the_status_is_on_the_page_and_closes_the_project(
    publisher: Publisher, tmp_path: Path
) -> None:
    upkeep = Upkeep(publisher)
    for status in (ProjectStatus("archived", "use bar: now"), ProjectStatus("quarantined")):
        await upkeep.set_status(FOO, status, ANA)
        page = await publisher.page(FOO)
        assert page
        assert page.status == status
        assert len(page.files) == (0 if status.status == "quarantined" else 2)
        with pytest.raises(NotPermitted, match=f"foo is {status.status}"):
            await publish(publisher, make_wheel(tmp_path / "dist", "foo", "3.0"))
    await upkeep.set_status(FOO, ProjectStatus("active"), ANA)
    page = await publisher.page(FOO)
    assert page
    assert (page.status, len(page.files)) == (None, 2)


async def test_the_first_user_owns_the_name_until_others_do(
    open_place: Open, publisher: Publisher, tmp_path: Path
) -> None:
    newer = make_wheel(tmp_path / "dist", "foo", "3.0")
    with pytest.raises(NotPermitted, match="foo belongs to ana"):
        await publish(publisher, newer, BEN)
    await Upkeep(publisher).set_owners(FOO, ["ben", "eve with spaces"], ANA)
    async with open_place() as other:
        assert other.journal.owners(FOO) == ["ben", "eve with spaces"]
        with pytest.raises(NotPermitted, match="belongs to ben, eve"):
            await publish(other, newer, ANA)
        assert await publish(other, newer, BEN)


async def test_a_name_of_upstream_has_to_be_claimed(open_place: Open, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0")
    async with open_place(upstream={"foo"}) as publisher:
        with pytest.raises(NotPermitted, match="`waystation claim foo`"):
            await publish(publisher, wheel, ADMIN)
        await Upkeep(publisher).claim(FOO, ADMIN)
        assert publisher.journal.is_claimed(FOO)
        assert await files(publisher) == {}
        assert await publisher.page(FOO)
        assert await publish(publisher, wheel, ANA)


async def test_quotas_count_what_is_published_now(open_place: Open, tmp_path: Path) -> None:
    first = make_wheel(tmp_path / "dist", "foo", "1.0")
    second = make_wheel(tmp_path / "dist", "foo", "2.0")
    size = first.stat().st_size
    async with open_place(user_quota=size + second.stat().st_size - 1) as publisher:
        await publish(publisher, first)
        assert publisher.journal.bytes_of("ana") == size
        with pytest.raises(UploadTooLarge, match="all that you have published"):
            await publish(publisher, second)
        await Upkeep(publisher).delete(FIRST, ANA)
        assert await publish(publisher, second)


async def test_a_file_is_staged_with_all_that_is_beside_it(
    publisher: Publisher, tmp_path: Path
) -> None:
    await Upkeep(publisher).yank(FIRST, "bad", ANA)
    (file, _) = (await files(publisher)).values()
    async with publisher.packages.staged(file, tmp_path / "staged") as content:
        assert content.path.parent == tmp_path / "staged"
        assert content.path.read_bytes() == (tmp_path / "dist" / file.filename).read_bytes()
        assert content.beside == BESIDE | {YANKED_SUFFIX: b"bad"}
        assert file.uploaded_at
        assert content.path.stat().st_mtime == pytest.approx(file.uploaded_at.timestamp())
    assert list((tmp_path / "staged").iterdir()) == []


@pytest.mark.parametrize("from_directory", [True, False])
async def test_files_are_promoted_between_places(
    publisher: Publisher, tmp_path: Path, from_directory: bool
) -> None:
    await Upkeep(publisher).yank(FIRST, "bad", ANA)
    async with publishing(tmp_path / "other") as directory:
        if from_directory:
            await Promotion(publisher, directory).promote(ALL, ANA)
            await Upkeep(publisher).delete(ALL, ANA)
            await Upkeep(publisher).remove_deleted(before=publisher.clock() + 1)
        places: tuple[Publisher, Publisher] = (publisher, directory)
        source, target = reversed(places) if from_directory else places
        made = await Promotion(source, target).promote(ALL, ANA)
        assert [change.action for change in made] == ["publish", "yank", "publish"]
        before, after = await files(source), await files(target)
        assert before.keys() == after.keys()
        for name, file in after.items():
            there = before[name]
            assert (file.hashes, file.size, file.uploaded, file.yanked, file.metadata) == (
                *(there.hashes, there.size, there.uploaded, there.yanked, there.metadata),
            )
            assert bool(file.provenance) is bool(there.provenance)


@pytest.mark.parametrize("owners", [(), ("ana", "ben")])
async def test_files_of_other_servers_are_taken_with_time_yank_and_given_owners(
    open_place: Open, tmp_path: Path, owners: tuple[str, ...]
) -> None:
    wheel = make_wheel(tmp_path / "flat", "foo", "1.0")
    wheel.with_name(f"{wheel.name}{YANKED_SUFFIX}").write_text("it breaks")
    os.utime(wheel, (1_704_164_645.0, 1_704_164_645.0))
    (tmp_path / "flat" / "foo-2.0.zip").write_bytes(b"broken")
    source = open_folder(tmp_path / "flat", None)
    async with open_place() as publisher:
        intake = Intake(publisher, ADMIN, "elsewhere", owners=owners)
        (offer, broken) = [each async for each in source.found() if isinstance(each, Offer)]
        assert await intake.take(offer) is IntakeResult.PUBLISHED
        with pytest.raises(UploadRefused, match="cannot be published"):
            await intake.take(broken)
        (file,) = (await files(publisher)).values()
        assert (file.uploaded, file.yanked) == ("2024-01-02T03:04:05.000000Z", "it breaks")
        assert publisher.journal.owners(FOO) == list(owners)
        assert publisher.journal.is_claimed(FOO)
        details = [(each.action, each.detail) for each in publisher.journal.changes()]
        assert details[:2] == [("publish", "elsewhere"), ("yank", "it breaks")]
        hashes = {"md5": hashlib.md5(wheel.read_bytes(), usedforsecurity=False).hexdigest()}
        assert await intake.take(replace(offer, hashes=hashes)) is IntakeResult.PRESENT
        with pytest.raises(FileConflict):
            await intake.take(replace(offer, hashes={"md5": "0" * 32}))
        assert not list(publisher.packages.incoming.glob("*"))


async def test_a_file_that_is_refused_leaves_no_spool_file(
    open_place: Open, tmp_path: Path
) -> None:
    async with open_place(max_file=100) as publisher:
        with pytest.raises(UploadTooLarge, match="more than 100"):
            await publish(publisher, make_wheel(tmp_path / "dist", "foo", "1.0"))
        assert list(publisher.packages.incoming.glob("*")) == []
        assert await publisher.page(FOO) is None


async def test_a_snapshot_keeps_its_files_and_can_be_restored(
    open_place: Open, tmp_path: Path
) -> None:
    wheels = [
        make_wheel(tmp_path / str(number), "foo", "1.0", requires=["bar"] * number)
        for number in range(3)
    ]
    async with open_place(overwrite=True) as publisher:
        upkeep, snapshots = Upkeep(publisher), Snapshots(publisher)
        await publish(publisher, wheels[0], beside=BESIDE)
        await upkeep.yank(FIRST, "bad", ANA)
        before = await files(publisher)
        await snapshots.create("first", ADMIN)
        await publish(publisher, wheels[1])
        await publish(publisher, wheels[2])
        await publish(publisher, make_wheel(tmp_path / "dist", "foo", "2.0"))
        await publisher.packages.tidy()
        moment = await publisher.moment_of("first")
        assert moment
        past = PastIndex(publisher, moment)
        (file,) = (await past.page(FOO)).files
        assert file.yanked == "bad"
        metadata = await past.file(FOO, file.filename + METADATA, file.sha256)
        assert (await read_blob(metadata.blob)).startswith(b"Metadata-Version")
        blob = (await past.file(FOO, file.filename, file.sha256)).blob
        assert await read_blob(blob) == wheels[0].read_bytes()
        changes = await snapshots.restore("first", ADMIN)
        assert [each.action for each in changes] == [Action.DELETE, Action.DELETE, Action.RESTORE]
        after = await files(publisher)
        assert [(each.sha256, each.yanked) for each in after.values()] == [
            (each.sha256, each.yanked) for each in before.values()
        ]
        blob = (await publisher.packages.index.file(FOO, file.filename)).blob
        assert await read_blob(blob) == wheels[0].read_bytes()
        assert set(await publisher.packages.index.projects()) == {FOO}


async def test_bytes_are_kept_as_long_as_a_snapshot_has_them(publisher: Publisher) -> None:
    upkeep, snapshots = Upkeep(publisher), Snapshots(publisher)
    await snapshots.create("before", ADMIN)
    await upkeep.set_status(FOO, ProjectStatus("quarantined"), ANA)
    assert len(await publisher.packages.held(FOO)) == 2
    await upkeep.set_status(FOO, ProjectStatus("active"), ANA)
    await upkeep.delete(ALL, ANA)
    assert await upkeep.remove_deleted(before=publisher.clock() + 1) == 0
    await snapshots.restore("before", ADMIN)
    assert len(await files(publisher)) == 2
    await upkeep.delete(ALL, ANA)
    await snapshots.delete("before", ADMIN)
    assert await upkeep.remove_deleted(before=publisher.clock() + 1) == 2


async def test_attestations_are_added_to_a_file_that_is_there(
    open_place: Open, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0")
    async with open_place() as publisher:
        await publish(publisher, wheel)
        before = await files(publisher)
        provenance = b'{"version":1,"attestation_bundles":[]}'
        assert not await publish(publisher, wheel, beside={PROVENANCE: provenance})
        assert actions(publisher) == ["publish", "attest"]
        (file,) = (await files(publisher)).values()
        assert file.provenance
        assert [msgspec.structs.replace(file, provenance=None)] == list(before.values())
        await publisher.packages.tidy()
    async with open_place() as other:
        for suffix, data in ((PROVENANCE, provenance), ("", wheel.read_bytes())):
            artifact = await other.packages.index.file(FOO, wheel.name + suffix)
            assert await read_blob(artifact.blob) == data
