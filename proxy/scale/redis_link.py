"""The connection to Redis of one process, behind a breaker: Redis saves work, but everything works
without it."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from proxy.errors import mask_credentials
from proxy.scale.redis_client import MAX_CONNECTIONS, PREFIX, connect, disconnect

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")
log = logging.getLogger(__name__)

CALL_TIMEOUT = 2.5
"""Seconds for a call with its repetition and the connection that it may open."""


class RedisAway(OSError):
    """Redis did not do it: it is away, slow or full, or it was away a moment ago."""


class RedisBreaker:
    """After some failures in a row nothing is tried for a while; then one call tries."""

    def __init__(
        self, failures: int = 3, pause: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``pause`` in seconds."""
        self._allowed = failures
        self._pause = pause
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls fail without being tried; the next one after the pause is tried."""
        return self._failures >= self._allowed

    def admit(self) -> bool:
        """Whether a call may be tried now; of the calls after a pause, one may."""
        if not self.is_open:
            return True
        now = self._clock()
        if now < self._open_until:
            return False
        self._open_until = now + self._pause
        return True

    def note(self, *, success: bool) -> None:
        """The outcome of a call that was tried."""
        if success:
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= self._allowed:
            self._open_until = self._clock() + self._pause


class RedisLink:
    """Calls Redis. Each failure is an ``OSError``; failures in a row open the breaker."""

    def __init__(self, url: str, prefix: str = PREFIX) -> None:
        """``prefix`` begins every key. Connects when first used.

        Raises ``ConfigurationError``.
        """
        self.client: Redis = connect(url)
        self._errors = importlib.import_module("redis.exceptions")
        self.prefix = prefix
        self.breaker = RedisBreaker()
        self._address = mask_credentials(url)
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)
        self._away = False

    async def call(self, work: Callable[[Redis], Awaitable[T]], limit: float = CALL_TIMEOUT) -> T:
        """The result of ``work``, called with the client, within ``limit`` seconds.

        Raises ``RedisAway``.
        """
        async with self._turns:
            if not self.breaker.admit():
                raise RedisAway("Redis did not answer a moment ago")
            answer = await self._tried(work, limit)
        self._answered()
        return answer

    async def run(self, script: Script, keys: Sequence[str], *args: object) -> Any:
        """The result of the script. Raises ``RedisAway``."""
        return await self.call(lambda client: script(client, keys, args))

    async def listen(self, work: Callable[[Redis], Awaitable[None]]) -> None:
        """As ``call``, for work without an end, beside the calls. Raises ``RedisAway``."""
        if self.breaker.is_open:
            raise RedisAway("Redis did not answer a moment ago")
        await self._tried(work, None)

    async def _tried(self, work: Callable[[Redis], Awaitable[T]], limit: float | None) -> T:
        try:
            async with asyncio.timeout(limit):
                return await work(self.client)
        except self._errors.ResponseError as error:  # it answers: it is full, for example
            self._answered()
            raise RedisAway(_words(error)) from error
        except (self._errors.RedisError, self._errors.RedisClusterException, OSError) as error:
            self._failed(error)
            raise RedisAway(_words(error)) from error

    async def close(self) -> None:
        with suppress(self._errors.RedisError, OSError):
            await disconnect(self.client)

    def _answered(self) -> None:
        self.breaker.note(success=True)
        if self._away:
            self._away = False
            log.info("Redis at %s answers again", self._address)

    def _failed(self, error: Exception) -> None:
        self.breaker.note(success=False)
        if self.breaker.is_open and not self._away:
            self._away = True
            log.warning(
                "Redis at %s does not answer (%s): pages and downloads are not shared with other "
                "replicas until it does",
                self._address,
                _words(error),
            )


class Script:
    """A Lua script: sent once, and called by its digest."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, client: Any, keys: Sequence[str], args: Sequence[object]) -> Any:
        from redis.exceptions import NoScriptError

        try:
            return await client.evalsha(self._digest, len(keys), *keys, *args)
        except NoScriptError:
            return await client.eval(self._source, len(keys), *keys, *args)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task that calls Redis, until it has ended: the library loses a cancellation that
    comes while it takes a connection."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.05)


def _words(error: Exception) -> str:
    """For a log; errors of the library have no credentials, but may be empty."""
    return mask_credentials(str(error)) or type(error).__name__
