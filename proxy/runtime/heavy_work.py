"""CPU work: digests, gzip, and one worker thread for what would block the event loop.

One thread, since such work holds the interpreter's lock anyway, and since two large pages at
once are too many for memory. For the same reason the later steps of one page run before the
first step of another page.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import gzip
import hashlib
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import count
from queue import PriorityQueue
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

OFFLOAD_ABOVE = 128 * 1024
"""Bytes of input above which work is not done on the event loop."""
TRIM_ABOVE = 2**20
"""Bytes of input above which freed memory is returned to the system at once."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of mallopt(3)

_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heavy")
_digest_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest")


_waiting: PriorityQueue[tuple[bool, int, Future[Any], Callable[[], Any]]] = PriorityQueue()
_number = count()


async def run_in_worker(
    size: int, work: Callable[[], T], *, result_stays_in_memory: bool = False
) -> T:
    """Return the result of ``work`` on ``size`` bytes of input; small inputs are done at once.

    ``result_stays_in_memory``: until a later step consumes the result; such work runs after the
    steps that free memory.
    """
    if size <= OFFLOAD_ABOVE:
        return work()
    future: Future[T] = Future()
    _waiting.put(
        (result_stays_in_memory, next(_number), future, lambda: _without_collection(size, work))
    )
    _worker.submit(_do_next)
    return await asyncio.wrap_future(future)


def _do_next() -> None:
    _, _, future, work = _waiting.get_nowait()
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
        future.set_exception(error)


def sha256_in_background(data: bytes) -> Callable[[], str]:
    """Start to hash; calling the result waits for the digest, in lowercase hex.

    Hashing releases the interpreter's lock, so other work continues meanwhile.
    """
    if len(data) <= OFFLOAD_ABOVE:
        return hashlib.sha256(data).hexdigest
    hashing = _digest_worker.submit(hashlib.sha256, data)
    return lambda: hashing.result().hexdigest()


def _without_collection(size: int, work: Callable[[], T]) -> T:
    """Run the work without garbage collection: it makes many objects that stay, and no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return work()
    finally:
        if was_enabled:
            gc.enable()
        if size > TRIM_ABOVE:
            _malloc_trim()()


def return_large_memory() -> None:
    """Let glibc return freed blocks of a megabyte and more to the system at once.

    By default glibc raises its threshold after the first large page and keeps such blocks, in an
    arena for each thread, although one thread runs at a time.
    """
    if sys.platform == "linux" and (set_option := getattr(ctypes.CDLL(None), "mallopt", None)):
        set_option(_M_ARENA_MAX, 2)
        set_option(_M_MMAP_THRESHOLD, TRIM_ABOVE)
        # Smaller blocks are freed and allocated without the system.
        set_option(_M_TRIM_THRESHOLD, 4 * TRIM_ABOVE)


@lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[], object]:
    """glibc keeps freed memory: after a large page, tens of megabytes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return (lambda: trim(0)) if trim else (lambda: None)


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


try:
    from isal import igzip, isal_zlib  # the ratio of zlib in a tenth of the time

    _compressor: Callable[[int, int, int], _Packer] = isal_zlib.compressobj
    _decompress, _LEVEL = igzip.decompress, 1  # for pages, level 2 makes more bytes in more time
except ImportError:  # no wheel for this platform
    _compressor, _decompress, _LEVEL = zlib.compressobj, gzip.decompress, 5
_GZIP_WINDOW_BITS = 31
"""Window bits for a gzip header without a time (zlib manual, ``deflateInit2``)."""


def compress(data: bytes) -> bytes:
    return compress_pieces((data,))


def compress_pieces(pieces: Iterable[bytes]) -> bytes:
    """One gzip file of all pieces. The same content in other pieces may give other bytes."""
    packer = _compressor(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW_BITS)
    return b"".join([*map(packer.compress, pieces), packer.flush()])


def decompress_pieces(data: bytes, size: int = 2**18) -> Iterator[bytes]:
    """The content of a file that ``compress`` made, ``size`` bytes at a time."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW_BITS)
    for start in range(0, len(data), 2**16):
        left = data[start : start + 2**16]
        while left:
            yield unpacker.decompress(left, size)
            left = unpacker.unconsumed_tail


def decompress(data: bytes) -> bytes:
    """The content of a file that ``compress`` made. Not for bytes from outside: has no limit."""
    content: bytes = _decompress(data)  # type: ignore[no-untyped-call]
    return content
