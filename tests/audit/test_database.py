"""The rollup: what is remembered of answers, for how long, and what questions find."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from proxy.audit import AuditUnreadable, Result, Tool, Wanted, find
from proxy.audit import database as module
from proxy.events import Outcome, RequestKind
from tests.support.audits import (
    AGENT,
    DAY,
    NOON,
    Lost,
    answer,
    auditing,
    database,
    found,
    remember,
)
from tests.support.waiting import until


async def test_answers_of_a_day_are_one_row_for_each_file_client_and_result(
    tmp_path: Path,
) -> None:
    times = ((NOON, 1.0), (NOON + 1, 1.0))
    await remember(
        tmp_path,
        [
            answer(timings=times),
            answer(when=NOON + 60, outcome=Outcome.MISS),
            answer(client="10.0.0.2"),
            answer("2.0"),
        ],
    )
    first, second, third = found(tmp_path)
    assert (first.client, first.number, first.bytes) == ("10.0.0.1", 3, 300)
    assert (first.first, first.last) == (NOON, NOON + 60)
    assert (first.project, first.version, first.digest) == ("demo", "1.0", "a" * 64)
    assert (first.tool.python, first.tool.ci) == ("3.12.1", True)
    assert (second.client, second.number) == ("10.0.0.2", 1)
    assert (third.version, third.number) == ("2.0", 1)


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({}, Result.RECEIVED),
        ({"status": 206}, Result.PARTIAL),
        ({"failure": "the client left"}, Result.INCOMPLETE),
        ({"status": 499, "failure": "the client left"}, Result.INCOMPLETE),
        ({"status": 302}, Result.REDIRECTED),
        ({"status": 304}, Result.UNCHANGED),
        ({"status": 403, "rule": "week", "reason": "too new"}, Result.REFUSED),
        ({"status": 502, "reason": "upstream is down"}, Result.FAILED),
        ({"status": 404}, None),
        ({"status": 401}, None),
        ({"method": "HEAD"}, None),
        ({"project": None, "filename": ""}, None),
        ({"project": None, "filename": "snapshot a", "kind": RequestKind.CHANGE}, Result.CHANGED),
    ],
)
async def test_each_answer_has_a_result(
    tmp_path: Path, fields: dict[str, Any], result: Result | None
) -> None:
    await remember(tmp_path, [answer(**fields)])
    assert [each.result for each in found(tmp_path)] == ([result] if result else [])


async def test_a_refusal_is_remembered_with_its_rule_and_reason(tmp_path: Path) -> None:
    refused: dict[str, Any] = {"status": 403, "rule": "week", "reason": "too new"}
    await remember(tmp_path, [answer(**refused), answer("2.0")])
    (row,) = found(tmp_path, rule="week")
    assert (row.result, row.rule, row.reason, row.version) == ("refused", "week", "too new", "1.0")


async def test_what_a_rule_observes_is_received_and_observed(tmp_path: Path) -> None:
    await remember(tmp_path, [answer(observed=(("week", "too new"), ("size", "too large")))])
    rows = {(each.result, each.rule, each.reason) for each in found(tmp_path)}
    assert rows == {
        ("received", "", ""),
        ("observed", "week", "too new"),
        ("observed", "size", "too large"),
    }


async def test_files_beside_a_distribution_are_no_receipt_of_it(tmp_path: Path) -> None:
    wheel = "demo-1.0-py3-none-any.whl"
    await remember(
        tmp_path,
        [
            answer(filename=f"{wheel}.metadata", kind=RequestKind.METADATA),
            answer(filename=f"{wheel}.provenance"),
            answer(filename=f"{wheel}.asc"),
        ],
    )
    assert found(tmp_path, kinds=frozenset({RequestKind.FILE})) == []
    assert {each.version for each in found(tmp_path)} == {"1.0"}


@pytest.mark.parametrize("pages", [False, True])
async def test_pages_are_counted_and_their_clients_noted_only_if_wanted(
    tmp_path: Path, pages: bool
) -> None:
    page: dict[str, Any] = {"kind": RequestKind.PAGE, "filename": "", "digest": ""}
    refused: dict[str, Any] = {"status": 403, "rule": "names", "reason": "reserved"}
    events = [answer(**page), answer(client="10.0.0.2", **page), answer(**page, **refused)]
    await remember(tmp_path, events, pages=pages)
    clients = Counter({each.client: each.number for each in found(tmp_path) if not each.rule})
    assert clients == ({"10.0.0.1": 1, "10.0.0.2": 1} if pages else {"": 2})
    assert [each.client for each in found(tmp_path) if each.rule] == ["10.0.0.1"]


async def test_questions_choose_by_version_time_digest_and_requester(tmp_path: Path) -> None:
    await remember(
        tmp_path,
        [
            answer("1.0", NOON - 10 * DAY),
            answer("1.1rc1", NOON, principal="user:alice", digest="b" * 64),
            answer("2.0", NOON, client="10.0.0.2", index="other"),
        ],
    )

    def versions(**wanted: object) -> list[str]:
        return [each.version for each in found(tmp_path, **wanted)]

    assert versions() == ["1.0", "1.1rc1", "2.0"]
    assert versions(project="demo", versions=SpecifierSet("<2")) == ["1.0", "1.1rc1"]
    assert versions(project="demo", versions=SpecifierSet("==9")) == []
    assert versions(project="other") == []
    assert versions(since=NOON - DAY) == ["1.1rc1", "2.0"]
    assert versions(until=NOON - DAY) == ["1.0"]
    assert versions(digest="b" * 64) == ["1.1rc1"]
    assert versions(client="10.0.0.2") == versions(index="other") == ["2.0"]
    assert versions(principal="user:alice") == ["1.1rc1"]


async def test_processes_write_databases_of_their_own_and_questions_read_all(
    tmp_path: Path,
) -> None:
    async with auditing(database(tmp_path)) as one, auditing(database(tmp_path)) as other:
        one.observe(answer("1.0"))
        await until(lambda: bool(list(tmp_path.glob("*.db"))))
        other.observe(answer("1.0"))
    assert len(list(tmp_path.glob("audit-*.db"))) == 2
    assert [each.number for each in found(tmp_path)] == [1, 1]
    await remember(tmp_path, [answer("3.0")])
    assert len(list(tmp_path.glob("audit-*.db"))) == 2  # the place of one that has ended


async def test_days_beyond_the_limit_are_forgotten_with_what_only_they_name(
    tmp_path: Path,
) -> None:
    start = NOON
    async with auditing(database(tmp_path, keep=3 * DAY), now=start) as trail:
        trail.observe(answer("1.0", start, client="10.0.0.9"))
        trail.observe(answer("2.0", start))
    async with auditing(database(tmp_path, keep=3 * DAY), now=start + 3 * DAY) as trail:
        trail.observe(answer("2.0", start + 3 * DAY))
    assert [each.version for each in found(tmp_path)] == ["1.0", "2.0"]
    async with auditing(database(tmp_path, keep=3 * DAY), now=start + 4 * DAY) as trail:
        trail.observe(answer("2.0", start + 4 * DAY))
    assert [(each.version, each.number) for each in found(tmp_path)] == [("2.0", 2)]
    with sqlite3.connect(tmp_path / "audit-0.db") as db:
        assert db.execute("SELECT version FROM files").fetchall() == [("2.0",)]
        assert db.execute("SELECT client FROM requesters").fetchall() == [("10.0.0.1",)]
    db.close()


async def test_hashes_are_equal_within_a_month_and_have_no_way_back(tmp_path: Path) -> None:
    secret: dict[str, Any] = {"client": "192.0.2.77", "principal": "user:alice"}
    for now in (NOON, NOON + 1, NOON + 31 * DAY):
        async with auditing(database(tmp_path, "hashed"), now=now) as trail:
            trail.observe(answer(when=now, **secret))
    first, later = sorted(found(tmp_path), key=lambda each: each.first)
    assert first.number == 2
    assert len({first.client, later.client, first.principal, later.principal}) == 4
    assert first.tool.user_data == ""
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"192.0.2.77" not in stored
    assert b"alice" not in stored
    assert b"ci.example.com" not in stored
    assert len(list(tmp_path.glob("hash-key-*"))) == 1


async def test_without_clients_only_tools_are_known(tmp_path: Path) -> None:
    async with auditing(database(tmp_path, "none")) as trail:
        trail.observe(answer(principal="user:alice"))
    (row,) = found(tmp_path)
    assert (row.client, row.principal) == ("", "")
    assert row.tool == Tool(
        *("pip", "26.3", "3.12.1", "CPython 3.12.1", "Linux 6.1", "Debian GNU/Linux 12"),
        cpu="x86_64",
        ci=True,
    )


async def test_a_damaged_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "audit-0.db").write_bytes(b"no database" * 1000)
    lost = Lost()
    async with auditing(database(tmp_path), lost=lost) as trail:
        trail.observe(answer())
    assert [each.version for each in found(tmp_path)] == ["1.0"]
    assert list(tmp_path.glob("audit-0.damaged-*"))
    assert not lost


@pytest.mark.parametrize("made", ["", "CREATE TABLE files (id INTEGER PRIMARY KEY)"])
def test_a_database_that_is_being_made_has_no_answers_yet(tmp_path: Path, made: str) -> None:
    with closing(sqlite3.connect(tmp_path / "audit-0.db")) as db:
        db.execute(made)
    assert list(find(tmp_path, Wanted())) == []


def test_a_database_that_cannot_be_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "audit-0.db").write_bytes(b"no database" * 1000)
    with pytest.raises(AuditUnreadable, match=r"audit-0\.db"):
        list(find(tmp_path, Wanted()))


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from proxy.audit import AuditUnreadable
from tests.support.audits import answer, auditing, database, found
from tests.support.waiting import until

def is_stored():
    try:
        return bool(found(Path(sys.argv[1])))
    except AuditUnreadable:  # the database is being made
        return False

async def main():
    async with auditing(database(Path(sys.argv[1]))) as trail:
        trail.observe(answer())
        await until(is_stored)
        trail.observe(answer("2.0"))
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_a_killed_process_loses_its_last_moment_and_no_more(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], check=False, stderr=subprocess.PIPE, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [each.version for each in found(tmp_path)] == ["1.0"]


async def test_clients_cannot_fill_the_disk_with_invented_tools(tmp_path: Path) -> None:
    journal = database(tmp_path)
    async with auditing(journal) as trail:
        for number in range(3):
            trail.observe(answer(user_agent=f"tool-{number}/1.0"))
    limited = module.Database(tmp_path, journal._names, journal._keep, max_new=2)
    async with auditing(limited) as trail:
        for number in range(10):
            trail.observe(answer(client=f"10.0.1.{number}", user_agent=AGENT))
    assert len({each.client for each in found(tmp_path)}) == 4  # one of before, two, and the rest
    assert sum(each.number for each in found(tmp_path)) == 13
