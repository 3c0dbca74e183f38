"""Snapshots and the roll-back to one: what is kept for it, what it undoes, and what is refused."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.errors import NotPermitted, UploadRefused
from proxy.model import PROVENANCE, SIGNATURE, File, ProjectName, ProjectStatus
from proxy.publish import Action, PastIndex, Selection, Snapshots, Upkeep
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.distributions import make_wheel
from tests.support.publishing import ADMIN, ANA, DirectoryPublisher, publish, publishing
from tests.support.running import OURS, command, environment

FOO, BAR = ProjectName("foo"), ProjectName("bar")
FIRST = Selection(FOO, version="1.0")
NOW = 1_800_000_000.0
BESIDE = {SIGNATURE: b"signed", PROVENANCE: b"{}"}


@pytest.fixture
async def publisher(tmp_path: Path) -> AsyncIterator[DirectoryPublisher]:
    """With foo 1.0, which the snapshot "before" has, and that alone."""
    async with publishing(tmp_path / "packages", clock=Clock(NOW)) as publisher:
        await publish(publisher, make_wheel(tmp_path / "dist", "foo", "1.0"), beside=BESIDE)
        await Snapshots(publisher).create("before", ADMIN)
        yield publisher


async def files(publisher: DirectoryPublisher, project: ProjectName = FOO) -> tuple[File, ...]:
    page = await publisher.page(project)
    return page.files if page else ()


async def test_a_roll_back_is_made_of_ordinary_changes(
    tmp_path: Path, publisher: DirectoryPublisher
) -> None:
    upkeep, before = Upkeep(publisher), await files(publisher)
    await upkeep.yank(FIRST, "bad", ANA)
    await upkeep.delete(FIRST, ANA)
    for project, version in ((FOO, "2.0"), (BAR, "1.0")):
        await publish(publisher, make_wheel(tmp_path / "dist", project, version))
    await upkeep.set_status(FOO, ProjectStatus("quarantined"), ANA)
    changes = await Snapshots(publisher).restore("before", ADMIN)
    assert await files(publisher) == before
    assert await files(publisher, BAR) == ()
    made = [(each.action, each.project, each.version, each.detail) for each in changes]
    assert made == [
        (Action.DELETE, BAR, "1.0", "snapshot before"),
        (Action.DELETE, FOO, "2.0", "snapshot before"),
        (Action.RESTORE, FOO, "1.0", "snapshot before"),
        (Action.UNYANK, FOO, "1.0", "snapshot before"),
        (Action.STATUS, FOO, "", "active"),
    ]
    assert {(each.actor, each.at) for each in changes} == {("root", NOW)}
    stored = publisher.journal.changes()[-len(changes) :]
    assert [(each.action, each.filename) for each in stored] == [
        (each.action, each.filename) for each in changes
    ]
    folder = publisher.folder(FOO)
    for suffix, data in BESIDE.items():
        assert (folder / f"{before[0].filename}{suffix}").read_bytes() == data
    assert await Snapshots(publisher).restore("before", ADMIN) == []


async def test_what_was_published_before_a_roll_back_is_undone_by_it(
    tmp_path: Path, publisher: DirectoryPublisher
) -> None:
    """An upload that ends while the roll-back is prepared is before it."""
    wheels = [make_wheel(tmp_path / "dist", "bar", f"{number}.0") for number in range(4)]
    await publish(publisher, wheels[0])
    async with publishing(publisher.root, clock=Clock(NOW)) as other:
        _, *published = await asyncio.gather(
            Snapshots(publisher).restore("before", ADMIN),
            *(publish(other, wheel) for wheel in wheels[1:]),
        )
        assert all(published)
    changes = publisher.journal.changes()
    last = max(each.number for each in changes if each.detail == "snapshot before")
    later = {each.filename for each in changes if each.number > last}
    assert {file.filename for file in await files(publisher, BAR)} == later


async def test_bytes_are_kept_as_long_as_a_snapshot_has_them(
    tmp_path: Path, publisher: DirectoryPublisher
) -> None:
    upkeep, snapshots = Upkeep(publisher), Snapshots(publisher)
    await publish(publisher, make_wheel(tmp_path / "dist", "foo", "2.0"))
    await upkeep.delete(Selection(FOO), ANA)
    assert await upkeep.remove_deleted(before=NOW + 1) == 1
    await snapshots.restore("before", ADMIN)
    assert [file.filename for file in await files(publisher)] == ["foo-1.0-py3-none-any.whl"]
    await upkeep.delete(FIRST, ANA)
    await snapshots.delete("before", ADMIN)
    assert await upkeep.remove_deleted(before=NOW + 1) == 1
    with pytest.raises(UploadRefused, match="private has no snapshot 'before'"):
        await snapshots.restore("before", ADMIN)


async def test_replaced_bytes_are_kept_for_a_snapshot_alone(tmp_path: Path) -> None:
    wheels = [
        make_wheel(tmp_path / str(number), "foo", "1.0", requires=["bar"] * number)
        for number in range(3)
    ]
    async with publishing(tmp_path / "packages", clock=Clock(NOW), overwrite=True) as publisher:
        snapshots = Snapshots(publisher)
        await publish(publisher, wheels[0], beside=BESIDE)
        await Upkeep(publisher).yank(FIRST, "bad", ANA)
        await snapshots.create("first", ADMIN)
        await publish(publisher, wheels[1])
        await publish(publisher, wheels[2])
        moment = await publisher.moment_of("first")
        assert moment
        past = PastIndex(publisher, moment)
        (file,) = (await past.page(FOO)).files
        assert file.yanked == "bad"
        blob = (await past.file(FOO, file.filename, file.sha256)).blob
        assert await read_blob(blob) == wheels[0].read_bytes()
        changes = await snapshots.restore("first", ADMIN)
        assert [each.action for each in changes] == [Action.DELETE, Action.RESTORE]
        (now,) = await files(publisher)
        assert (now.sha256, now.yanked) == (file.sha256, "bad")
        assert (publisher.folder(FOO) / f"{file.filename}{SIGNATURE}").read_bytes() == b"signed"
        await publish(publisher, wheels[1])
        deleted = publisher.private_folder / "deleted"
        assert len(list(deleted.glob("*/*.whl"))) == 2
        await snapshots.delete("first", ADMIN)
        (left,) = deleted.glob("*/*.whl*")  # what was deleted by the roll-back, until its time
        assert left.read_bytes() == wheels[2].read_bytes()


async def test_files_that_were_copied_in_count_from_their_upload_time_on(
    tmp_path: Path, publisher: DirectoryPublisher
) -> None:
    make_wheel(publisher.root / "bar", "bar", "1.0")
    snapshots = Snapshots(publisher)
    await snapshots.create("with-bar", ADMIN)
    await Upkeep(publisher).delete(Selection(BAR), ANA)
    await snapshots.restore("with-bar", ADMIN)
    assert len(await files(publisher, BAR)) == 1


async def test_a_file_that_is_gone_is_an_error_unless_it_may_be_left_out(
    publisher: DirectoryPublisher,
) -> None:
    (file,) = await files(publisher)
    (publisher.folder(FOO) / file.filename).unlink()
    await Upkeep(publisher).claim(BAR, ADMIN)
    snapshots, number = Snapshots(publisher), publisher.journal.last_number()
    with pytest.raises(UploadRefused, match=r"nothing was changed, as 1 files of before are not"):
        await snapshots.restore("before", ADMIN)
    assert publisher.journal.last_number() == number
    assert await snapshots.restore("before", ADMIN, incomplete=True) == []


async def test_what_is_refused(publisher: DirectoryPublisher) -> None:
    snapshots = Snapshots(publisher)
    for change in (snapshots.create, snapshots.delete, snapshots.restore):
        with pytest.raises(NotPermitted, match="by administrators"):
            await change("before", ANA)
    for name in ("", "2026-05-01", "A", "a/b", "a" * 64, "\u0662", "a\n"):
        with pytest.raises(UploadRefused, match="cannot be the name of a snapshot"):
            await snapshots.create(name, ADMIN)
    with pytest.raises(UploadRefused, match="there is a snapshot before already"):
        await snapshots.create("before", ADMIN)
    with pytest.raises(UploadRefused, match="private has no snapshot 'after'"):
        await snapshots.delete("after", ADMIN)
    assert [each.name for each in await snapshots.all()] == ["before"]


@pytest.mark.slow
async def test_a_kill_of_a_roll_back_leaves_nothing_or_all(tmp_path: Path) -> None:
    """It is completed by the next process that opens the directory."""
    wheel, root = make_wheel(tmp_path / "dist", "foo", "1.0"), tmp_path / "packages"
    env = environment(tmp_path / "home", **OURS)
    program = ("-m", "tests.support.kill_at_publish")
    done = await command(sys.executable, *program, root, wheel, "roll-back", env=env, cwd=tmp_path)
    *killed, last = map(int, done.succeeded().out.split())
    assert last == 0
    assert len(killed) >= 8
    assert set(killed) == {-signal.SIGKILL}
    found = await asyncio.gather(
        *(_rolled_back(tmp_path / f"packages{number}") for number in range(len(killed) + 1))
    )
    assert found[0] is False
    assert found[-1] is True
    assert found == sorted(found)


async def _rolled_back(root: Path) -> bool:
    """Whether the roll-back has happened, as a whole; the journal fits what is there."""
    async with publishing(root) as publisher:
        listed = {file.filename: file.yanked for file in await files(publisher)}
        rolled_back = listed == {"foo-1.0-py3-none-any.whl": False}
        assert rolled_back or listed == {"foo-2.0-py3-none-any.whl": False}
        made = [each.action for each in publisher.journal.changes() if "snapshot" in each.detail]
        undone = [Action.DELETE, Action.RESTORE, Action.UNYANK]
        assert made == (undone if rolled_back else [])
        beside = {path.suffix for path in (root / "foo").glob("*.whl.*")}
        assert beside == ({SIGNATURE, PROVENANCE} if rolled_back else set())
        assert list(root.rglob("*.tmp")) == []
        await Snapshots(publisher).restore("before", ADMIN)
        assert [file.filename for file in await files(publisher)] == ["foo-1.0-py3-none-any.whl"]
        return rolled_back
