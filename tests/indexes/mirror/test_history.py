"""Other bytes under a file name that was seen before: refused, shown with a warning, or taken."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from proxy.errors import DigestMismatch, NoSuchFile
from proxy.events import ChangeOutcome, FileChanged
from proxy.indexes.mirror.history import DigestHistory
from proxy.maintenance import purge
from proxy.model import File, ProjectName, ProjectPage
from proxy.storage.keys import Key, RecordKind
from proxy.storage.mirror_records import ChangedFile, ChangedFiles
from tests.support.content import sha256
from tests.support.mirror_site import DEMO, MirrorSite, OpenMirror
from tests.support.records import CountedRecords

NAME = "demo-1.0-py3-none-any.whl"


def listed(content: Path) -> tuple[bytes, str]:
    """Its bytes, and the digest in its address."""
    data = content.read_bytes()
    return data, sha256(data)


async def digests(it: OpenMirror) -> list[str]:
    return [file.address_digest for file in (await it.page()).files]


@pytest.fixture
def changes(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.ERROR, "proxy.indexes.mirror.history")
    return caplog


async def test_changed_bytes_are_refused_and_the_old_ones_go_on_being_served(
    site: MirrorSite, changes: pytest.LogCaptureFixture
) -> None:
    old, old_digest = listed(site.add().content)
    async with site.open() as it:
        assert await it.get(NAME, old_digest) == old
        await it.all_stored()
        site.clock.advance(601)
        _, new_digest = listed(site.add(files={"news.py": b""}).content)
        assert await digests(it) == [old_digest]
        assert await it.get(NAME, old_digest) == old
        with pytest.raises(NoSuchFile):
            await it.get(NAME, new_digest)
    assert [record.levelname for record in changes.records] == ["ERROR"]
    assert new_digest in changes.text


async def test_the_change_is_refused_after_a_restart_too(site: MirrorSite) -> None:
    _, old_digest = listed(site.add().content)
    async with site.open() as it:
        await it.page()
    site.add(files={"news.py": b""})
    site.clock.advance(601)
    for _ in range(2):
        async with site.open() as it:
            assert await digests(it) == [old_digest]


async def test_refused_bytes_are_not_served_in_place_of_uncached_old_ones(site: MirrorSite) -> None:
    _, old_digest = listed(site.add().content)
    async with site.open() as it:
        await it.page()
        site.clock.advance(601)
        site.add(files={"news.py": b""})
        await it.page()
        with pytest.raises(DigestMismatch):
            await it.get(NAME, old_digest)
        assert it.stored == set()


async def test_a_file_that_vanished_is_still_known_when_its_name_returns(site: MirrorSite) -> None:
    _, old_digest = listed(site.add().content)
    site.add("2.0")
    async with site.open() as it:
        await it.page()
        site.upstream.remove(NAME)
        site.clock.advance(601)
        assert old_digest not in await digests(it)
        site.add(files={"news.py": b""})
        site.clock.advance(601)
        assert old_digest in await digests(it)


@pytest.mark.parametrize("choice", ["warn", "accept"])
async def test_a_changed_file_can_be_accepted_and_is_reported_once(
    site: MirrorSite, changes: pytest.LogCaptureFixture, choice: str
) -> None:
    site.add()
    async with site.open(on_changed_file=choice) as it:
        await it.page()
        site.clock.advance(601)
        new, new_digest = listed(site.add(files={"news.py": b""}).content)
        for _ in range(2):
            assert await digests(it) == [new_digest]
            site.clock.advance(601)
        assert await it.get(NAME, new_digest) == new
    assert len(changes.records) == 1


async def test_a_changed_file_is_an_event(site: MirrorSite) -> None:
    _, old_digest = listed(site.add().content)
    async with site.open() as it:
        await it.page()
        site.clock.advance(601)
        _, new_digest = listed(site.add(files={"news.py": b""}).content)
        await it.page()
    assert [each for each in it.heard if isinstance(each, FileChanged)] == [
        FileChanged(DEMO, NAME, "pypi", old_digest, new_digest, ChangeOutcome.REFUSED)
    ]


@pytest.mark.parametrize("choice", ["refuse", "warn", "accept"])
async def test_changes_are_counted_across_restarts_and_each_once(
    site: MirrorSite, choice: str
) -> None:
    _, old_digest = listed(site.add().content)
    async with site.open() as it:
        await it.page()
    site.clock.advance(601)
    _, new_digest = listed(site.add(files={"news.py": b""}).content)
    noticed = site.clock()
    for _ in range(3):
        async with site.open(on_changed_file=choice) as it:
            await it.page()
            site.clock.advance(601)
            await it.page()
            changed = ChangedFiles(it.cache.records)
            assert await changed.count() == 1
            (only,) = await changed.all()
            assert only == (DEMO, NAME, ChangedFile(old_digest, new_digest, noticed))
    site.add(files={"other.py": b""})
    site.clock.advance(601)
    async with site.open() as it:
        await it.page()
        assert await ChangedFiles(it.cache.records).count() == 2
        await purge(it.cache, [DEMO])
        assert await ChangedFiles(it.cache.records).count() == 0


async def test_a_purge_forgets_what_was_seen(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        await it.page()
    async with site.open() as it:
        await purge(it.cache, ["demo"])
    site.clock.advance(601)
    _, new_digest = listed(site.add(files={"news.py": b""}).content)
    async with site.open() as it:
        assert await digests(it) == [new_digest]


async def test_another_algorithm_is_no_change(site: MirrorSite) -> None:
    site.add(hashes=("md5",))
    async with site.open() as it:
        await it.page()
        site.clock.advance(601)
        _, digest = listed(site.add(hashes=("md5", "sha256")).content)
        assert await digests(it) == [digest]


async def test_what_is_seen_is_written_down_at_the_next_look_or_at_the_end(
    site: MirrorSite,
) -> None:
    _, old_digest = listed(site.add().content)
    async with site.open() as it:
        await it.page()
        site.add(files={"news.py": b""})
        site.clock.advance(601)
        assert await digests(it) == [old_digest]
        assert (
            len(await it.cache.records.keys(RecordKind.DIGEST_HISTORY)) == 1
        )  # before the page is looked at again
    site.add("2.0", "other")
    async with site.open() as it:
        await it.page("other")
    async with site.open() as it:
        assert len(await it.cache.records.keys(RecordKind.DIGEST_HISTORY)) == 2


async def test_a_page_with_a_refused_change_is_another_version_than_the_page_itself(
    site: MirrorSite,
) -> None:
    site.add()
    async with site.open() as it:
        await it.page()
        await it.all_stored()
        site.clock.advance(601)
        site.add(files={"news.py": b""})
        refused = (await it.page()).version
        site.clock.advance(601)
        assert (await it.page()).version == refused  # upstream's page is the same
        await it.all_stored()
        await purge(it.cache, [DEMO])
        it.mirror.forget(DEMO)
        assert (await it.page()).version != refused


class Busy(CountedRecords):
    """Writes only when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()

    async def put(self, key: Key, value: bytes) -> None:
        await self.free.wait()
        await super().put(key, value)


async def test_a_page_does_not_wait_for_the_records_of_other_pages() -> None:
    records = Busy()
    ledger = DigestHistory("upstream", "here", records, lambda event: None, "refuse")
    files = tuple(File(f"a-{n}.whl", "https://x/", {"sha256": "a" * 64}) for n in range(100))
    async with asyncio.timeout(20):
        for number in range(300):
            await ledger.review(ProjectPage(ProjectName(f"a{number}"), files))
    records.free.set()
    await ledger.close()
    assert len(await records.keys(RecordKind.DIGEST_HISTORY)) == 300


async def test_a_page_is_stored_when_its_files_are_recorded_too(site: MirrorSite) -> None:
    site.add()
    records = Busy()
    async with site.open(records=records) as it:
        await it.page()
        stored = asyncio.create_task(it.mirror.page_stored(DEMO))
        done, _ = await asyncio.wait({stored}, timeout=0.5)  # the page itself takes 0.1 s
        records.free.set()
        assert not done
        await stored
        assert await records.keys(RecordKind.DIGEST_HISTORY)
