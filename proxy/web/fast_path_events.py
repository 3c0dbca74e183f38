"""Events of answers on the fast path: grouped, and emitted one after the other a moment later.

An event and its observers take more time than such an answer, so requests of one client that got
the same cached response are one event, with the time of each request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from proxy.events import AnswerServed, Observer, Timing
from proxy.web.response_cache import CachedResponse

MAX_DELAY = 0.2
"""Seconds until the event of an answer is emitted, at most."""
MAX_EVENTS = 32
"""Events that collect hits at one time."""
MAX_HITS = 96
"""Hits of one event: each is a line of the access log."""
KEEP_UP = 8
"""One event is emitted in each turn of the event loop, and one more for each so many that wait:
answers that come meanwhile have to wait, and would have the largest delays of all."""

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
        self._groups: dict[_Key, _Group] = {}
        self._complete: deque[_Group] = deque()
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
        if len(group[3]) == MAX_HITS:
            del self._groups[id(response.served), client, principal]
            self._last = None
            self._emit_soon(group)

    def _group(self, response: CachedResponse, client: str, principal: str | None) -> _Group:
        served = response.served
        group = self._groups.get((id(served), client, principal))
        if group is None:
            if len(self._groups) == MAX_EVENTS:
                self._complete_all()
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
            self._complete_all()
            while self._complete:
                self._emit(self._complete.popleft())

    def _time_is_up(self) -> None:
        self._timer = None
        self._complete_all()

    def _complete_all(self) -> None:
        groups, self._groups, self._last = self._groups.values(), {}, None
        self._emit_soon(*groups)

    def _emit_soon(self, *groups: _Group) -> None:
        if groups and not self._complete:
            asyncio.get_running_loop().call_soon(self._emit_some)
        self._complete += groups

    def _emit_some(self) -> None:
        for _ in range(1 + len(self._complete) // KEEP_UP):
            if self._complete:
                self._emit(self._complete.popleft())
        if self._complete:
            asyncio.get_running_loop().call_soon(self._emit_some)

    def _emit(self, group: _Group) -> None:
        served, client, principal, timings, response = group
        if response.mark.stored_file:
            self._file_used(response.mark.stored_file)
        event = msgspec.structs.replace(
            served, client=client, principal=principal, timings=tuple(timings)
        )
        self._events(event)
