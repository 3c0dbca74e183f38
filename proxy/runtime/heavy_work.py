"""One worker thread for CPU work that would block the event loop, and the memory it leaves.

One thread, since such work holds the interpreter's lock anyway, and since two large pages at
once are too many for memory. For the same reason the later steps of one page run before the
first step of another page.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import hashlib
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import count
from queue import PriorityQueue
from typing import Any, TypeVar

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
    """Start to hash; calling what is returned waits for the digest, in lowercase hex.

    Hashing does not hold the interpreter's lock, so other work goes on meanwhile.
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
