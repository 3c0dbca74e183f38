"""How pages get from memory to the store and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.indexes.mirror.page_cache import Lifetimes, PageCache
from proxy.model import ProjectName
from proxy.storage.keys import Key, RecordKind
from proxy.storage.mirror_records import StoredPage, StoredPages, pack_page
from tests.support.content import sha256
from tests.support.directories import HeardChanges
from tests.support.listings import html_page
from tests.support.mirror_site import DEMO
from tests.support.records import CountedRecords

NOW = 1_000_000.0
URL = "https://example.com/simple/"


class SlowRecords(CountedRecords):
    """Reads of documents begin, and wait for a test."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def get(self, key: Key) -> bytes | None:
        found = await super().get(key)
        if key.kind is RecordKind.DOCUMENT:
            self.reading.set()
            await self.go_on.wait()
        return found


class MemoryRig:
    def __init__(self, records: SlowRecords) -> None:
        self.records = records
        self.heard = HeardChanges()
        self.memory = self.make()

    def make(self, **options: Any) -> PageCache:
        stored = StoredPages(self.records)
        return PageCache("pypi", "index", stored, Lifetimes(), self.heard, **options)

    def page(self, count: int, project: str = DEMO, **more: Any) -> tuple[StoredPage, bytes]:
        names = [f"{project}-1.{number}.tar.gz" for number in range(count)]
        body = html_page(project, [{"filename": name, "url": name} for name in names])
        known: dict[str, Any] = {"checked": NOW, "lifetime": None, "digest": sha256(body)}
        head = StoredPage(url=f"{URL}{project}/", content_type="text/html", **known | more)
        return head, body

    async def keep(self, count: int, project: str = DEMO, **more: Any) -> None:
        """As if upstream had just sent a page of so many files."""
        head, body = self.page(count, project, **more)
        name = ProjectName(project)
        page = await self.memory.read(name, head.url, head.content_type, body)
        self.memory.keep(name, head, page)
        self.memory.store(name, head, body)

    async def count(self, project: str = DEMO) -> int | None:
        known = await self.memory.load(ProjectName(project))
        return len(known.page.files) if known else None


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[MemoryRig]:
    made = MemoryRig(SlowRecords())
    yield made
    await made.memory.close()


async def test_a_page_outlives_the_memory(rig: MemoryRig) -> None:
    await rig.keep(3)
    await rig.memory.close()
    rig.memory = rig.make()
    assert rig.memory.get(DEMO) is None
    assert await rig.count() == 3
    assert rig.memory.get(DEMO)
    assert rig.heard.changes() == [DEMO, DEMO]


async def test_concurrent_requests_share_one_read(rig: MemoryRig) -> None:
    await rig.keep(3)
    await rig.memory.close()
    rig.memory, before = rig.make(), rig.records.reads
    known = await asyncio.gather(*(rig.memory.load(DEMO) for _ in range(100)))
    assert all(each is known[0] for each in known)
    assert rig.records.reads == before + 2


async def test_what_is_in_memory_is_bounded(rig: MemoryRig) -> None:
    rig.memory = rig.make(budget=10)
    projects = [ProjectName(name) for name in "abcd"]
    for project in projects:
        await rig.keep(3, project)
    assert [bool(rig.memory.get(project)) for project in projects] == [False, False, True, True]
    assert await rig.count("a") == 3


async def test_pages_without_files_are_bounded_too(rig: MemoryRig) -> None:
    rig.memory = rig.make(budget=10)
    projects = [ProjectName(name) for name in "abcdefghijklmnopqrst"]
    for project in projects:
        await rig.keep(0, project)
    assert sum(bool(rig.memory.get(project)) for project in projects) == 10


async def test_a_page_larger_than_the_bound_is_kept_alone(rig: MemoryRig) -> None:
    rig.memory = rig.make(budget=10)
    await rig.keep(1, "small")
    await rig.keep(50, "large")
    assert rig.memory.get(ProjectName("large"))
    assert rig.memory.get(ProjectName("small")) is None


async def test_what_was_used_last_stays_longest(rig: MemoryRig) -> None:
    rig.memory = rig.make(budget=10)
    await rig.keep(3, "one")
    await rig.keep(3, "two")
    rig.memory.get(ProjectName("one"))
    await rig.keep(3, "three")
    assert rig.memory.get(ProjectName("one"))
    assert rig.memory.get(ProjectName("two")) is None


async def test_a_newer_page_of_upstream_is_not_overwritten(rig: MemoryRig) -> None:
    await rig.keep(1)
    await rig.memory.close()
    rig.memory = rig.make()
    rig.records.go_on.clear()
    loading = asyncio.create_task(rig.count())
    await asyncio.wait_for(rig.records.reading.wait(), 10)
    await rig.keep(2, checked=NOW + 1)
    rig.records.go_on.set()
    assert await loading == 2
    known = rig.memory.get(DEMO)
    assert known and len(known.page.files) == 2


async def test_a_page_read_a_moment_before_does_not_overwrite_a_newer_one(rig: MemoryRig) -> None:
    await rig.keep(1)
    await rig.memory.close()
    rig.memory = rig.make()
    loading = asyncio.create_task(rig.count())
    async with asyncio.timeout(10):
        while rig.memory.get(DEMO) is None:
            await asyncio.sleep(0)  # no longer: the test looks between two turns of the loop
    assert not loading.done()
    await rig.keep(2, checked=NOW + 1)
    assert await loading == 2


async def test_what_is_being_forgotten_is_not_read_again(rig: MemoryRig) -> None:
    await rig.keep(1)
    await rig.memory.close()
    rig.memory.forget(DEMO, NOW)
    assert await rig.count() is None
    assert rig.records.content == {}


async def test_writes_come_one_after_the_other(rig: MemoryRig) -> None:
    for count in range(20):
        await rig.keep(count, checked=NOW + count)
    rig.memory.touch(DEMO, rig.page(19, checked=NOW + 50)[0])
    await rig.memory.close()
    rig.memory = rig.make()
    known = await rig.memory.load(DEMO)
    assert known and len(known.page.files) == 19
    assert known.head.checked == NOW + 50


async def test_a_page_that_waits_to_be_written_replaces_no_newer_one(rig: MemoryRig) -> None:
    """Another process has stored a page that it has checked later."""
    other = rig.make()
    await rig.keep(1)  # stored a moment later
    head, body = rig.page(2, checked=NOW + 1)
    other.store(DEMO, head, body)
    await other.close()
    await rig.memory.close()
    rig.memory = rig.make()
    assert await rig.count() == 2


async def test_a_page_that_waits_to_be_forgotten_goes_only_if_no_newer_one_is_stored(
    rig: MemoryRig,
) -> None:
    other = rig.make()
    await rig.keep(1)
    rig.memory.forget(DEMO, NOW)
    head, body = rig.page(2, checked=NOW + 1)
    other.store(DEMO, head, body)
    await other.close()
    await rig.memory.close()
    rig.memory = rig.make()
    assert await rig.count() == 2


async def test_a_new_head_for_a_page_that_was_replaced_leaves_head_and_document_a_pair(
    rig: MemoryRig,
) -> None:
    await rig.keep(1)
    await rig.memory.close()
    other, (head, body) = rig.make(), rig.page(2, checked=NOW + 1)
    other.store(DEMO, head, body)
    await other.close()
    rig.memory = rig.make()
    rig.memory.touch(DEMO, rig.page(1, checked=NOW + 2)[0])
    await rig.memory.close()
    rig.memory = rig.make()
    assert await rig.count() == 2


async def test_a_stored_page_that_can_no_longer_be_read_is_absent(rig: MemoryRig) -> None:
    head, _ = rig.page(1)
    body = b"<html><form>Please sign in</form></html>"
    head = StoredPage(
        url=head.url, content_type="text/html", checked=NOW, lifetime=None, digest=sha256(body)
    )
    await StoredPages(rig.records).put("index", DEMO, head, pack_page(body))
    assert await rig.count() is None


async def test_a_head_without_its_document_is_absent(rig: MemoryRig) -> None:
    head, body = rig.page(1)
    await StoredPages(rig.records).put("index", DEMO, head, pack_page(body))
    await rig.records.forget(Key(RecordKind.DOCUMENT, "index", DEMO))
    assert await rig.count() is None


async def test_files_on_refused_servers_are_left_out_and_logged_once(
    rig: MemoryRig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.memory = rig.make(allows=lambda origin: origin != "https://example.com")
    for _ in range(3):
        await rig.keep(1)
    known = rig.memory.get(DEMO)
    assert known and known.page.files == ()
    assert caplog.text.count("demo-1.0.tar.gz") == 1
