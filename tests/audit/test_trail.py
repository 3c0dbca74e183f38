"""The trail and its JSON lines: nothing waits for them, and what they lack is counted."""

from __future__ import annotations

import gzip
import logging
import os
import resource
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.audit.entries import Entry
from proxy.events import AuditLost, RequestKind
from proxy.model import ProjectName, ProjectPage
from tests.support.audits import (
    AGENT,
    DAY,
    NOON,
    Lost,
    answer,
    auditing,
    database,
    found,
    json_lines,
)


def lines(folder: Path) -> list[dict[str, Any]]:
    """Of all files, by time."""
    texts = [path.read_bytes() for path in folder.glob("*.jsonl")]
    texts += [gzip.decompress(path.read_bytes()) for path in folder.glob("*.jsonl.gz")]
    read = [msgspec.json.decode(line) for text in texts for line in text.splitlines()]
    return sorted(read, key=lambda each: str(each["time"]))


async def test_each_answer_is_a_line_with_the_facts_of_its_tool(tmp_path: Path) -> None:
    async with auditing(json_lines(tmp_path)) as trail:
        trail.observe(answer(timings=((NOON, 1000.0), (NOON + 1, 2.0)), principal="user:alice"))
        trail.observe(answer("2.0", NOON + 2, failure="the client left"))
    first, second, third = lines(tmp_path)
    assert first == {
        "time": "2026-05-28T11:59:59.000Z",
        "ms": 1000.0,
        "client": "10.0.0.1",
        "principal": "user:alice",
        "tool": "pip",
        "tool_version": "26.3",
        "python": "3.12.1",
        "implementation": "CPython 3.12.1",
        "system": "Linux 6.1",
        "distro": "Debian GNU/Linux 12",
        "cpu": "x86_64",
        "ci": True,
        "user_data": "job https://ci.example.com/7",
        "index": "main",
        "kind": "file",
        "project": "demo",
        "version": "1.0",
        "filename": "demo-1.0-py3-none-any.whl",
        "digest": "a" * 64,
        "result": "received",
        "outcome": "hit",
        "status": 200,
        "bytes": 100,
        "complete": True,
    }
    assert second["ms"] == 2.0
    assert (third["complete"], third["result"]) == (False, "incomplete")


async def test_hostile_text_stays_within_its_line(tmp_path: Path) -> None:
    hostile = 'x"}\n{"client":"forged"}\r\n\x1b[2J'
    async with auditing(json_lines(tmp_path)) as trail:
        trail.observe(answer(user_agent=f"pip/26.3 {hostile}", principal=hostile, filename=hostile))
    (line,) = lines(tmp_path)
    assert (line["principal"], line["filename"]) == (hostile, hostile)


@pytest.mark.parametrize("clients", ["hashed", "none"])
async def test_lines_hide_clients_as_the_database_does(tmp_path: Path, clients: Any) -> None:
    async with auditing(json_lines(tmp_path, clients)) as trail:
        trail.observe(answer(client="192.0.2.77", principal="user:alice"))
    (text,) = [path.read_bytes() for path in tmp_path.glob("*.jsonl")]
    assert b"192.0.2.77" not in text
    assert b"alice" not in text
    assert b"ci.example.com" not in text
    assert (b'"client"' in text) == (clients == "hashed")


async def test_no_line_is_lost_when_files_are_rotated(tmp_path: Path) -> None:
    for number in range(5):
        async with auditing(json_lines(tmp_path, max_size=2000)) as trail:
            for second in range(10):
                trail.observe(answer(f"{number}.{second}", NOON + 10 * number + second))
    versions = [each["version"] for each in lines(tmp_path)]
    assert versions == [f"{number}.{second}" for number in range(5) for second in range(10)]
    assert len(list(tmp_path.glob("audit-0.*.jsonl.gz"))) == 4
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


async def test_a_day_has_its_own_file_and_old_files_are_deleted(tmp_path: Path) -> None:

    for day in range(4):
        now = NOON + day * DAY
        async with auditing(json_lines(tmp_path, keep=2 * DAY), now=now) as trail:
            trail.observe(answer(f"1.{day}", now))
        os.utime(tmp_path / "audit-0.jsonl", (now, now))
    names = sorted(path.name for path in tmp_path.glob("*.gz"))
    assert names == ["audit-0.2026-05-29.0.jsonl.gz", "audit-0.2026-05-30.0.jsonl.gz"]
    assert [each["version"] for each in lines(tmp_path)] == ["1.1", "1.2", "1.3"]


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_what_a_full_disk_does_not_take_is_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost = Lost()
    with caplog.at_level(logging.ERROR):
        async with auditing(json_lines(tmp_path), database(tmp_path), lost=lost) as trail:
            trail.observe(answer())
            await trail.flush()
            with full_disk(1000):
                for number in range(5):
                    trail.observe(answer(f"2.{number}", timings=((NOON, 1.0), (NOON, 1.0))))
                    await trail.flush()
            trail.observe(answer("3.0"))
    assert [each["version"] for each in lines(tmp_path)] == ["1.0", "3.0"]  # no half lines
    assert [each.version for each in found(tmp_path)] == ["1.0", "3.0"]
    for journal in ("lines", "database"):
        assert sum(each.answers for each in lost if each.journal == journal) == 10
        (logged,) = [each for each in caplog.messages if f"written to its {journal}" in each]
        assert "the audit lacks 2 answers" in logged


class Stuck:
    """A journal on a disk that takes nothing until it is released."""

    name = "stuck"

    def __init__(self) -> None:
        self.released = threading.Event()
        self.written: list[Entry] = []

    def write(self, entries: Sequence[Entry], now: float) -> None:
        self.released.wait(60)
        self.written += entries

    def close(self) -> None:
        pass


async def test_a_slow_disk_delays_nothing_and_what_waits_is_bounded() -> None:
    stuck, lost = Stuck(), Lost()
    async with auditing(stuck, lost=lost, max_waiting=10) as trail:
        for number in range(15):
            trail.observe(answer(f"1.{number}"))
        stuck.released.set()
    assert len(stuck.written) == 10
    assert lost == [AuditLost("memory", 1)] * 5


async def test_entries_with_which_nothing_can_be_done_do_not_end_the_audit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Confused(Stuck):
        def write(self, entries: Sequence[Entry], now: float) -> None:
            if any(entry.event.filename.endswith("\udcff") for entry in entries):
                raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")
            super().write(entries, now)

    journal, lost = Confused(), Lost()
    journal.released.set()
    async with auditing(journal, lost=lost) as trail:
        trail.observe(answer(filename="demo-1.0-py3-none-any.whl\udcff"))
        await trail.flush()
        trail.observe(answer("2.0"))
    assert len(journal.written) == 1
    assert lost == [AuditLost(journal.name, 1)]
    assert "surrogates not allowed" in caplog.text


async def test_large_pages_are_not_kept_in_memory(tmp_path: Path) -> None:
    page = ProjectPage(ProjectName("demo"), (), source="main", version="1")
    async with auditing(database(tmp_path)) as trail:
        trail.observe(answer(kind=RequestKind.PAGE, page=page, user_agent=AGENT))
        assert [each.page for each in trail._waiting] == [None]
