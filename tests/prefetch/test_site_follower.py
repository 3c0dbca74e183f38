"""Following another Waystation: what is fetched, and what if its feed is odd."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.errors import UpstreamError
from proxy.model import ProjectName
from proxy.prefetch import SiteFollower
from proxy.upstream import ChangeFeed, Timeouts, UpstreamOptions, open_transport
from tests.support.fake_index import FakeIndex
from tests.support.records import CountedRecords
from tests.support.waiting import until

WHEEL = "foo-1.0-py3-none-any.whl"


class Feed:
    """A feed of changes on 127.0.0.1."""

    def __init__(self) -> None:
        self.changes: list[dict[str, Any]] = []
        self.body: bytes | None = None
        """Instead of the changes."""
        self.status = 200
        self.asked: list[int] = []
        """The numbers after which changes were requested."""
        self.url = ""

    def add(self, action: str = "publish", project: str = "foo", **more: Any) -> None:
        number = self.changes[-1]["number"] + 1 if self.changes else 1
        self.changes.append({"number": number, "action": action, "project": project} | more)

    async def answer(self, request: web.Request) -> web.Response:
        since = int(request.query["since"])
        self.asked.append(since)
        if self.status != 200:
            return web.Response(status=self.status)
        found = [each for each in self.changes if each["number"] > since]
        body = "".join(f"{json.dumps(each)}\n" for each in found).encode()
        if not found and request.query["wait"] != "0":
            await asyncio.sleep(0.02)
        return web.Response(body=body if self.body is None else self.body)


@pytest.fixture
async def feed() -> AsyncIterator[Feed]:
    made = Feed()
    app = web.Application()
    app.router.add_get("/team/-/changes", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/team/simple/"
    yield made
    await runner.cleanup()


class Followed:
    """A follower that runs, and what it has announced."""

    def __init__(self, follower: SiteFollower, announced: list[str]) -> None:
        self.follower = follower
        self.announced = announced


@asynccontextmanager
async def following(
    feed: Feed,
    index: FakeIndex,
    folder: Path,
    records: CountedRecords | None = None,
    clock: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[Followed]:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0.002)

    announced: list[str] = []

    async def announce(projects: Sequence[ProjectName]) -> None:
        announced.extend(projects)

    async with open_transport("team", feed.url, UpstreamOptions(retries=0)) as transport:
        follower = SiteFollower(
            "team",
            index,
            ChangeFeed("team", feed.url, transport, Timeouts()),
            records or CountedRecords(),
            "namespace",
            folder / "following" / "lock",
            announce,
            clock,
            sleep,
        )
        followed = Followed(follower, announced)
        task = asyncio.create_task(follower.run())
        try:
            yield followed
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def index() -> FakeIndex:
    return FakeIndex("team", {"foo": [WHEEL, "foo-1.0.tar.gz"], "bar": []})


async def test_pages_are_revalidated_and_new_files_fetched(
    feed: Feed, index: FakeIndex, tmp_path: Path
) -> None:
    feed.add(filename=WHEEL)
    feed.add("yank", "bar", filename="bar-1.0.tar.gz")
    async with following(feed, index, tmp_path, clock=lambda: 7.0) as followed:
        await until(lambda: f"foo/{WHEEL}" in index.asked)
        assert followed.announced == ["foo", "bar"]
        assert index.checked_after == 7.0
        feed.add(filename="foo-1.0.tar.gz")
        await until(lambda: "foo/foo-1.0.tar.gz" in index.asked)
    assert "bar/bar-1.0.tar.gz" not in index.asked


async def test_a_restart_goes_on_with_the_first_change_of_which_a_file_may_be_missing(
    feed: Feed, index: FakeIndex, tmp_path: Path
) -> None:
    records = CountedRecords()
    feed.add(filename=WHEEL)
    async with following(feed, index, tmp_path, records):
        await until(lambda: feed.asked[-1:] == [1] and records.writes == 2)
    index.asked.clear()
    feed.add("yank", "bar")
    async with following(feed, index, tmp_path, records):
        await until(lambda: "bar" in index.asked)
    assert "foo" not in index.asked


async def test_a_feed_that_begins_again_is_read_from_its_beginning(
    feed: Feed, index: FakeIndex, tmp_path: Path
) -> None:
    records = CountedRecords()
    for _ in range(3):
        feed.add(filename=WHEEL)
    async with following(feed, index, tmp_path, records):
        await until(lambda: feed.asked[-1:] == [3])
    feed.changes.clear()
    feed.add("yank", "bar")
    index.asked.clear()
    async with following(feed, index, tmp_path, records):
        await until(lambda: "bar" in index.asked)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>", 200), (b'{"number": "x"}', 200), (b"\xff\xfe", 200), (b"", 404), (b"", 500)],
)
async def test_an_unusable_feed_is_asked_again_later(
    feed: Feed,
    index: FakeIndex,
    tmp_path: Path,
    body: bytes,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    feed.add(filename=WHEEL)
    feed.body, feed.status = body, status
    async with following(feed, index, tmp_path) as followed:
        await until(lambda: len(feed.asked) > 3)
        assert followed.follower.problem
        feed.body, feed.status = None, 200
        await until(lambda: "foo" in index.asked)
        await until(lambda: not followed.follower.problem)
    assert caplog.text.count("is not followed now") == 1


async def test_odd_names_are_left_out(feed: Feed, index: FakeIndex, tmp_path: Path) -> None:
    feed.add(project="../etc", filename="../../passwd")
    feed.add(project="", filename="x")
    feed.add(project="absent", filename="absent-1.0.tar.gz")
    feed.add(filename="foo-9.9.tar.gz")
    feed.add(project="Bar")
    async with following(feed, index, tmp_path) as followed:
        await until(lambda: "bar" in followed.announced)
        await until(lambda: "foo/foo-9.9.tar.gz" in index.asked)
    assert set(followed.announced) == {"absent", "foo", "bar"}


async def test_a_page_that_cannot_be_revalidated_is_tried_again(
    feed: Feed, index: FakeIndex, tmp_path: Path
) -> None:
    feed.add()
    index.error = UpstreamError("team", "is away")
    async with following(feed, index, tmp_path) as followed:
        await until(lambda: index.asked.count("foo") > 2)
        assert "the page of foo cannot be revalidated" in followed.follower.problem
        index.error = None
        await until(lambda: not followed.follower.problem)


async def test_a_stale_page_is_no_revalidated_one(
    feed: Feed, index: FakeIndex, tmp_path: Path
) -> None:
    feed.add()
    index.describe("foo", checked=5.0)
    async with following(feed, index, tmp_path, clock=lambda: 7.0) as followed:
        await until(lambda: "the page of foo" in followed.follower.problem)
        index.describe("foo", checked=8.0)
        await until(lambda: not followed.follower.problem)


async def test_one_of_two_processes_follows_and_both_can_catch_up(
    feed: Feed, index: FakeIndex, tmp_path: Path
) -> None:
    records, other = CountedRecords(), FakeIndex("team", {"foo": []})
    feed.add()
    async with following(feed, index, tmp_path, records):
        await until(lambda: feed.asked[-1:] == [1])
        async with following(feed, other, tmp_path, records) as second:
            feed.add()
            await until(lambda: feed.asked[-1:] == [2])
            assert other.asked == []
            feed.add()
            await second.follower.catch_up()
            assert second.announced == ["foo"]
            assert other.asked == ["foo"]
