"""Work too long for the loop: done in one thread of its own, whose memory is given back.

One thread, since such work holds the interpreter's lock anyway, and two large pages at once are
too many for memory. For the same reason what has begun with a page comes before what begins with
another one, however many wait.
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
"""Bytes of input above which work is not done on the loop."""
TRIM_ABOVE = 2**20
"""Bytes of input above which what it leaves is given back to the system at once."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of mallopt(3)

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heavy")
_beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest")


_waiting: PriorityQueue[tuple[bool, int, Future[Any], Callable[[], Any]]] = PriorityQueue()
_number = count()


async def run_in_worker(size: int, work: Callable[[], T], *, begins: bool = False) -> T:
    """The result of ``work``, which takes long if ``size`` bytes of input are many.

    ``begins``: it makes much that is in memory until more such work has been done with it.
    """
    if size <= OFFLOAD_ABOVE:
        return work()
    future: Future[T] = Future()
    _waiting.put((begins, next(_number), future, lambda: _done(size, work)))
    _thread.submit(_do_next)
    return await asyncio.wrap_future(future)


def _do_next() -> None:
    _, _, future, work = _waiting.get_nowait()
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
        future.set_exception(error)


def sha256_in_background(data: bytes) -> Callable[[], str]:
    """The digest in hex, by calling what is returned; other work can be done meanwhile.

    Hashing many bytes does not hold the interpreter's lock.
    """
    if len(data) <= OFFLOAD_ABOVE:
        return hashlib.sha256(data).hexdigest
    hashing = _beside.submit(hashlib.sha256, data)
    return lambda: hashing.result().hexdigest()


def _done(size: int, work: Callable[[], T]) -> T:
    """Such work makes much that stays, and no garbage that would have to be looked for."""
    looking = gc.isenabled()
    gc.disable()
    try:
        return work()
    finally:
        if looking:
            gc.enable()
        if size > TRIM_ABOVE:
            _malloc_trim()()


def return_large_memory() -> None:
    """From now on memory of a megabyte and more goes back to the system as soon as it is free.

    glibc would learn from the first large page to keep such pieces, and give each thread an
    arena of its own to keep them in, where one thread runs at a time.
    """
    if sys.platform == "linux" and (set_option := getattr(ctypes.CDLL(None), "mallopt", None)):
        set_option(_M_ARENA_MAX, 2)
        set_option(_M_MMAP_THRESHOLD, TRIM_ABOVE)
        set_option(
            _M_TRIM_THRESHOLD, 4 * TRIM_ABOVE
        )  # what is smaller comes and goes without the system


@lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[], object]:
    """glibc keeps freed memory for later; after a large page that is tens of megabytes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return (lambda: trim(0)) if trim else (lambda: None)
