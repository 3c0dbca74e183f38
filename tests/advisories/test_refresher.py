"""The source of advisories is checked on a schedule, by one process for all."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.advisories import AdvisoryRefresher, AdvisoryStore, LocalSource, sources
from proxy.events import AdvisoriesChecked, CheckResult, Event
from proxy.model import normalize
from tests.support.advisories import osv, write_archive, write_folder

AAA, BBB = normalize("aaa"), normalize("bbb")


class WorkerProcess:
    """The advisories of one process of a server."""

    def __init__(self, cache: Path, source: Path, *, every: float = 60.0) -> None:
        self.now = 1_000_000.0
        self.events: list[Event] = []
        self.changed: list[str] = []
        self.store = AdvisoryStore(cache / "advisories")
        self.refresher = AdvisoryRefresher(
            self.store,
            LocalSource(source),
            self.events.append,
            self.changed.extend,
            every=every,
            max_age=3600.0,
            clock=lambda: self.now,
        )

    async def later(self, seconds: float) -> None:
        self.now += seconds
        await self.refresher.step()

    def ids(self, project: str = "aaa") -> list[str]:
        return [each.id for each in self.store.advisories.about(normalize(project))]

    @property
    def results(self) -> list[CheckResult]:
        return [each.result for each in self.events if isinstance(each, AdvisoriesChecked)]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "all.zip", osv("GHSA-1", "aaa"), osv("GHSA-2", "bbb"))


async def test_the_first_start_waits_for_the_collection(tmp_path: Path, archive: Path) -> None:
    process = WorkerProcess(tmp_path, archive)
    await process.refresher.start()
    assert (process.ids("aaa"), process.ids("bbb")) == (["GHSA-1"], ["GHSA-2"])
    assert process.store.advisories.records == 2


async def test_a_later_start_reads_only_the_compact_collection(
    tmp_path: Path, archive: Path
) -> None:
    await WorkerProcess(tmp_path, archive).refresher.start()
    archive.unlink()
    process = WorkerProcess(tmp_path, archive)
    await process.refresher.start()
    assert process.ids() == ["GHSA-1"]
    assert process.results == []


async def test_a_folder_is_read_at_any_depth(tmp_path: Path) -> None:
    write_folder(tmp_path / "osv", osv("GHSA-1", "aaa"))
    write_folder(tmp_path / "osv" / "more", osv("GHSA-2", "bbb"))
    (tmp_path / "osv" / "readme.txt").write_text("no record")
    process = WorkerProcess(tmp_path, tmp_path / "osv")
    await process.refresher.start()
    assert process.ids("aaa") + process.ids("bbb") == ["GHSA-1", "GHSA-2"]
    write_folder(tmp_path / "osv" / "more", osv("GHSA-3", "bbb"))
    await process.later(60)
    assert process.ids("bbb") == ["GHSA-2", "GHSA-3"]


async def test_a_changed_source_is_announced_for_the_projects_that_differ(
    tmp_path: Path, archive: Path
) -> None:
    process = WorkerProcess(tmp_path, archive)
    await process.refresher.start()
    generation = process.store.generation
    process.changed.clear()
    write_archive(archive, osv("GHSA-1", "aaa"), osv("GHSA-2", "bbb"), osv("MAL-1", "bbb"))
    await process.later(59)
    assert process.changed == []
    await process.later(1)
    assert process.changed == ["bbb"]
    assert process.store.generation == generation + 1
    assert process.results == [CheckResult.NEW, CheckResult.NEW]


async def test_an_unchanged_source_is_not_read_again(tmp_path: Path, archive: Path) -> None:
    process = WorkerProcess(tmp_path, archive)
    await process.refresher.start()
    identity = (tmp_path / "advisories" / "index").stat()
    await process.later(60)
    assert process.results == [CheckResult.NEW, CheckResult.UNCHANGED]
    assert (tmp_path / "advisories" / "index").stat().st_ino == identity.st_ino
    assert process.refresher.age == 0


async def test_all_processes_take_over_what_one_has_read(tmp_path: Path, archive: Path) -> None:
    one, other = WorkerProcess(tmp_path, archive), WorkerProcess(tmp_path, archive)
    await one.refresher.start()
    await other.refresher.start()
    other.changed.clear()
    write_archive(archive, osv("GHSA-1", "aaa"), osv("GHSA-2", "bbb"), osv("MAL-1", "bbb"))
    await one.later(60)
    await other.later(60)
    assert other.changed == ["bbb"]
    assert other.ids("bbb") == ["GHSA-2", "MAL-1"]
    assert (one.results, other.results) == ([CheckResult.NEW, CheckResult.NEW], [])


async def test_a_withdrawn_record_is_dropped_with_the_next_check(
    tmp_path: Path, archive: Path
) -> None:
    process = WorkerProcess(tmp_path, archive)
    await process.refresher.start()
    withdrawn = osv("GHSA-1", "aaa", withdrawn="2026-01-02T00:00:00Z")
    write_archive(archive, withdrawn, osv("GHSA-2", "bbb"))
    await process.later(60)
    assert process.ids() == []


def _truncate(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-30])


def _damage(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[60:90] = b"\xff" * 30
    archive.write_bytes(data)


def _too_large_record(archive: Path) -> None:
    _write_members(archive, {"GHSA-9.json": json.dumps(osv(details="x" * sources.MAX_RECORD))})


def _shrink(archive: Path) -> None:
    write_archive(archive, osv("GHSA-1", "aaa"))


def _no_records(archive: Path) -> None:
    _write_members(archive, {"a.json": "{}", "b.json": "junk", "c.txt": "x"})


def _no_archive(archive: Path) -> None:
    archive.write_bytes(b"<html>captive portal</html>")


def _absent(archive: Path) -> None:
    archive.unlink()


def _write_members(archive: Path, members: dict[str, str] | dict[str, bytes]) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as written:
        for name, content in members.items():
            written.writestr(name, content)


@pytest.mark.parametrize(
    "spoil",
    [_truncate, _damage, _too_large_record, _shrink, _no_records, _no_archive, _absent],
)
async def test_a_source_that_cannot_be_used_leaves_the_last_collection_in_force(
    tmp_path: Path,
    archive: Path,
    spoil: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    process = WorkerProcess(tmp_path, archive)
    await process.refresher.start()
    process.changed.clear()
    spoil(archive)
    await process.later(60)
    assert process.results == [CheckResult.NEW, CheckResult.FAILED]
    assert process.ids("aaa") + process.ids("bbb") == ["GHSA-1", "GHSA-2"]
    assert process.changed == []
    assert "the last ones stay in force" in caplog.text
    assert process.refresher.age == 60
    write_archive(archive, osv("GHSA-1", "aaa"), osv("GHSA-3", "bbb"))
    await process.later(60)
    assert process.ids("bbb") == ["GHSA-3"]


async def test_another_source_may_have_fewer_records(tmp_path: Path, archive: Path) -> None:
    await WorkerProcess(tmp_path, archive).refresher.start()
    process = WorkerProcess(tmp_path, write_archive(tmp_path / "small.zip", osv("GHSA-1", "aaa")))
    await process.refresher.start()
    await process.refresher.step()
    assert (process.ids("aaa"), process.ids("bbb")) == (["GHSA-1"], [])


async def test_a_damaged_collection_in_the_cache_is_made_again(
    tmp_path: Path, archive: Path
) -> None:
    await WorkerProcess(tmp_path, archive).refresher.start()
    for damaged in (b"", b"junk"):
        (tmp_path / "advisories" / "index").write_bytes(damaged)
        process = WorkerProcess(tmp_path, archive)
        await process.refresher.start()
        assert process.ids() == ["GHSA-1"]


async def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(
    tmp_path: Path, archive: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    process = WorkerProcess(tmp_path / "file", archive)
    await process.refresher.step()
    assert (process.ids(), process.results) == ([], [])


async def test_old_advisories_are_a_warning(
    tmp_path: Path, archive: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = WorkerProcess(tmp_path, archive)
    await process.refresher.start()
    archive.unlink()
    process.now += 7200
    process.refresher.warn_if_old()
    process.refresher.warn_if_old()
    assert caplog.text.count("were last checked 2 hours ago") == 1


@pytest.mark.parametrize("limits", [{"max_records": 1}, {"max_total": 300}])
def test_a_source_has_limits(archive: Path, tmp_path: Path, limits: dict[str, int]) -> None:
    folder = write_folder(tmp_path / "osv", osv("GHSA-1"), osv("GHSA-2"))
    for source in (archive, folder):
        assert len(list(sources.read_documents(source))) == 2
        with pytest.raises(sources.UnusableAdvisories):
            list(sources.read_documents(source, **limits))


async def test_a_document_that_is_no_record_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "osv"
    write_folder(folder, osv("GHSA-1", "aaa"))
    Path(os.fsdecode(bytes(folder) + b"/od\xff\nd.json")).write_text("{")
    process = WorkerProcess(tmp_path, folder)
    await process.refresher.start()
    assert process.ids("aaa") == ["GHSA-1"]
    assert r"no usable records (such as 'od\udcff\nd.json')" in caplog.text


async def test_fewer_records_are_refused_with_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "osv"
    write_folder(folder, osv("X-1", "aaa"), osv("X-2", "bbb"))
    process = WorkerProcess(tmp_path, folder)
    await process.refresher.start()
    (folder / "X-2.json").unlink()
    await process.later(60)
    assert "mark records as withdrawn instead of deleting them" in caplog.text
    write_folder(folder, osv("X-2", "bbb", withdrawn="2026-05-01T00:00:00Z"))
    await process.later(60)
    assert (process.ids("aaa"), process.ids("bbb")) == (["X-1"], [])
