"""Files that are there, files that change or vanish, and a store shared by processes."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
from pathlib import Path

import pytest

from proxy.errors import IndexUnavailable, StoreDamaged
from proxy.runtime.file_io import PIECE_SIZE
from proxy.storage.base import BlobStore
from proxy.storage.disk_store import DiskBlob, DiskStore, identity_of
from proxy.storage.in_memory import BytesBlob
from tests.support.content import read_blob

CONTENT = bytes(range(256)) * 2800  # more than two pieces, and not a multiple of one
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x-1.0.tar.gz"
    path.write_bytes(CONTENT)
    return path


def foreign(path: Path) -> DiskBlob:
    found = path.stat()
    return DiskBlob(path, found.st_size, identity=identity_of(found), changed=has_changed)


def has_changed(filename: str) -> IndexUnavailable:
    return IndexUnavailable("private", f"the file {filename} has changed")


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, None),
        (0, 10),
        (100, None),
        (PIECE_SIZE - 1, PIECE_SIZE + 1),
        (7, 10**9),
        (len(CONTENT), None),
    ],
)
async def test_any_range_of_a_blob_is_the_same_slice_of_its_bytes(
    path: Path, start: int, stop: int | None
) -> None:
    for blob in (DiskBlob(path, len(CONTENT)), foreign(path), BytesBlob(CONTENT)):
        assert await read_blob(blob, start, stop) == CONTENT[start:stop]
        assert blob.size == await blob.length() == len(CONTENT)


async def test_bytes_that_are_not_in_memory_are_read_from_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert await read_blob(DiskBlob(path, len(CONTENT))) == CONTENT


async def test_others_get_the_loop_between_two_pieces_but_not_after_the_last(path: Path) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    assert await read_blob(DiskBlob(path, len(CONTENT))) == CONTENT  # now it is in memory
    other = asyncio.create_task(count())
    pieces = [len(piece) async for piece in DiskBlob(path, len(CONTENT)).chunks()]
    other.cancel()
    assert len(pieces) == 3
    assert turns == 2


async def test_a_symbolic_link_a_folder_or_a_pipe_is_not_opened(path: Path) -> None:
    link, pipe = path.with_name("link"), path.with_name("pipe")
    link.symlink_to(path)
    os.mkfifo(pipe)
    for odd in (link, pipe, path.parent):
        with pytest.raises(StoreDamaged):
            DiskBlob(odd, odd.stat().st_size).open()


async def test_a_file_replaced_before_the_start_is_not_sent(path: Path) -> None:
    blob = foreign(path)
    other = path.with_name("other")
    other.write_bytes(CONTENT[::-1])
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    with pytest.raises(IndexUnavailable, match=r"private.*x-1\.0\.tar\.gz has changed"):
        await read_blob(blob)


async def test_a_file_changed_while_it_is_sent_never_gets_its_last_piece(path: Path) -> None:
    blob, got = foreign(path), 0
    with pytest.raises(IndexUnavailable):
        async for piece in blob.chunks():
            got += len(piece)
            with path.open("r+b") as file:
                file.write(b"changed in place, same length")
    assert 0 < got < len(CONTENT)


async def test_a_file_changed_while_it_is_sent_is_noticed_though_its_times_are_set_back(
    path: Path,
) -> None:
    blob, before = foreign(path), path.stat()
    with pytest.raises(IndexUnavailable):
        async for _ in blob.chunks():
            while path.stat().st_ctime_ns == before.st_ctime_ns:  # clocks of disks are coarse
                path.write_bytes(CONTENT[::-1])
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("how", ["deleted", "renamed over"])
async def test_a_file_that_is_gone_from_its_folder_is_sent_to_its_end(path: Path, how: str) -> None:
    pieces, other = foreign(path).chunks(), path.with_name("other")
    got = await anext(pieces)
    other.write_bytes(b"new")
    if how == "deleted":
        path.unlink()
    else:
        other.replace(path)
    assert got + b"".join([piece async for piece in pieces]) == CONTENT


async def test_a_stored_file_of_another_length_is_damaged(path: Path) -> None:
    blob = DiskBlob(path, len(CONTENT))
    pieces = blob.chunks()
    assert await anext(pieces)
    os.truncate(path, PIECE_SIZE)
    with pytest.raises(StoreDamaged):
        await anext(pieces)


async def test_no_descriptor_stays_open_after_a_reader_left(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    pieces = DiskBlob(path, len(CONTENT)).chunks()
    await anext(pieces)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    await pieces.aclose()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_store_takes_the_finished_file_over(path: Path, tmp_path: Path) -> None:
    store: BlobStore = DiskStore(tmp_path / "cache" / "blob")
    assert await store.get(SHA256) is None
    assert [entry async for entry in store.entries()] == []
    stored = path.stat().st_mtime
    await store.put(SHA256, path)
    assert not path.exists()
    assert (tmp_path / "cache" / "blob" / SHA256[:2] / SHA256).read_bytes() == CONTENT
    assert await store.has(SHA256)
    blob = await store.get(SHA256)
    assert blob is not None
    assert await read_blob(blob) == CONTENT
    [entry] = [entry async for entry in store.entries()]
    assert (entry.key, entry.size, entry.stored) == (SHA256, len(CONTENT), stored)


async def test_what_is_read_while_it_is_deleted_is_read_to_the_end(
    path: Path, tmp_path: Path
) -> None:
    store = DiskStore(tmp_path / "blob")
    await store.put(SHA256, path)
    blob = await store.get(SHA256)
    assert blob is not None
    pieces = blob.chunks()
    got = await anext(pieces)
    await store.delete(SHA256)
    await store.delete(SHA256)
    assert not await store.has(SHA256)
    assert await store.get(SHA256) is None
    assert got + b"".join([piece async for piece in pieces]) == CONTENT
    with pytest.raises(StoreDamaged):
        await read_blob(blob)


async def test_a_put_that_fails_leaves_the_spool_and_nothing_in_the_store(
    path: Path, tmp_path: Path
) -> None:
    (tmp_path / "blob").write_text("in the way")
    store = DiskStore(tmp_path / "blob")
    with pytest.raises(OSError, match="blob"):
        await store.put(SHA256, path)
    assert path.read_bytes() == CONTENT
    assert not await store.has(SHA256)


@pytest.mark.parametrize(
    "key", ["", "../" + "a" * 61, SHA256.upper(), SHA256 + "\n", SHA256[:-1], "a/b"]
)
async def test_only_a_sha256_is_a_key(key: str, path: Path, tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "blob")
    with pytest.raises(ValueError, match="sha256"):
        await store.get(key)
    with pytest.raises(ValueError, match="sha256"):
        await store.put(key, path)


async def test_foreign_files_and_links_in_the_store_are_not_entries(
    path: Path, tmp_path: Path
) -> None:
    store = DiskStore(tmp_path / "blob")
    await store.put(SHA256, path)
    (tmp_path / "blob" / SHA256[:2] / "README").write_text("mine")
    (tmp_path / "blob" / SHA256[:2] / ("0" * 64)).symlink_to("/etc/passwd")
    assert [entry.key async for entry in store.entries()] == [SHA256]


def _put_often(root: Path, name: str) -> None:
    async def run() -> None:
        store = DiskStore(root)
        for number in range(50):
            spool = root.parent / f"{name}{number}"
            spool.write_bytes(CONTENT)
            await store.put(SHA256, spool)

    asyncio.run(run())


async def test_processes_that_put_the_same_file_at_once_never_show_half_of_it(
    tmp_path: Path,
) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_put_often, args=(tmp_path / "blob", name)) for name in "ab"]
    store = DiskStore(tmp_path / "blob")
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        if blob := await store.get(SHA256):
            assert await read_blob(blob) == CONTENT
            seen += 1
        await asyncio.sleep(0.001)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen > 0
