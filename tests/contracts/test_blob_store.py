"""The contract of ``BlobStore``, run over every implementation, those of tests included."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import obstore.store
import pytest
import pytest_asyncio

from proxy.errors import StoreDamaged
from proxy.model import Blob, Span
from proxy.runtime import PIECE_SIZE
from proxy.scale import LocalCopies, ObjectCalls, ObjectStore, open_object_store
from proxy.storage import as_local_file, digests_of, no_limit
from proxy.storage.base import BlobStore
from proxy.storage.disk_store import DiskStore
from tests.support.kill_at_write import KillingStore
from tests.support.memory_store import MemoryStore

CONTENT = bytes(range(256)) * 2800  # more than two pieces, and not a multiple of one
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ABSENT = "0" * 64


@pytest_asyncio.fixture(
    params=["disk", "killing", "memory", "objects", "objects and copies", "seaweedfs"]
)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    root = tmp_path / "blob"
    made: dict[str, BlobStore] = {
        "disk": DiskStore(root),
        "killing": KillingStore(root, lambda: None),
        "memory": MemoryStore(),
    }
    if request.param in made:
        yield made[request.param]
        return
    async with AsyncExitStack() as stack:
        objects: Any = obstore.store.MemoryStore()
        if request.param == "seaweedfs":
            url = request.getfixturevalue("bucket")
            objects = await stack.enter_async_context(open_object_store(url))
        calls = await stack.enter_async_context(ObjectCalls(objects))
        copies = LocalCopies(DiskStore(root), no_limit, lambda key: None)
        wanted = copies if request.param == "objects and copies" else None
        opened = ObjectStore(calls, tmp_path / "spool", wanted)
        yield await stack.enter_async_context(opened)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    path = tmp_path / "x.part"
    path.write_bytes(CONTENT)
    return path


async def stored(store: BlobStore, spool: Path) -> Blob:
    await store.put(SHA256, spool)
    blob = await store.get(SHA256)
    assert blob is not None
    return blob


async def read(blob: Blob, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([piece async for piece in blob.chunks(start, stop)])


async def test_an_empty_store_has_nothing(store: BlobStore) -> None:
    assert await store.get(ABSENT) is None
    assert not await store.has(ABSENT)
    assert await store.present([ABSENT]) == await store.present([]) == set()
    assert [entry async for entry in store.entries()] == []
    await store.delete(ABSENT)


async def test_a_file_that_is_put_is_moved_into_the_store(store: BlobStore, spool: Path) -> None:
    blob = await stored(store, spool)
    assert not spool.exists()
    assert await read(blob) == CONTENT
    assert (blob.key, blob.size, await blob.length()) == (SHA256, len(CONTENT), len(CONTENT))
    assert await blob.size_without_download() == len(CONTENT)
    assert not blob.needs_download
    assert await store.has(SHA256)
    assert await store.present([ABSENT, SHA256]) == {SHA256}
    (entry,) = [entry async for entry in store.entries()]
    assert (entry.key, entry.size) == (SHA256, len(CONTENT))
    assert entry.stored > 0


async def test_a_file_that_is_put_twice_is_one(store: BlobStore, spool: Path) -> None:
    await stored(store, spool)
    spool.write_bytes(CONTENT)
    await stored(store, spool)
    assert len([entry async for entry in store.entries()]) == 1


async def test_bytes_are_stored_as_a_file_is(store: BlobStore) -> None:
    await store.put(SHA256, CONTENT)
    await store.put(SHA256, CONTENT)
    blob = await store.get(SHA256)
    assert blob is not None
    assert (blob.key, blob.size, await read(blob)) == (SHA256, len(CONTENT), CONTENT)
    assert len([entry async for entry in store.entries()]) == 1


async def test_files_that_are_put_together_are_all_stored(store: BlobStore, tmp_path: Path) -> None:
    contents = [number.to_bytes(4, "big") * 1000 for number in range(40)]
    keys = [hashlib.sha256(content).hexdigest() for content in contents]
    paths = [tmp_path / key for key in keys[::2]]
    for path, content in zip(paths, contents[::2], strict=True):
        path.write_bytes(content)
    sent: list[Path | bytes] = [*contents]
    sent[::2] = paths
    await asyncio.gather(*map(store.put, keys, sent))
    assert await store.present(keys) == set(keys)
    for key, content in zip(keys, contents, strict=True):
        blob = await store.get(key)
        assert blob is not None
        assert await read(blob) == content
    assert not any(path.exists() for path in paths)


async def test_one_put_that_fails_leaves_those_beside_it(store: BlobStore, tmp_path: Path) -> None:
    keys = [hashlib.sha256(bytes([number])).hexdigest() for number in range(9)]
    puts = [store.put(key, bytes([number])) for number, key in enumerate(keys)]
    failed, *others = await asyncio.gather(
        store.put(SHA256, tmp_path / "missing"), *puts, return_exceptions=True
    )
    assert isinstance(failed, OSError)
    assert others == [None] * len(keys)
    assert await store.present([SHA256, *keys]) == set(keys)


async def test_a_deleted_blob_is_absent(store: BlobStore, spool: Path) -> None:
    await stored(store, spool)
    await store.delete(SHA256)
    await store.delete(SHA256)
    assert await store.get(SHA256) is None
    assert not await store.has(SHA256)
    assert await store.present([SHA256]) == set()
    assert [entry async for entry in store.entries()] == []


async def test_many_blobs_are_deleted_together(store: BlobStore) -> None:
    contents = [bytes([number]) for number in range(5)]
    keys = [hashlib.sha256(content).hexdigest() for content in contents]
    await asyncio.gather(*map(store.put, keys, contents))
    await store.delete(*keys[:3], ABSENT)
    assert await store.present(keys) == set(keys[3:])


async def test_many_blobs_are_looked_for_together(store: BlobStore) -> None:
    contents = [number.to_bytes(2, "big") for number in range(100)]
    keys = [hashlib.sha256(content).hexdigest() for content in contents]
    await asyncio.gather(*map(store.put, keys[::2], contents[::2]))
    assert await store.present(keys) == set(keys[::2])


async def test_a_put_that_fails_leaves_the_file(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        await store.put(SHA256, tmp_path / "missing")
    assert await store.get(SHA256) is None


@pytest.mark.parametrize(
    "key", ["", "../" + "a" * 61, SHA256.upper(), SHA256 + "\n", SHA256[:-1], "a/b"]
)
async def test_only_a_sha256_is_a_key(store: BlobStore, spool: Path, key: str) -> None:
    for call in (store.get(key), store.put(key, spool), store.has(key), store.delete(key)):
        with pytest.raises(ValueError, match="sha256"):
            await call
    with pytest.raises(ValueError, match="sha256"):
        await store.present([key])
    assert spool.exists()


RANGES = [(0, None), (0, 10), (100, None), (PIECE_SIZE - 1, PIECE_SIZE + 1), (7, 10**9)]


@pytest.mark.parametrize(("start", "stop"), [*RANGES, (len(CONTENT), None)])
async def test_any_range_is_the_same_slice_of_the_bytes(
    store: BlobStore, spool: Path, start: int, stop: int | None
) -> None:
    blob = await stored(store, spool)
    assert await read(blob, start, stop) == CONTENT[start:stop]
    assert await from_spans(blob, start, stop) in (CONTENT[start:stop], None)


async def from_spans(blob: Blob, start: int, stop: int | None) -> bytes | None:
    """None: the blob has no spans."""
    spans = blob.spans(start, stop)
    if spans is None:
        return None
    found = b""
    async for part in spans:
        if isinstance(part, Span):
            found += os.pread(part.fd, part.stop - part.start, part.start)
        else:
            found += part
    return found


async def test_a_local_path_is_that_of_the_bytes(store: BlobStore, spool: Path) -> None:
    path = (await stored(store, spool)).local_path()
    assert path is None or path.read_bytes() == CONTENT


async def test_a_small_blob_of_any_store_can_be_had_as_a_file(
    store: BlobStore, spool: Path, tmp_path: Path
) -> None:
    blob = await stored(store, spool)
    async with blob.as_file() as path:
        if path is None:
            assert isinstance(store, MemoryStore)  # it has no folder for it
        else:
            assert path.read_bytes() == CONTENT
    assert not list(tmp_path.glob("spool/*"))


async def test_any_blob_can_be_read_as_a_file_and_hashed(
    store: BlobStore, spool: Path, tmp_path: Path
) -> None:
    blob = await stored(store, spool)
    async with as_local_file(blob, tmp_path / "spool") as path:
        assert path.read_bytes() == CONTENT
    assert not list(tmp_path.glob("spool/*"))
    assert await digests_of(blob, ["sha256", "blake2b"]) == {
        "sha256": SHA256,
        "blake2b": hashlib.blake2b(CONTENT, digest_size=32).hexdigest(),
    }


async def test_a_blob_that_is_deleted_before_it_is_read_is_whole_or_an_error(
    store: BlobStore, spool: Path
) -> None:
    blob = await stored(store, spool)
    await store.delete(SHA256)
    try:
        assert await read(blob) == CONTENT
    except StoreDamaged as error:
        assert SHA256 in str(error)
