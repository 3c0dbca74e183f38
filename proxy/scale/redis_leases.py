"""Leases in Redis: one replica fetches a page or a file, and the others wait for what it stores."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from proxy.scale.redis_link import RedisAway, RedisLink, Script, ended
from proxy.storage import Turn

_LOOK = 0.3
"""Seconds between two looks at a lease: its holder may be lost, or its message."""
_MARK = 2000
"""Milliseconds for which an outcome is left for replicas that wait."""
_RESUME_PAUSE = 0.5
"""Seconds until the channel is subscribed to again after a failure."""

# The fence is the time of Redis, so that it grows even if Redis has lost the former one.
_BEGIN = Script("""
local time = redis.call('time')
local fence = time[1] * 1000000 + time[2]
if fence <= tonumber(ARGV[3]) then fence = tonumber(ARGV[3]) + 1 end
if redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return {1, fence} end
return {0, fence}
""")
_RENEW_SCRIPT = Script("""
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('pexpire', KEYS[1], ARGV[2])
""")
_END = Script("""
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then redis.call('set', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
redis.call('del', KEYS[1])
redis.call('publish', ARGV[4], ARGV[5])
return 1
""")


class RedisLeases:
    """``Leases`` of all replicas. While entered, a task receives messages about released leases.

    Without Redis each turn counts as held, so that each replica does the work itself.
    """

    shared = True

    def __init__(self, link: RedisLink, lease: float = 3.0) -> None:
        """``lease``: seconds after which the lease of a replica that was lost is free."""
        self._link = link
        self._lease = lease
        self._channel = f"{link.prefix}done"
        self._renewing: dict[str, asyncio.Task[None]] = {}
        self._waiting: Counter[str] = Counter()
        self._free: dict[str, asyncio.Event] = {}
        self._listening: asyncio.Task[None]
        self.outcomes: Counter[str] = Counter()
        """Turns: ``held``, ``followed``, and ``unshared``, which is without Redis."""

    @property
    def is_away(self) -> bool:
        """Whether Redis has not answered several times, and is not asked each time."""
        return self._link.breaker.is_open

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for task in (self._listening, *self._renewing.values()):
            await ended(task)

    async def begin(self, name: str, after: int = 0) -> Turn:
        token = secrets.token_hex(16)
        args = (token, int(self._lease * 1000), after)
        try:
            held, fence = await self._link.run(_BEGIN, [self._key(name, "lease")], *args)
        except RedisAway:
            self.outcomes["unshared"] += 1
            return Turn(name, held=True)
        turn = Turn(name, bool(held), int(fence), token)
        if turn.held:
            self.outcomes["held"] += 1
            self._renewing[token] = asyncio.create_task(self._renew(turn))
        return turn

    async def wait(self, name: str, seconds: float) -> str:
        self.outcomes["followed"] += 1
        free = self._free.setdefault(name, asyncio.Event())
        self._waiting[name] += 1
        try:
            return await self._wait(name, free, time.monotonic() + seconds)
        except RedisAway:
            return ""
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name], self._free[name]

    async def end(self, turn: Turn, outcome: str = "") -> None:
        renewing = self._renewing.pop(turn.token, None)
        if renewing is None:
            return
        await ended(renewing)
        keys = [self._key(turn.name, "lease"), self._key(turn.name, "mark")]
        try:
            await self._link.run(_END, keys, turn.token, outcome, _MARK, self._channel, turn.name)
        except RedisAway:
            return  # the lease ends by itself

    async def _wait(self, name: str, free: asyncio.Event, until: float) -> str:
        lease, mark = self._key(name, "lease"), self._key(name, "mark")
        while (rest := until - time.monotonic()) > 0 and not free.is_set():
            try:
                async with asyncio.timeout(min(_LOOK, rest)):
                    await free.wait()
            except TimeoutError:
                if not await self._link.call(lambda client: client.exists(lease)):
                    break
        left: Any = await self._link.call(lambda client: client.get(mark))
        return left.decode() if left else ""

    async def _renew(self, turn: Turn) -> None:
        """Until the lease is lost: then another replica may have it, and the fence decides."""
        key, milliseconds = self._key(turn.name, "lease"), int(self._lease * 1000)
        held = True
        while held:
            await asyncio.sleep(self._lease / 3)
            try:
                held = await self._link.run(_RENEW_SCRIPT, [key], turn.token, milliseconds)
            except RedisAway:
                continue

    async def _listen(self) -> None:
        while True:
            try:
                await self._link.listen(self._subscribe)
            except RedisAway:
                await asyncio.sleep(_RESUME_PAUSE)

    async def _subscribe(self, client: Any) -> None:
        await client.initialize()  # a cluster knows its servers only then
        async with client.pubsub() as channel:
            await channel.subscribe(self._channel)
            while True:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=5)
                if message and (free := self._free.get(message["data"].decode())):
                    free.set()

    def _key(self, name: str, label: str) -> str:
        return f"{self._link.prefix}{{{name}}}:{label}"
