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
from email.utils import formatdate

import msgspec
from aiohttp import web

from proxy.events import Event, Kind, Outcome, PageChanged
from proxy.model import ProjectName
from proxy.web.access_log import body_of, log_fields
from proxy.web.metrics import kind_of

LONGEST_REQUEST = 4096
"""Bytes; requests of pip and uv have about 600."""


class Repeatable(msgspec.Struct, frozen=True):
    """The mark of an answer that holds until its project's page changes."""

    project: ProjectName
    outcome: Outcome
    """How a repetition is logged."""
    until: float | None = None
    """Unix time in seconds, or None: no further limit."""
    cache_control: Callable[[float], str] | None = None
    """Makes the header from the time, where it depends on that."""
    key: str = ""
    """Of the stored file that it shows, which is used again with it."""


Line = tuple[str, str, str, str]
Alike = tuple[Kind, Outcome, int]
"""With the status."""

REPEATABLE = web.ResponseKey("repeatable", Repeatable)


class Finished:
    """An answer ready to be sent, but for what changes with the clock."""

    __slots__ = (
        "_cache_control",
        "_head",
        "_made_for",
        "_pieces",
        "alike",
        "body",
        "fields",
        "line",
        "mark",
    )

    def __init__(self, request: web.Request, response: web.Response, mark: Repeatable) -> None:
        self.mark = mark
        self.alike: Alike = (kind_of(request), mark.outcome, response.status)
        """What it is counted as."""
        self.body = body_of(request, response)
        self.fields = log_fields(request, response.status, mark.outcome, len(self.body))
        self.line: Line | None = None
        """The line of the access log, once it has been made."""
        self._cache_control = ""
        self._head = b""
        self._made_for = 0
        self._pieces = _pieces(response, mark)

    def head(self, now: float, date: float) -> bytes:
        """Status line and headers; ``now`` is what freshness is reckoned from, ``date`` is for
        the header Date (both Unix time in seconds).
        """
        mark = self.mark
        control = mark.cache_control(now) if mark.cache_control else ""
        if self._made_for != int(date) or control != self._cache_control:
            self._made_for, self._cache_control = int(date), control
            values = {_DATE: formatdate(date, usegmt=True), _CONTROL: control}
            text = "".join(values.get(piece, piece) for piece in self._pieces)
            self._head = text.encode()
        return self._head


class FinishedAnswers:
    """The answers by request. An observer: it wants to be told of every event."""

    def __init__(
        self,
        *,
        poll: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
        entries: int = 4096,
        budget: int = 32 * 2**20,
    ) -> None:
        """``poll`` lets those who know of changes announce them. ``budget``: bytes of bodies."""
        self._poll = poll
        self.clock = clock
        self._entries = entries
        self._budget = budget
        self._size = 0
        self._answers: OrderedDict[bytes, Finished] = OrderedDict()
        self._by_project: dict[ProjectName, set[bytes]] = {}

    def find(self, request: bytes) -> Finished | None:
        """The answer to the request, if it is one that may be given again by now."""
        if request not in self._answers:
            return None
        self._poll()
        finished = self._answers.get(request)
        if finished is None:
            return None
        until = finished.mark.until
        if until is not None and self.clock() >= until:
            self._drop(request)
            return None
        return finished

    def keep(self, key: bytes, request: web.Request, response: web.Response) -> None:
        """Remember the answer, which is about to be sent, if it is marked."""
        mark = response.get(REPEATABLE)
        if mark is None or len(key) > LONGEST_REQUEST or response.status not in (200, 304):
            return
        self._drop(key)
        finished = self._answers[key] = Finished(request, response, mark)
        self._by_project.setdefault(mark.project, set()).add(key)
        self._size += len(finished.body)
        while len(self._answers) > self._entries or self._size > self._budget:
            self._drop(next(iter(self._answers)))

    def observe(self, event: Event) -> None:
        if isinstance(event, PageChanged):
            if event.project is None:
                self._answers.clear()
                self._by_project.clear()
                self._size = 0
            for request in list(self._by_project.get(event.project, ())) if event.project else ():
                self._drop(request)

    def _drop(self, request: bytes) -> None:
        finished = self._answers.pop(request, None)
        if finished is None:
            return
        self._size -= len(finished.body)
        requests = self._by_project[finished.mark.project]
        requests.discard(request)
        if not requests:
            del self._by_project[finished.mark.project]


_DATE, _CONTROL = "\n(date)", "\n(control)"  # no header holds a line break


def _pieces(response: web.Response, mark: Repeatable) -> list[str]:
    """The head as aiohttp writes it, in pieces around the values that change with time."""
    pieces = [f"HTTP/1.1 {response.status} {response.reason}\r\n"]
    for name, value in response.headers.items():
        changing = {"Date": _DATE}
        if mark.cache_control:
            changing["Cache-Control"] = _CONTROL
        pieces += [f"{name}: ", changing.get(name, value), "\r\n"]
    return [*pieces, "\r\n"]
