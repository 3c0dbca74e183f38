"""The list of all projects of an upstream: fetched as a whole, kept on disk as sorted names.

Names are found in the list by a pattern while it arrives, so memory does not depend on its form
or length. Texts that are no project names are left out.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from proxy.errors import ProxyError, UnreadablePage, reason
from proxy.model import normalize
from proxy.runtime import SingleFlight
from proxy.storage import NameList, write_name_list
from proxy.upstream import ProjectListAnswer, Validators

log = logging.getLogger(__name__)

LIST_LIFETIME = 3600.0
"""Seconds after which the list is revalidated."""
FAILURE_PAUSE = 60.0
"""Seconds after a failure in which upstream is not asked again."""
MAX_LIST = 512 * 2**20
"""Bytes of a list, decoded."""
MAX_NAMES = 64 * 2**20
"""Bytes of all names."""
_LONGEST_PIECE = 4096
"""Bytes between two names that may be cut apart by the end of a chunk."""
_IN_JSON = re.compile(rb'"name"\s*:\s*"([^"\\]{1,200})"')
_IN_HTML = re.compile(rb"<a\b[^>]{0,2000}>\s*([^<]{1,200}?)\s*</a", re.IGNORECASE)


class _Head(msgspec.Struct, frozen=True):
    """The state of the list on disk."""

    checked: float
    etag: str | None = None
    last_modified: str | None = None


class ListsProjects(Protocol):
    def project_list(
        self, validators: Validators | None
    ) -> AbstractAsyncContextManager[ProjectListAnswer | None]:
        """The list of all projects; None: not modified. Raises ``UpstreamError``."""


class UpstreamList:
    def __init__(
        self,
        name: str,
        path: Path,
        remote: ListsProjects | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``path``: of the file with the names; ``remote`` is None offline."""
        self._name = name
        self._path = path
        self._head_path = path.with_suffix(".json")
        self._remote = remote
        self._clock = clock
        self._known: NameList | None = None
        self._failed_at = -FAILURE_PAUSE
        self._flights: SingleFlight[str, None] = SingleFlight()

    async def names(self) -> NameList | None:
        """The list, at most an hour old unless upstream fails; None if there is none.

        The first list is waited for; after that the one on disk is given at once, and
        revalidated in the background.
        """
        head = await asyncio.to_thread(self._load)
        if self._remote is None or (head and self._clock() - head.checked < LIST_LIFETIME):
            return self._known
        if self._clock() - self._failed_at >= FAILURE_PAUSE:
            flight = self._flights.start("list", self._refresh)
            if self._known is None:
                await asyncio.wait({flight})
        return self._known

    async def close(self) -> None:
        await self._flights.close()

    async def _refresh(self) -> None:
        try:
            await self._fetch()
        except (ProxyError, OSError) as error:
            self._failed_at = self._clock()
            log.warning("the project list of %s is not fetched: %s", self._name, reason(error))

    async def _fetch(self) -> None:
        assert self._remote
        head = await asyncio.to_thread(self._load)
        validators = Validators(head.etag, head.last_modified) if head and self._known else None
        async with self._remote.project_list(validators) as answer:
            if answer is not None:
                collected = await self._collect(answer)
                await asyncio.to_thread(write_name_list, self._path, collected.parts)
                head = _Head(self._clock(), answer.etag, answer.last_modified)
        if head:
            head = msgspec.structs.replace(head, checked=self._clock())
            await asyncio.to_thread(self._head_path.write_bytes, msgspec.json.encode(head))
        await asyncio.to_thread(self._load)

    async def _collect(self, answer: ProjectListAnswer) -> _Names:
        names = _Names(_IN_JSON if "json" in answer.content_type else _IN_HTML)
        total = 0
        async for chunk in _decoded(self._name, answer):
            total += len(chunk)
            await asyncio.to_thread(names.add, chunk)
            if total > MAX_LIST or names.size > MAX_NAMES:
                raise UnreadablePage(self._name, "its project list is too long")
        if not names.size:
            raise UnreadablePage(self._name, "its answer is no project list")
        return names

    def _load(self) -> _Head | None:
        """The head of the list on disk, which another process may have replaced."""
        try:
            head = msgspec.json.decode(self._head_path.read_bytes(), type=_Head)
            status = self._path.stat()
            version = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
            if self._known is None or self._known.version != version:
                self._known = NameList(self._path)
        except (OSError, ValueError, msgspec.MsgspecError):
            return None
        return head


class _Names:
    """Project names found in a list that arrives in chunks."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.parts: dict[str, bytearray] = {}
        self.size = 0
        self._pattern = pattern
        self._rest = b""

    def add(self, chunk: bytes) -> None:
        data, end = self._rest + chunk, 0
        for found in self._pattern.finditer(data):
            end = found.end()
            try:
                name = normalize(found[1].decode())
            except ValueError:
                continue
            self.parts.setdefault(name[0], bytearray()).extend(name.encode() + b"\n")
            self.size += len(name) + 1
        self._rest = data[end:][-_LONGEST_PIECE:]


async def _decoded(name: str, answer: ProjectListAnswer) -> AsyncIterator[bytes]:
    if answer.encoding is None:
        async for chunk in answer.chunks:
            yield chunk
        return
    if answer.encoding not in ("gzip", "x-gzip"):
        raise UnreadablePage(name, "its project list has an unknown coding")
    unpacker = zlib.decompressobj(31)
    try:
        async for chunk in answer.chunks:
            left = chunk
            while left:
                yield unpacker.decompress(left, 2**20)
                left = unpacker.unconsumed_tail
    except zlib.error:
        raise UnreadablePage(name, "its project list is not gzip, as it says") from None
