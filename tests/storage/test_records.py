"""What is remembered, by several processes, on disks that fill up and files that break."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import pickle
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import diskcache
import pytest

from proxy.errors import ConfigurationError
from proxy.storage.base import Records
from proxy.storage.folder_checks import file_system, private_folder
from proxy.storage.keys import Key, RecordKind
from proxy.storage.records import DiskRecords
from tests.support.mounts import mounted

VALUE_IN_FILE = bytes(range(256)) * 4000


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[DiskRecords]:
    made = DiskRecords(tmp_path / "records")
    yield made
    await made.close()


def database(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "cache.db", isolation_level=None)


async def test_what_was_put_is_there_until_it_is_forgotten(records: Records) -> None:
    assert await records.get(Key.parse("page/a")) is None
    for value in (b"", b"small", VALUE_IN_FILE):
        await records.put(Key.parse("page/a"), value)
        assert await records.get(Key.parse("page/a")) == value
    await records.forget(Key.parse("page/a"))
    await records.forget(Key.parse("page/a"))
    assert await records.get(Key.parse("page/a")) is None


async def test_records_survive_a_restart(records: DiskRecords, tmp_path: Path) -> None:
    await records.put(Key.parse("page/a"), VALUE_IN_FILE)
    again = DiskRecords(tmp_path / "records")
    assert await again.get(Key.parse("page/a")) == VALUE_IN_FILE
    await again.close()


async def test_writes_of_one_moment_are_all_there_and_in_their_order(
    records: DiskRecords, tmp_path: Path
) -> None:
    """Large ones among them, and conditional ones that see the writes before them."""
    keys = [Key.parse(f"page/{number:02}") for number in range(40)]
    seen: list[bytes | None] = []

    def test(value: bytes | None) -> bool:
        seen.append(value)
        return value == b"first"

    values = [VALUE_IN_FILE if number % 7 == 3 else b"%d" % number for number in range(40)]
    puts = [records.put(key, value) for key, value in zip(keys, values, strict=True)]
    shared = Key.parse("page/shared")
    results = await asyncio.gather(
        records.put(shared, b"first"),
        *puts,
        records.put_if(shared, test, {shared: b"second", keys[0]: None}),
        records.put_if(shared, test, {shared: b"third"}),
    )
    assert results[-2:] == [True, False]
    assert set(seen) == {b"first", b"second"}
    assert await records.get(shared) == b"second"
    assert await records.get(keys[0]) is None
    for key, value in list(zip(keys, values, strict=True))[1:]:
        assert await records.get(key) == value
    assert len(list((tmp_path / "records").rglob("*.val"))) == sum(
        v is VALUE_IN_FILE for v in values
    )


async def test_a_write_that_fails_takes_no_other_with_it(records: DiskRecords) -> None:
    """A test that raises stands for any error of one write."""

    def broken(value: bytes | None) -> bool:
        raise ValueError("not a record")

    keys = [Key.parse(f"page/{number}") for number in range(9)]
    *_, failed = await asyncio.gather(
        *(records.put(key, b"x") for key in keys),
        records.put_if(keys[0], broken, {keys[0]: b"y", keys[1]: b"y"}),
    )
    assert failed is False
    assert [await records.get(key) for key in keys] == [b"x"] * len(keys)


async def test_beyond_the_limit_what_was_written_first_goes_first(tmp_path: Path) -> None:
    records = DiskRecords(tmp_path / "records", size_limit=4 * len(VALUE_IN_FILE))
    for number in range(30):
        await records.put(Key.parse(f"page/{number:02}"), VALUE_IN_FILE)
        await records.get(Key.parse("page/00"))  # to have been read does not help
    kept = await records.keys(RecordKind.PAGE)
    assert 0 < len(kept) <= 5
    assert kept[-1] == "page/29"
    assert await records.get(Key.parse("page/29")) == VALUE_IN_FILE
    files = list((tmp_path / "records").rglob("*.val"))
    assert len(files) == len(kept)
    await records.close()


async def test_a_value_cut_short_by_a_power_cut_is_a_miss(records: Records, tmp_path: Path) -> None:
    await records.put(Key.parse("page/a"), VALUE_IN_FILE)
    [file] = (tmp_path / "records").rglob("*.val")
    os.truncate(file, len(VALUE_IN_FILE) // 2)
    assert await records.get(Key.parse("page/a")) is None
    file.unlink()
    assert await records.get(Key.parse("page/a")) is None


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pwned",)


async def test_a_pickle_in_the_folder_is_never_loaded(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await records.put(Key.parse("page/a"), b"mine")
    foreign = diskcache.Cache(str(tmp_path / "records"))
    foreign.set("page/small", Evil())
    foreign.set("page/large", [Evil(), VALUE_IN_FILE])
    foreign.set(("page", "tuple"), b"x")
    foreign.set("page/text", "text")
    foreign.close()
    for text in ("page/small", "page/large", "page/text"):
        assert await records.get(Key.parse(text)) is None
    assert await records.keys(RecordKind.PAGE) == [
        "page/a",
        "page/large",
        "page/small",
        "page/text",
    ]
    assert not (tmp_path / "pwned").exists()
    with pytest.raises(FileExistsError):  # it would have been: this is what loading does
        (tmp_path / "pwned").mkdir()
        pickle.loads(pickle.dumps(Evil()))


async def test_a_row_that_points_outside_of_the_folder_is_a_miss(
    records: Records, tmp_path: Path
) -> None:
    await records.put(Key.parse("page/a"), VALUE_IN_FILE)
    (tmp_path / "secret").write_bytes(b"????secret")
    for outside in ("../secret", str(tmp_path / "secret")):
        with database(tmp_path / "records") as rows:
            rows.execute("UPDATE Cache SET filename = ?", (outside,))
        rows.close()
        assert await records.get(Key.parse("page/a")) is None


async def test_values_and_keys_of_other_kinds_are_refused(records: DiskRecords) -> None:
    with pytest.raises(TypeError):
        await records.put(Key.parse("page/a"), ["x"])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await records.put(b"page/a", b"x")  # type: ignore[arg-type]


async def test_a_waiting_write_delays_no_read_and_is_logged(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await records.put(Key.parse("page/a"), b"old")
    other = database(tmp_path / "records")
    other.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.WARNING):
        writing = asyncio.create_task(records.put(Key.parse("page/a"), b"new"))
        for _ in range(20):
            assert await records.get(Key.parse("page/a")) == b"old"
        assert not writing.done()
        await writing
        await records.put(Key.parse("page/a"), b"newer")
    assert len(caplog.records) == 1
    other.execute("ROLLBACK")
    other.close()
    await records.put(Key.parse("page/a"), b"newest")
    assert await records.get(Key.parse("page/a")) == b"newest"


@pytest.mark.parametrize(
    "lock",
    [
        ("BEGIN IMMEDIATE",),
        ("BEGIN EXCLUSIVE",),
        ("PRAGMA locking_mode=EXCLUSIVE", "BEGIN IMMEDIATE"),
        ("PRAGMA journal_mode=DELETE", "BEGIN EXCLUSIVE"),
    ],
)
async def test_a_locked_database_delays_the_first_use_by_a_second_not_a_minute(
    tmp_path: Path, lock: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    before = DiskRecords(tmp_path / "records")
    await before.put(Key.parse("page/a"), b"kept")
    await before.close()
    other = database(tmp_path / "records")
    for statement in lock:
        other.execute(statement)
    records = DiskRecords(tmp_path / "records")
    async with asyncio.timeout(20):
        await records.get(Key.parse("page/a"))
        await records.put(Key.parse("page/b"), b"lost")
    await records.close()
    assert [each.getMessage() for each in caplog.records] == [
        "the records of the cache cannot be read or written: database is locked"
    ]
    other.close()
    again = DiskRecords(tmp_path / "records")
    assert await again.get(Key.parse("page/a")) == b"kept"
    await again.close()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_damaged_database_is_renamed_and_recreated(
    tmp_path: Path, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "records"
    records, other = DiskRecords(folder), DiskRecords(folder)
    if when == "after":
        await records.put(Key.parse("page/a"), b"x" * 20_000)
        await other.put(Key.parse("page/b"), b"x" * 20_000)
        for suffix in ("-wal", "-shm"):
            (folder / f"cache.db{suffix}").unlink(missing_ok=True)
    (folder / "cache.db").write_bytes(b"not a database, and long enough to be read " * 1000)
    with caplog.at_level(logging.WARNING):
        assert await records.get(Key.parse("page/a")) is None
        await records.put(Key.parse("page/a"), b"new")
        await other.put(Key.parse("page/b"), b"new")
    assert await other.get(Key.parse("page/a")) == b"new"
    assert await records.get(Key.parse("page/b")) == b"new"
    assert caplog.text.count("a new one is created") == 1
    assert b"not a database" in (tmp_path / "records.damaged" / "cache.db").read_bytes()
    await records.close()
    await other.close()


async def test_a_deleted_folder_is_recreated(records: Records, tmp_path: Path) -> None:
    await records.put(Key.parse("page/a"), b"x")
    (tmp_path / "records").rename(tmp_path / "gone")
    assert await records.get(Key.parse("page/a")) is None
    await records.put(Key.parse("page/a"), b"y")
    assert await records.get(Key.parse("page/a")) == b"y"


async def test_on_a_read_only_disk_nothing_is_stored_and_one_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mounted(tmp_path / "cache", "ro") as cache, caplog.at_level(logging.WARNING):
        records = DiskRecords(cache / "records")
        for _ in range(3):
            await records.put(Key.parse("page/a"), b"x")
            assert await records.get(Key.parse("page/a")) is None
            assert await records.keys() == []
        await records.forget(Key.parse("page/a"))
        await records.close()
    assert len(caplog.records) == 1
    assert "cannot be read or written" in caplog.text


async def test_a_full_disk_costs_only_what_does_not_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mounted(tmp_path / "cache", "size=2m") as cache, caplog.at_level(logging.WARNING):
        records = DiskRecords(cache / "records")
        await records.put(Key.parse("page/a"), b"first")
        for number in range(3):
            await records.put(Key.parse(f"page/{number}"), VALUE_IN_FILE * 3)
        assert "No space left" in caplog.text
        assert list((cache / "records").rglob("*.val")) == []
        assert await records.get(Key.parse("page/a")) == b"first"
        await records.put(Key.parse("page/b"), b"second")
        assert await records.get(Key.parse("page/b")) == b"second"
        await records.close()


async def test_once_there_is_room_again_values_are_written_again(tmp_path: Path) -> None:
    with mounted(tmp_path / "cache", "size=3m") as cache:
        records = DiskRecords(cache / "records")
        await records.put(Key.parse("page/a"), b"x")
        (cache / "filler").write_bytes(bytes(1_500_000))
        for number in range(100):
            await records.put(Key.parse(f"page/{number}"), bytes([number]) * 20_000)
        assert len(await records.keys(RecordKind.PAGE)) < 100
        (cache / "filler").unlink()
        await records.put(Key.parse("page/b"), b"y" * 20_000)
        assert await records.get(Key.parse("page/b")) == b"y" * 20_000
        await records.close()


def _write(folder: Path, name: str) -> None:
    async def run() -> None:
        records = DiskRecords(folder)
        for number in range(100):
            await records.put(
                Key.parse(f"page/{name}{number}"), VALUE_IN_FILE if number % 10 == 0 else b"small"
            )
            await records.put(Key.parse("page/shared"), name.encode())
        await records.close()

    asyncio.run(run())


async def test_processes_share_one_folder(records: Records, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(tmp_path / "records", name)) for name in "ab"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert await records.get(Key.parse("page/shared")) in (None, b"a", b"b")
        await asyncio.sleep(0.001)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(await records.keys(RecordKind.PAGE)) == 201
    assert (
        await records.get(Key.parse("page/a90"))
        == await records.get(Key.parse("page/b0"))
        == VALUE_IN_FILE
    )


def _count(folder: Path) -> None:
    key = Key.parse("page/count")

    async def replaced(records: DiskRecords, before: bytes) -> bool:
        return await records.put_if(
            key, lambda found: (found or b"") == before, {key: before + b"x" * 100}
        )

    async def run() -> None:
        records = DiskRecords(folder)
        for _ in range(100):
            while not await replaced(records, await records.get(key) or b""):
                pass
        await records.close()

    asyncio.run(run())


async def test_between_a_test_and_a_write_no_other_process_writes(
    records: Records, tmp_path: Path
) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_count, args=(tmp_path / "records",)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        await asyncio.to_thread(writer.join, 100)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(await records.get(Key.parse("page/count")) or b"") == 2 * 100 * 100


async def test_values_that_do_not_fit_together_are_not_written_at_all(tmp_path: Path) -> None:
    head, document = Key.parse("page/a"), Key.parse("document/a")
    with mounted(tmp_path / "cache", "size=2m") as cache:
        records = DiskRecords(cache / "records")
        assert await records.put_if(head, lambda found: True, {head: b"1", document: b"1"})
        assert not await records.put_if(
            head, lambda found: True, {head: b"2", document: VALUE_IN_FILE * 3}
        )
        assert (await records.get(head), await records.get(document)) == (b"1", b"1")
        await records.close()


async def test_closing_leaves_no_connection_open(tmp_path: Path) -> None:
    records = DiskRecords(tmp_path / "records")
    await records.put(Key.parse("page/a"), VALUE_IN_FILE)
    await records.get(Key.parse("page/a"))
    await records.close()
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in _descriptors()]
    assert not [path for path in open_files if str(tmp_path) in path]


def _descriptors() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


def test_the_folder_is_made_for_us_alone(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "records"
    private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="all users") as raised:
        DiskRecords(folder)
    assert raised.value.key == "cache_dir"


def test_a_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "records").symlink_to("elsewhere")
    with pytest.raises(ConfigurationError, match="not a folder"):
        DiskRecords(tmp_path / "records")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(ConfigurationError, match="another user"):
        DiskRecords(folder)


MOUNTS = """\
22 1 0:20 / / rw - ext4 /dev/vda rw
23 22 0:21 / /mnt/team\\040cache rw,relatime shared:9 - nfs4 server:/export rw
24 22 0:22 / /mnt/ssh rw - fuse.sshfs host: rw
25 22 0:23 / /mnt/smb rw - cifs //server/share rw
26 25 0:24 / /mnt/smb/local rw master:1 - tmpfs tmpfs rw
27 22 0:25 / /mnt/smb/local rw - xfs /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/cache/records", "ext4"),
        ("/mnt/team cache/records", "nfs4"),
        ("/mnt/team cache2", "ext4"),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/mnt/smb/records", "cifs"),
        ("/mnt/smb/local/records", "xfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    assert file_system(Path(folder), MOUNTS) == kind


def test_without_a_list_of_mounts_every_folder_is_taken() -> None:
    assert file_system(Path("/var/cache"), "") == ""
