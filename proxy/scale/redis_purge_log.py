"""A log of purged projects that all replicas read: a stream in Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from proxy.scale.redis_link import RedisAway, RedisLink, ended
from proxy.storage import MISSED

if TYPE_CHECKING:
    from redis.asyncio import Redis

_STREAM_LENGTH = 10_000
"""Entries that the stream keeps, about."""
_WAIT = 400
"""Milliseconds that Redis waits for an entry: less than a client waits for an answer."""
_RESUME_PAUSE = 0.5
"""Seconds until Redis is asked again after a failure."""
_FIRST = "0-0"
"""The identifier before the whole stream."""


class RedisPurgeLog:
    """``PurgeLog`` of all replicas.

    While entered, a task follows the stream. If entries may have been missed, because Redis was
    emptied or could not be asked at the start, ``read_new`` returns ``MISSED``.
    """

    def __init__(self, link: RedisLink, name: str) -> None:
        """``name`` of the log."""
        self._link = link
        self._name = f"{link.prefix}{{log}}:{name}"
        self._seen: str | None = None
        """The identifier of the last entry that was read."""
        self._arrived: deque[tuple[str, str]] = deque()
        """Of each entry: its sender, and a name."""
        self._sender = secrets.token_hex(8)
        self._following: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        with suppress(RedisAway):  # the link logs it; all pages are doubted when Redis answers
            self._seen = await self._last()
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await ended(self._following)

    async def append(self, projects: Iterable[str]) -> None:
        await self._append(projects, "")

    async def announce(self, projects: Iterable[str]) -> None:
        """As ``append``, for all readers but this object. Raises ``OSError``."""
        await self._append(projects, self._sender)

    def read_new(self) -> list[str]:
        names = [name for sender, name in self._arrived if sender != self._sender]
        self._arrived.clear()
        return names

    async def _append(self, projects: Iterable[str], sender: str) -> None:
        names = list(projects)

        async def add(client: Redis) -> None:
            pipeline: Any = client.pipeline(transaction=False)
            for name in names:
                entry = {"name": name, "sender": sender}
                pipeline.xadd(self._name, entry, maxlen=_STREAM_LENGTH, approximate=True)
            await pipeline.execute()

        if names:
            await self._link.call(add)

    async def _follow(self) -> None:
        while True:
            try:
                await self._find_place()
                await self._read()
            except RedisAway:  # the link has logged it
                await asyncio.sleep(_RESUME_PAUSE)

    async def _find_place(self) -> None:
        """Go on after the last entry that was read, if the stream still has it."""
        seen = self._seen
        if seen is not None and (seen == _FIRST or await self._has(seen)):
            return
        self._seen = await self._last()
        self._arrived.append(("", MISSED))

    async def _read(self) -> None:
        since = {self._name: self._seen}

        async def read(client: Redis) -> Any:
            return await client.xread(since, block=_WAIT)  # type: ignore[arg-type]

        for entries in (await self._link.call(read) or {}).values():
            for identifier, entry in entries[0]:
                self._seen = identifier.decode()
                sender, name = entry.get(b"sender", b""), entry.get(b"name", b"")
                self._arrived.append((sender.decode(), name.decode()))

    async def _last(self) -> str:
        """The identifier of the newest entry."""
        found = await self._link.call(lambda client: client.xrevrange(self._name, count=1))
        return found[0][0].decode() if found else _FIRST  # type: ignore[union-attr]

    async def _has(self, identifier: str) -> bool:
        key = self._name
        return bool(
            await self._link.call(lambda client: client.xrange(key, identifier, identifier))
        )
