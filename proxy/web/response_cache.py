"""The response cache: complete responses, found by the bytes of the complete request.

A client repeats its requests byte for byte. The handlers mark a response that may be repeated;
it is kept here under the bytes of its request, and dropped by the event that outdates it. So the
cache answers nothing that the handlers would not: its key is all that they see of a request.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from email.utils import formatdate

import msgspec
from aiohttp import web

from proxy.events import AnswerServed, Event, Outcome, PageChanged, PageRevalidated
from proxy.model import ProjectName
from proxy.web.request_state import body_of

MAX_REQUEST = 4096
"""Bytes of a request; those of pip and uv have about 600."""
MAX_CHANGES = 10_000
"""Projects whose last changes are known one by one."""
MAX_CLIENT_FRESHNESS = 600
"""Seconds a client may reuse a page without asking; pip obeys this since 26.2."""
MAX_CHANGING_FRESHNESS = 60
"""The same for a page of which a policy may refuse files at any time: a client that still has the
former page chooses such a file, and fails."""
CACHE_STATUS = {
    Outcome.HIT: "waystation; hit",
    Outcome.LOCAL: "waystation; hit; detail=local",
    Outcome.STALE: "waystation; hit; detail=stale",
    Outcome.REVALIDATED: "waystation; fwd=stale; fwd-status=304",
    Outcome.MISS: "waystation; fwd=miss",
    Outcome.JOINED: "waystation; fwd=miss; collapsed",
    Outcome.PEER: "waystation; fwd=miss; detail=peer",
}
"""The header ``Cache-Status`` (RFC 9211) of an answer, without the time it has left."""


class Cacheable(msgspec.Struct, frozen=True):
    """The mark of a response that is valid until its project's page changes."""

    index: str
    """The name of the index that was asked."""
    project: ProjectName
    outcome: Outcome | None
    """The outcome of a repetition."""
    changes: int
    """The value of ``ResponseCache.changes`` for the page that the response is made from."""
    times: PageRevalidated | None = None
    """Of a page that expires."""
    max_age: float = math.inf
    """Seconds since its last revalidation that the page may have for this request."""
    not_after: float = math.inf
    """Unix time in seconds at which a policy's verdict may change; no revalidation moves it."""
    may_change: bool = False
    """As in ``ProjectPage``."""
    stored_file: str = ""
    """The key of the stored file that is sent, which counts as used again."""


CACHEABLE = web.ResponseKey("cacheable", Cacheable)
PRIVATE = "private"
"""Begins ``Cache-Control`` where shared caches may not store the response."""


class CachedResponse:
    """A response that is ready to be sent, but for the headers that change with the clock."""

    __slots__ = ("_head", "_head_second", "_pieces", "body", "is_stale", "mark", "served", "until")

    def __init__(self, response: web.Response, mark: Cacheable, served: AnswerServed) -> None:
        """``served``: the event of the request that led to the response."""
        self.body = body_of(served.method, response)
        self.served = msgspec.structs.replace(
            served, outcome=mark.outcome, sent=len(self.body), cached=True, page=None, timings=()
        )
        """The event of a repetition, without its client, principal and time."""
        self._pieces = _pieces(response, mark)
        self.renew(mark)

    def renew(self, mark: Cacheable) -> None:
        """Take over other times."""
        self.mark = mark
        self.is_stale = False
        self.until = -math.inf if mark.times else mark.not_after
        """Unix time in seconds until which it is sent with its present outcome."""
        self._head = b""
        self._head_second = 0

    def is_usable(self, now: float) -> bool:
        """Whether it may still be sent, perhaps with another outcome: as stale."""
        mark = self.mark
        if mark.times and now < mark.not_after:
            for outcome, until in freshness_phases(mark.times, mark.max_age):
                if now < until:
                    self._send_as(outcome, min(until, mark.not_after))
                    return True
        return now < self.until

    def head(self, now: float) -> bytes:
        """Status line and headers at that Unix time in seconds."""
        second = math.ceil(now)
        if self._head_second != second:
            self._head_second = second
            values = {
                _DATE: formatdate(now, usegmt=True),
                _STATUS: CACHE_STATUS[self.served.outcome or Outcome.HIT],
            }
            if times := self.mark.times:
                values[_CONTROL] = cache_control(
                    times.fresh_until, now, self.mark.not_after, may_change=self.mark.may_change
                )
            text = "".join(values.get(piece, piece) for piece in self._pieces)
            self._head = text.encode()
        return self._head

    def _send_as(self, outcome: Outcome, until: float) -> None:
        self.until = until
        self.is_stale = outcome is Outcome.STALE
        self._head_second = 0  # another ``Cache-Status``
        if self.served.outcome != outcome:
            self.served = msgspec.structs.replace(self.served, outcome=outcome)


def cache_control(
    fresh_until: float | None,
    now: float,
    not_after: float = math.inf,
    *,
    may_change: bool = False,
) -> str:
    """How long clients may reuse a page: never for local pages, else while it is fresh.

    All times are Unix times in seconds. ``not_after``: when a policy's verdict on the page may
    change; ``may_change`` as in ``ProjectPage``. The header counts whole seconds between whole
    seconds, so that it stays the same for a second.
    """
    if fresh_until is None:
        return "no-cache"
    longest = MAX_CHANGING_FRESHNESS if may_change else MAX_CLIENT_FRESHNESS
    left = min(int(min(fresh_until, not_after)) - math.ceil(now), longest)
    return f"max-age={left}" if left > 0 else "no-cache, max-age=0"


def freshness_phases(times: PageRevalidated, max_age: float) -> Iterator[tuple[Outcome, float]]:
    """The outcomes as which a page may be answered, each with the Unix time at which it ends.

    ``max_age`` is the result of ``max_page_age`` for the request.
    """
    latest = math.inf
    if max_age < math.inf:
        latest = times.checked + max_age if times.checked is not None else -math.inf
    yield Outcome.HIT, min(times.fresh_until, latest)
    yield Outcome.STALE, min(times.stale_until, latest)


_DATE, _CONTROL, _STATUS = "\n(date)", "\n(control)", "\n(status)"  # no header holds a line break


def _pieces(response: web.Response, mark: Cacheable) -> list[str]:
    """The head as aiohttp writes it, in pieces around the values that change with time."""
    changing = {"Date": _DATE, "Cache-Status": _STATUS} | (
        {"Cache-Control": _CONTROL} if mark.times else {}
    )
    pieces = [f"HTTP/1.1 {response.status} {response.reason}\r\n"]
    for name, value in response.headers.items():
        changed = changing.get(name, value)
        kept = f"{PRIVATE}, " if changed is _CONTROL and value.startswith(PRIVATE) else ""
        pieces += [f"{name}: {kept}", changed, "\r\n"]
    return [*pieces, "\r\n"]


class ResponseCache:
    """Responses by request; the oldest go first. An observer of every event.

    Not a cache of cachetools: a lookup there takes three to four times as long (0.15 to 0.23
    against 0.05 microseconds), and each eviction has to leave the index by project as well.
    """

    def __init__(
        self,
        *,
        poll: Callable[[], None] = lambda: None,
        recheck: Callable[[str, ProjectName], None] = lambda index, project: None,
        clock: Callable[[], float] = time.time,
        entries: int = 4096,
        budget: int = 32 * 2**20,
    ) -> None:
        """``poll`` makes indexes emit the changes that they have not noticed yet. ``recheck``
        gets index and project of a stale page that was sent. ``budget``: bytes of all bodies.
        """
        self._poll = poll
        self._recheck = recheck
        self.clock = clock
        self._entries = entries
        self._budget = budget
        self._size = 0
        self._responses: OrderedDict[bytes, CachedResponse] = OrderedDict()
        self._by_project: dict[ProjectName, set[bytes]] = {}
        self._changes = 0
        """The number of the last change of any page."""
        self._changes_of_all = 0
        self._last_changes: dict[ProjectName, int] = {}
        """The numbers of later changes of single pages."""

    def find(self, request: bytes, now: float) -> CachedResponse | None:
        """The response to the request, if it may be sent at that Unix time in seconds."""
        if request not in self._responses:
            return None
        self._poll()
        response = self._responses.get(request)
        if response is None:
            return None
        if now >= response.until and not response.is_usable(now):
            self._drop(request)
            return None
        if response.is_stale:
            self._recheck(response.mark.index, response.mark.project)
        return response

    def keep(self, request: bytes, response: web.Response, served: AnswerServed) -> None:
        """Keep the response, which has been sent, if it is marked. ``served``: its event."""
        mark = response.get(CACHEABLE)
        if mark is None or len(request) > MAX_REQUEST or response.status not in (200, 304):
            return
        if mark.changes != self.changes(mark.project):
            return  # the page has changed meanwhile
        self._drop(request)
        cached = self._responses[request] = CachedResponse(response, mark, served)
        self._by_project.setdefault(mark.project, set()).add(request)
        self._size += len(cached.body)
        while len(self._responses) > self._entries or self._size > self._budget:
            self._drop(next(iter(self._responses)))

    def close(self) -> None:
        """Forget all responses, and keep none from now on."""
        self._entries = 0
        self._change(None)

    def changes(self, project: ProjectName) -> int:
        """The number of the last change of the project's page.

        To be read with the page, or before a file is asked for: a response is kept only if the
        number is the same after it was sent.
        """
        return self._last_changes.get(project, self._changes_of_all)

    def observe(self, event: Event) -> None:
        if isinstance(event, PageChanged):
            self._change(event.project)
        elif isinstance(event, PageRevalidated):
            self._count(event.project)  # a response that is being made has the former times
            for request in self._by_project.get(event.project, ()):
                response = self._responses[request]
                if response.mark.times and response.mark.times.source == event.source:
                    response.renew(msgspec.structs.replace(response.mark, times=event))

    def _change(self, project: ProjectName | None) -> None:
        if project is None:
            self._count_all()
            self._responses.clear()
            self._by_project.clear()
            self._size = 0
            return
        self._count(project)
        for request in list(self._by_project.get(project, ())):
            self._drop(request)

    def _count(self, project: ProjectName) -> None:
        if len(self._last_changes) >= MAX_CHANGES:
            self._count_all()
        self._changes += 1
        self._last_changes[project] = self._changes

    def _count_all(self) -> None:
        self._changes += 1
        self._changes_of_all = self._changes
        self._last_changes.clear()

    def _drop(self, request: bytes) -> None:
        response = self._responses.pop(request, None)
        if response is None:
            return
        self._size -= len(response.body)
        requests = self._by_project[response.mark.project]
        requests.discard(request)
        if not requests:
            del self._by_project[response.mark.project]
