"""Copies of upstream pages in the object store, for the time when Redis has lost the pages.

An object ``v1/page/<namespace>/<project>`` has the head and the document of a page. It is written
in the background, and read when the records have no such page or cannot be asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from cachetools import LRUCache

from proxy.errors import StoreUnavailable
from proxy.scale.object_calls import ObjectCalls
from proxy.storage import (
    Key,
    RecordKind,
    Records,
    StoredPage,
    decode_page_head,
    with_checksum,
    without_checksum,
)

log = logging.getLogger(__name__)

PREFIX = "v1/page/"
READ_LIMIT = 1.0
"""Seconds for which a page waits for its copy: a client waits for the page."""
REFRESH = 86_400.0
"""Seconds that a copy may be older than the page if only the time of its last check differs."""
_REMEMBERED = 10_000
"""Copies whose heads a process remembers, so that most writes of a page read no copy."""
_PARALLEL = 8
"""Copies that are written at a time."""
_HEAD_LENGTH_BYTES = 4
"""Bytes of the length of the head, which begins a copy."""
_COPIED_KINDS = RecordKind.PAGE, RecordKind.DOCUMENT


class _Copy(NamedTuple):
    """The records of a page."""

    head: bytes
    document: bytes


class CopiedRecords:
    """``Records`` in Redis, with copies of the pages in an object store.

    While entered, copies are written; at the end all that wait are written. A copy that cannot
    be read is absent. A copy that cannot be written is written with a later check of the page.
    """

    def __init__(
        self, records: Records, calls: ObjectCalls, clock: Callable[[], float] = time.time
    ) -> None:
        self._records = records
        self._calls = calls
        self._clock = clock
        self._wanted: dict[Key, bool] = {}
        """By the key of the head: whether the copy is written, or deleted."""
        self._working: dict[Key, asyncio.Task[None]] = {}
        self._reading: set[asyncio.Task[_Copy | None]] = set()
        self._late: set[asyncio.Task[_Copy | None]] = set()
        """Of these, those that took longer than the limit: the store hangs."""
        self._copied: LRUCache[Key, StoredPage] = LRUCache(_REMEMBERED)
        self._turns = asyncio.Semaphore(_PARALLEL)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, *self._working.values(), return_exceptions=True)

    @property
    def failures(self) -> int:
        return self._records.failures

    async def get(self, key: Key) -> bytes | None:
        found = await self._records.get(key)
        if found is not None or key.kind not in _COPIED_KINDS:
            return found
        page, document = _keys(key)
        copy = await self._read_in_time(page)
        if copy is None:
            return None
        values = {page: copy.head, document: copy.document}
        await self._records.put_if(page, lambda present: present is None, values)
        return values[key]

    async def put(self, key: Key, value: bytes) -> None:
        await self._records.put(key, value)

    async def put_if(
        self, key: Key, test: Callable[[bytes | None], bool], values: Mapping[Key, bytes | None]
    ) -> bool:
        written = await self._records.put_if(key, test, values)
        if written and key.kind is RecordKind.PAGE and key in values:
            if values[key] is None:
                await self._delete(key)
            else:
                self._want(key, copy=True)
        return written

    async def forget(self, key: Key) -> None:
        if key.kind is RecordKind.PAGE:  # first, as a replica would take the page back from it
            await self._delete(key)
        await self._records.forget(key)

    async def keys(self, kind: RecordKind | None = None, *parts: str) -> list[Key]:
        """As ``Records``. Pages of which there is only a copy are among all keys of a kind, for
        purges; lists of the projects of one index are requested too often to list the store."""
        found = set(await self._records.keys(kind, *parts))
        kinds = [each for each in _COPIED_KINDS if kind in (None, each) and not parts]
        if kinds:
            with suppress(StoreUnavailable):
                async for some in self._calls.list(PREFIX):
                    names = [each.path.removeprefix(PREFIX) for each in some]
                    found.update(Key(each, name) for each in kinds for name in names)
        return sorted(found)

    async def _read_in_time(self, page: Key) -> _Copy | None:
        """The copy if it arrives in time; the request goes on, so that its failure is noticed.
        Until its end no other one is sent."""
        if self._late:
            return None
        task = asyncio.create_task(self._read_if_possible(page))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        done, _ = await asyncio.wait({task}, timeout=READ_LIMIT)
        if not done:
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            return None
        return None if task.cancelled() else task.result()

    async def _read_if_possible(self, page: Key) -> _Copy | None:
        try:
            return await self._read(page)
        except StoreUnavailable:
            return None

    async def _read(self, page: Key) -> _Copy | None:
        """None: there is none, or it is damaged. Raises ``StoreUnavailable``."""
        content = without_checksum(await self._calls.read(_path(page)))
        if content is None:
            return None
        end = _HEAD_LENGTH_BYTES + int.from_bytes(content[:_HEAD_LENGTH_BYTES], "big")
        return _Copy(content[_HEAD_LENGTH_BYTES:end], content[end:])

    async def _delete(self, page: Key) -> None:
        await asyncio.wait({self._want(page, copy=False)})

    def _want(self, page: Key, *, copy: bool) -> asyncio.Task[None]:
        """Write or delete the copy after what is done for it now."""
        self._wanted[page] = copy
        if page not in self._working:
            self._working[page] = asyncio.create_task(self._work(page))
        return self._working[page]

    async def _work(self, page: Key) -> None:
        try:
            while page in self._wanted:
                async with self._turns:
                    await self._do(page, copy=self._wanted.pop(page))
        finally:
            del self._working[page]

    async def _do(self, page: Key, *, copy: bool) -> None:
        try:
            if copy:
                await self._write(page)
            else:
                self._copied.pop(page, None)
                await self._calls.delete([_path(page)])
        except (StoreUnavailable, OSError) as error:
            done = "written" if copy else "deleted"
            log.info("the copy of the page of %s was not %s: %s", page.project, done, error)

    async def _write(self, page: Key) -> None:
        """Copy what the records have now, unless the copy is as good. Raises ``StoreUnavailable``
        and ``OSError``."""
        record = await self._records.get(page)
        head = decode_page_head(record)
        if record is None or head is None or self._is_as_good(self._copied.get(page), head):
            return
        former = await self._read(page)
        known = decode_page_head(former.head) if former else None
        if not self._is_as_good(known, head):
            document = await self._records.get(_keys(page)[1])
            if document is None or not document.startswith(bytes.fromhex(head.digest)):
                return  # written meanwhile: another copy follows
            await self._calls.put(_path(page), _packed(record, document))
            known = head
        if known:
            self._copied[page] = known

    def _is_as_good(self, copy: StoredPage | None, head: StoredPage) -> bool:
        """Whether the page with this head need not be copied. A time in the future is from a
        wrong clock."""
        if copy is None or copy.checked > self._clock():
            return False
        if copy.document == head.document:
            return head.checked - copy.checked < REFRESH
        return copy.is_newer_than(head)


def _keys(key: Key) -> tuple[Key, Key]:
    """Of the head and of the document of the same page."""
    return (
        Key(RecordKind.PAGE, key.namespace, key.project),
        Key(RecordKind.DOCUMENT, key.namespace, key.project),
    )


def _path(page: Key) -> str:
    return f"{PREFIX}{page.namespace}/{page.project}"


def _packed(head: bytes, document: bytes) -> bytes:
    return with_checksum(len(head).to_bytes(_HEAD_LENGTH_BYTES, "big") + head + document)
