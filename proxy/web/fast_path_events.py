"""Events of answers on the fast path: grouped, and emitted together a moment later.

An event and its observers take more time than such an answer, so requests of one client that got
the same cached response are one event, with the time of each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from proxy.events import AnswerServed, Observer, Timing
from proxy.web.response_cache import CachedResponse

MAX_DELAY = 0.2
"""Seconds until the event of an answer is emitted, at most."""
MAX_EVENTS = 32
"""Events that are emitted together: more would delay other answers."""
MAX_HITS = 96
"""Hits in all of these events: each is a line of the access log."""

_Key = tuple[int, str, str | None]
"""The identity of the event of the cached response, the client's address, and the principal."""
_Group = tuple[AnswerServed, str, str | None, list[Timing], CachedResponse]
"""The event of the cached response, client, principal, the times of the hits, and the response."""


class FastPathEvents:
    """Collects hits of the response cache, and emits their events."""

    def __init__(
        self, events: Observer, file_used: Callable[[str], None] = lambda key: None
    ) -> None:
        """``file_used`` gets the key of each stored file that was sent."""
        self._events = events
        self._file_used = file_used
        self._count = 0
        self._groups: dict[_Key, _Group] = {}
        self._last: _Group | None = None
        """The group of the last hit: that of the next one, where all request the same."""
        self._timer: asyncio.TimerHandle | None = None

    def hit(
        self,
        response: CachedResponse,
        client: str,
        started: float,
        ended: float,
        principal: str | None = None,
    ) -> None:
        """``client``: an address; ``started`` and ``ended``: Unix times in seconds."""
        group = self._last
        if (
            group is None
            or group[0] is not response.served
            or group[1] != client
            or group[2] != principal
        ):
            group = self._last = self._group(response, client, principal)
        # The clock may have been set back meanwhile.
        group[3].append((ended, (ended - started) * 1000 if ended > started else 0.0))
        self._count += 1
        if self._count == MAX_HITS:
            self._emit()

    def _group(self, response: CachedResponse, client: str, principal: str | None) -> _Group:
        served = response.served
        group = self._groups.get((id(served), client, principal))
        if group is None:
            if len(self._groups) == MAX_EVENTS:
                self._emit()
            group = (served, client, principal, [], response)
            self._groups[id(served), client, principal] = group
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(MAX_DELAY, self._time_is_up)
        return group

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """At the end the events that are left are emitted."""
        try:
            yield
        finally:
            self._emit()

    def _time_is_up(self) -> None:
        self._timer = None
        self._emit()

    def _emit(self) -> None:
        groups, self._groups, self._count = self._groups.values(), {}, 0
        self._last = None
        for served, client, principal, timings, response in groups:
            if response.mark.stored_file:
                self._file_used(response.mark.stored_file)
            event = msgspec.structs.replace(
                served, client=client, principal=principal, timings=tuple(timings)
            )
            self._events(event)
