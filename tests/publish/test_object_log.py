"""Packages in an object store: what a kill, a lost answer, damage and a silent store leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import GenericError
from obstore.store import MemoryStore

from proxy.errors import IndexUnavailable, NoSuchProject, StoreDamaged, StoreUnavailable
from proxy.model import ProjectName
from proxy.publish import Action, PackageChange, Selection, Upkeep
from proxy.publish.objects.object_index import MAX_ABSENCE_AGE
from proxy.publish.objects.object_packages import LEFT_AGE
from proxy.publish.objects.steps import ChangeStep, key_of, numbered, segment_key
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.directories import HeardChanges
from tests.support.distributions import make_wheel
from tests.support.object_packages import ObjectPublisher, StoreAround, replica
from tests.support.publishing import ANA, publish

FOO, BAR = ProjectName("foo"), ProjectName("bar")
LIMIT = 20.0
"""Seconds in which a test has to see something."""


@pytest.fixture
def store() -> Any:
    return MemoryStore()


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "dist", "foo", "1.0")


@pytest.fixture
async def publisher(store: Any, tmp_path: Path, wheel: Path) -> AsyncIterator[ObjectPublisher]:
    """With one file."""
    async with replica(store, tmp_path / "first") as publisher:
        await publish(publisher, wheel)
        yield publisher


def keys(store: Any, prefix: str = "v1") -> set[str]:
    return {each["path"] for part in store.list(prefix) for each in part}


async def names(publisher: ObjectPublisher) -> list[str]:
    page = await publisher.page(FOO)
    return [file.filename for file in page.files] if page else []


async def test_other_servers_hear_of_a_change_and_serve_the_file_at_once(
    publisher: ObjectPublisher, store: Any, tmp_path: Path, wheel: Path
) -> None:
    heard = HeardChanges()
    newer = make_wheel(tmp_path / "dist", "foo", "2.0")
    async with replica(store, tmp_path / "second", heard=heard) as second:
        assert await names(second) == [wheel.name]
        await publish(publisher, newer)
        artifact = await second.index.file(FOO, newer.name)  # of a page of the first one
        assert await read_blob(artifact.blob) == newer.read_bytes()
        heard.clear()
        await Upkeep(publisher).yank(Selection(FOO), "bad", ANA)
        await heard.until(lambda: FOO in heard.changes(), LIMIT)
        page = await second.index.page(FOO)
        assert [file.yanked for file in page.files] == ["bad", "bad"]


class Killing(StoreAround):
    """Never answers a writer from some request on, as if its process had been killed."""

    def __init__(self, store: Any, left: int) -> None:
        super().__init__(store)
        self.left = left
        self.killed = asyncio.Event()
        self.is_over = asyncio.Event()

    async def before(self, request: str) -> None:
        if not request.startswith("get"):
            if self.left == 0:
                self.killed.set()
                await self.is_over.wait()
                raise GenericError("the process was killed")
            self.left -= 1


async def test_a_kill_before_any_request_leaves_nothing_or_all(tmp_path: Path, wheel: Path) -> None:
    found = []
    for number in range(20):
        store = MemoryStore()
        killing = Killing(store, number)
        async with replica(killing, tmp_path / f"killed{number}") as killed:
            upload = asyncio.create_task(publish(killed, wheel, beside={".asc": b"signed"}))
            dead = asyncio.create_task(killing.killed.wait())
            await asyncio.wait({upload, dead}, return_when="FIRST_COMPLETED")
            dead.cancel()
            ended = upload.done()
            async with replica(store, tmp_path / f"other{number}") as other:
                found.append(bool(await names(other)))
                assert len(other.journal.changes()) == found[-1]
                assert await publish(other, wheel) is not found[-1]
                artifact = await other.index.file(FOO, wheel.name)
                assert await read_blob(artifact.blob) == wheel.read_bytes()
            killing.is_over.set()
            await asyncio.gather(upload, return_exceptions=True)
        if ended:
            break
    assert len(found) >= 5
    assert found == sorted(found)
    assert found[-1] is True


class Losing(StoreAround):
    """Stores a step, and loses the answer; or sends the request a second time, as clients do."""

    def __init__(self, store: Any, *, again: bool) -> None:
        super().__init__(store)
        self._again = again

    async def put_async(self, path: str, content: Any, **options: Any) -> Any:
        done = await super().put_async(path, content, **options)
        if path.startswith("v1/change/"):
            if self._again:
                return await super().put_async(path, content, **options)
            raise GenericError("the connection was lost")
        return done


async def test_an_answer_that_is_lost_leaves_the_file_published(
    store: Any, tmp_path: Path, wheel: Path
) -> None:
    async with replica(Losing(store, again=False), tmp_path / "first") as first:
        with pytest.raises(StoreUnavailable):
            await publish(first, wheel)
        assert not await publish(first, wheel)
        artifact = await first.index.file(FOO, wheel.name)
        assert await read_blob(artifact.blob) == wheel.read_bytes()


async def test_a_request_that_is_repeated_is_one_change(
    store: Any, tmp_path: Path, wheel: Path
) -> None:
    async with replica(Losing(store, again=True), tmp_path / "first") as first:
        assert await publish(first, wheel)
        assert len(first.journal.changes()) == 1
        artifact = await first.index.file(FOO, wheel.name)
        assert await read_blob(artifact.blob) == wheel.read_bytes()


class Replacing(StoreAround):
    """Creates what exists already, as stores do that know no conditions."""

    async def put_async(self, path: str, content: Any, **options: Any) -> Any:
        options.pop("mode", None)
        return await super().put_async(path, content, **options)


async def test_a_store_that_replaces_objects_takes_no_changes(
    store: Any, tmp_path: Path, wheel: Path
) -> None:
    async with replica(Replacing(store), tmp_path / "first") as first:
        with pytest.raises(IndexUnavailable, match="creates what exists already"):
            await publish(first, wheel)
        assert await first.page(FOO) is None


async def test_a_store_that_is_silent_leaves_the_known_packages(
    publisher: ObjectPublisher, store: Any, tmp_path: Path, wheel: Path
) -> None:
    clock = Clock()
    async with replica(store, tmp_path / "second", monotonic=clock) as second:
        calls = second.log.calls
        calls.leave_alone("it is away")
        assert await names(second) == [wheel.name]
        with pytest.raises(NoSuchProject):
            await second.index.page(BAR)
        with pytest.raises(StoreUnavailable):
            await publish(second, make_wheel(tmp_path / "dist", "foo", "2.0"))
        with pytest.raises(StoreUnavailable):
            await Upkeep(second).yank(Selection(FOO), "", ANA)
        with pytest.raises(StoreUnavailable):
            await read_blob((await second.index.file(FOO, wheel.name)).blob)
        with pytest.raises(StoreUnavailable):  # it may be listed elsewhere
            await second.index.file(FOO, "foo-2.0-py3-none-any.whl")
        clock.advance(MAX_ABSENCE_AGE + 1)
        assert await names(second) == [wheel.name]
        with pytest.raises(IndexUnavailable, match="new private names are unknown"):
            await second.index.page(BAR)


class Absent(StoreAround):
    """Does not answer until it is there."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.is_there = False

    async def before(self, request: str) -> None:
        if not self.is_there:
            raise GenericError("no connection")


async def test_nothing_is_certain_before_the_log_was_read(
    publisher: ObjectPublisher, store: Any, tmp_path: Path, wheel: Path
) -> None:
    absent = Absent(store)
    async with replica(absent, tmp_path / "second") as second:
        for work in (second.index.page(FOO), second.index.page(BAR), second.index.projects()):
            with pytest.raises(IndexUnavailable, match="has not answered so far"):
                await work
        assert (await second.index.explain(FOO)).result == "unavailable"
        absent.is_there = True
        async with asyncio.timeout(LIMIT):
            while not second.log.is_loaded:
                await asyncio.sleep(0.01)
        assert await names(second) == [wheel.name]


def change(action: Action, name: str) -> PackageChange:
    return PackageChange(action=action, project=ProjectName(name))


async def test_a_start_reads_segments_and_the_steps_after_them(
    store: Any, tmp_path: Path, wheel: Path
) -> None:
    async with replica(store, tmp_path / "first") as first:
        for step in range(3):
            claims = [change(Action.CLAIM, f"name-{step}-{number}") for number in range(400)]
            changes = numbered(claims, first.journal.last_number() + 1)
            assert await first.log.add(ChangeStep(str(step), changes))
        await first.log.store_segments()
        await publish(first, wheel)
        known = first.journal.changes(limit=2000)
    assert keys(store, "v1/segment") == {segment_key(0)}
    counting = StoreAround(store)
    async with replica(counting, tmp_path / "second") as second:
        assert second.journal.changes(limit=2000) == known
        assert len(await second.index.projects()) == 1201
        read = [each for each in counting.requests if each.startswith("get v1/change")]
        assert f"get {key_of(1)}" not in read
        assert f"get {key_of(1201)}" in read
    store.put(segment_key(0), b"damaged")
    async with replica(store, tmp_path / "third") as third:
        assert third.journal.changes(limit=2000) == known


@pytest.mark.parametrize("damage", ["missing", "garbled", "misplaced"])
async def test_a_log_that_is_damaged_is_never_read_in_part(
    publisher: ObjectPublisher, store: Any, tmp_path: Path, wheel: Path, damage: str
) -> None:
    await Upkeep(publisher).yank(Selection(FOO), "", ANA)
    second, data = key_of(2), bytes(store.get(key_of(1)).bytes())
    if damage == "missing":
        await Upkeep(publisher).unyank(Selection(FOO), ANA)
        store.delete(second)
    else:
        store.put(second, b"{" if damage == "garbled" else data)
    async with replica(store, tmp_path / "second") as other:
        with pytest.raises(IndexUnavailable):
            await other.index.page(FOO)
        with pytest.raises(IndexUnavailable, match="log of its changes cannot be read"):
            await publish(other, wheel)
    assert await names(publisher) == [wheel.name]


async def test_a_file_that_is_lost_or_wrong_is_an_error(
    publisher: ObjectPublisher, store: Any, wheel: Path
) -> None:
    (key,) = (key for key in keys(store, "v1/own") if key.endswith(".whl"))
    store.put(key, b"x" * wheel.stat().st_size)
    with pytest.raises(StoreDamaged):
        await read_blob((await publisher.index.file(FOO, wheel.name)).blob)
    assert key in keys(store)
    store.delete(f"{key}.metadata")
    with pytest.raises(StoreDamaged):
        await publisher.index.file(FOO, f"{wheel.name}.metadata")


class Aged(StoreAround):
    """Its files are older than they are."""

    def list(self, prefix: str, **options: Any) -> Any:
        async def aged() -> AsyncIterator[list[dict[str, Any]]]:
            age = timedelta(seconds=LEFT_AGE + 60 if prefix.startswith("v1/own") else 0)
            async for part in self._store.list(prefix, **options):
                yield [each | {"last_modified": each["last_modified"] - age} for each in part]

        return aged()


async def test_what_a_dead_writer_left_is_removed_a_day_later(
    publisher: ObjectPublisher, store: Any, tmp_path: Path, wheel: Path
) -> None:
    store.put("v1/own/foo/0123-4567/foo-1.0-py3-none-any.whl", b"of a killed upload")
    before = keys(store, "v1/own")
    await publisher.packages.tidy()
    assert keys(store, "v1/own") == before
    async with replica(Aged(store), tmp_path / "second") as second:
        await Upkeep(second).delete(Selection(FOO), ANA)
        await second.packages.tidy()
        assert keys(store, "v1/own") == {each for each in before if "0123-4567" not in each}
        await Upkeep(second).restore(Selection(FOO), ANA)
        assert await read_blob((await second.index.file(FOO, wheel.name)).blob)


async def test_losers_and_removed_files_leave_no_objects(
    publisher: ObjectPublisher, store: Any, tmp_path: Path
) -> None:
    wheels = [
        make_wheel(tmp_path / str(each), "bar", "1.0", requires=["x"] * each) for each in (0, 1)
    ]
    async with replica(store, tmp_path / "second") as second:
        uploads = [publish(publisher, wheels[0]), publish(second, wheels[1])]
        results = await asyncio.gather(*uploads, return_exceptions=True)
        assert results.count(True) == 1
        assert len(keys(store, "v1/own/bar")) == 2  # the file and its metadata
        await Upkeep(second).delete(Selection(BAR), ANA)
        await Upkeep(second).remove_deleted(before=second.clock() + 1)
        assert keys(store, "v1/own/bar") == set()


async def test_a_name_stays_private_whatever_is_given_up(
    publisher: ObjectPublisher, store: Any
) -> None:
    await Upkeep(publisher).delete(Selection(FOO), ANA)
    await publisher.index.release(FOO)
    page = await publisher.index.page(FOO)
    assert page.files == ()
    assert FOO in await publisher.index.projects()
