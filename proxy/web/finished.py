"""Answers that are ready before their request is parsed: found by the request's complete bytes.

A client repeats its requests byte for byte. The ordinary handlers mark an answer that may be
given again; it is kept here with the bytes that led to it, and dropped by the event that
changes it. So nothing is answered from here that the handlers would not answer: the key holds
all that they can see of a request.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from aiohttp import web

from proxy.bounded import BoundedDict
from proxy.events import Event, PageChanged, PageRevalidated
from proxy.model import ProjectName
from proxy.web.repeatable import CACHEABLE, CachedResponse

LONGEST_REQUEST = 4096
"""Bytes; requests of pip and uv have about 600."""


class ResponseCache:
    """The answers by request. An observer: it wants to be told of every event."""

    def __init__(
        self,
        *,
        poll: Callable[[], None] = lambda: None,
        recheck: Callable[[ProjectName], None] = lambda project: None,
        clock: Callable[[], float] = time.time,
        entries: int = 4096,
        budget: int = 32 * 2**20,
    ) -> None:
        """``poll`` lets those who know of changes announce them. ``recheck`` is told of projects
        whose page was given although it is not fresh any more. ``budget``: bytes of bodies.
        """
        self._poll = poll
        self._recheck = recheck
        self.clock = clock
        self._entries = entries
        self._budget = budget
        self._size = 0
        self._answers: OrderedDict[bytes, CachedResponse] = OrderedDict()
        self._by_project: dict[ProjectName, set[bytes]] = {}
        self._changed: BoundedDict[ProjectName, int] = BoundedDict(10_000)
        self._all_changed = 0

    def find(self, request: bytes) -> CachedResponse | None:
        """The answer to the request, if it is one that may be given again by now."""
        if request not in self._answers:
            return None
        self._poll()
        finished = self._answers.get(request)
        if finished is None:
            return None
        now = self.clock()
        if now >= finished.until and not finished.holds(now):
            self._drop(request)
            return None
        if finished.is_stale:
            self._recheck(finished.mark.project)
        return finished

    def keep(self, key: bytes, request: web.Request, response: web.Response) -> None:
        """Remember the answer, which has been sent, if it is marked."""
        mark = response.get(CACHEABLE)
        if mark is None or len(key) > LONGEST_REQUEST or response.status not in (200, 304):
            return
        if mark.changes != self.changes(mark.project):
            return  # while it was made
        self._drop(key)
        finished = self._answers[key] = CachedResponse(request, response, mark)
        self._by_project.setdefault(mark.project, set()).add(key)
        self._size += len(finished.body)
        while len(self._answers) > self._entries or self._size > self._budget:
            self._drop(next(iter(self._answers)))

    def changes(self, project: ProjectName) -> int:
        """To be asked for when an answer is found, and told with its mark."""
        return self._all_changed + self._changed.get(project, 0)

    def observe(self, event: Event) -> None:
        if isinstance(event, PageChanged):
            self._change(event.project)
        elif isinstance(event, PageRevalidated):
            self._count(event.project)  # what is being made has the former times
            for request in self._by_project.get(event.project, ()):
                finished = self._answers[request]
                if finished.mark.vouched and finished.mark.vouched.source == event.source:
                    finished.renew(msgspec.structs.replace(finished.mark, vouched=event))

    def _change(self, project: ProjectName | None) -> None:
        if project is None:
            self._all_changed += 1
            self._answers.clear()
            self._by_project.clear()
            self._size = 0
            return
        self._count(project)
        for request in list(self._by_project.get(project, ())):
            self._drop(request)

    def _count(self, project: ProjectName) -> None:
        self._changed[project] = self._changed.get(project, 0) + 1

    def _drop(self, request: bytes) -> None:
        finished = self._answers.pop(request, None)
        if finished is None:
            return
        self._size -= len(finished.body)
        requests = self._by_project[finished.mark.project]
        requests.discard(request)
        if not requests:
            del self._by_project[finished.mark.project]
