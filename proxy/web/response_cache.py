"""Answers that are ready before their request is parsed: found by the request's complete bytes.

A client repeats its requests byte for byte. The ordinary handlers mark an answer that may be
given again; it is kept here with the bytes that led to it, and dropped by the event that
changes it. So nothing is answered from here that the handlers would not answer: the key holds
all that they can see of a request.

An answer that may be given again: what marks it, and how it is sent another time.

How old a page may be for a request, and how long its answer may be kept. Pure.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Literal

import msgspec
from aiohttp import web
from multidict import MultiMapping

from proxy.events import Event, Kind, Outcome, PageChanged, PageRevalidated
from proxy.model import ProjectName
from proxy.runtime import BoundedDict
from proxy.upstream import delta_seconds, directives
from proxy.web.access_log import body_of, log_fields
from proxy.web.metrics import kind_of

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


ChangeCounter = Callable[[ProjectName], int]
"""How often it was announced so far that a project's page has changed."""


def no_changes(project: ProjectName) -> int:
    """For where no answers are kept."""
    return 0


class Cacheable(msgspec.Struct, frozen=True):
    """The mark of an answer that holds until its project's page changes."""

    project: ProjectName
    outcome: Outcome
    """How a repetition is logged."""
    changes: int
    """How often the page had changed when the answer was found: it may have since."""
    vouched: PageRevalidated | None = None
    """Where the answer does not hold for ever: for how long."""
    max_age: float = math.inf
    """Seconds since its last revalidation that the page may have for this request."""
    key: str = ""
    """Of the stored file that it shows, which is used again with it."""


Line = tuple[str, str, str, str]
CounterKey = tuple[Kind, Outcome, int]
"""With the status."""

CACHEABLE = web.ResponseKey("repeatable", Cacheable)


class CachedResponse:
    """An answer ready to be sent, but for what changes with the clock."""

    __slots__ = (
        "_head",
        "_made_for",
        "_pieces",
        "alike",
        "body",
        "fields",
        "is_stale",
        "line",
        "mark",
        "until",
    )

    def __init__(self, request: web.Request, response: web.Response, mark: Cacheable) -> None:
        self.body = body_of(request, response)
        self.fields = log_fields(request, response.status, mark.outcome, len(self.body))
        self.alike: CounterKey = (kind_of(request), mark.outcome, response.status)
        """What it is counted as."""
        self.line: Line | None = None
        """The line of the access log, once it has been made."""
        self._pieces = _pieces(response, mark)
        self.renew(mark)

    def renew(self, mark: Cacheable) -> None:
        """From now on other times hold for it."""
        self.mark = mark
        self.is_stale = False
        self.until = -math.inf if mark.vouched else math.inf
        """Unix time in seconds until which it is given as what it is now."""
        self._head = b""
        self._made_for = 0

    def holds(self, now: float) -> bool:
        """Whether it may still be given, if need be as something else: as stale."""
        if self.mark.vouched:
            for outcome, until in freshness_phases(self.mark.vouched, self.mark.max_age):
                if now < until:
                    self._give_as(outcome, until)
                    return True
        return now < self.until

    def head(self, now: float) -> bytes:
        """Status line and headers at that Unix time in seconds."""
        second = math.ceil(now)
        if self._made_for != second:
            self._made_for = second
            vouched = self.mark.vouched
            values = {
                _DATE: formatdate(now, usegmt=True),
                _CONTROL: cache_control(vouched.fresh_until, now) if vouched else "",
            }
            text = "".join(values.get(piece, piece) for piece in self._pieces)
            self._head = text.encode()
        return self._head

    def _give_as(self, outcome: Outcome, until: float) -> None:
        self.until = until
        self.is_stale = outcome is Outcome.STALE
        if self.fields["outcome"] != outcome:
            self.fields["outcome"] = outcome
            kind, _, status = self.alike
            self.alike = (kind, outcome, status)
            self.line = None


_DATE, _CONTROL = "\n(date)", "\n(control)"  # no header holds a line break


def _pieces(response: web.Response, mark: Cacheable) -> list[str]:
    """The head as aiohttp writes it, in pieces around the values that change with time."""
    pieces = [f"HTTP/1.1 {response.status} {response.reason}\r\n"]
    for name, value in response.headers.items():
        changing = {"Date": _DATE}
        if mark.vouched:
            changing["Cache-Control"] = _CONTROL
        pieces += [f"{name}: ", changing.get(name, value), "\r\n"]
    return [*pieces, "\r\n"]


LONGEST_FRESHNESS = 600
"""Seconds a client may keep a page without asking; pip obeys since 26.2."""
REFRESH_WINDOW = 1.0
"""Seconds: a page revalidated so recently is new enough for a client that asks for a refresh.

So many clients that refresh at once cause one request upstream, and a page prefetched for an
installer that refreshes is not fetched twice.
"""

ClientRefresh = Literal["never", "no-cache", "always"]
"""Which requests of clients have a page revalidated: the setting ``client_refresh``."""


def max_page_age(headers: MultiMapping[str], refresh: ClientRefresh) -> float:
    """Seconds since its last revalidation that a page may have for this request.

    Reads ``no-cache``, ``max-age`` and ``Pragma`` (RFC 9111, sections 5.2.1 and 5.4). pip
    before 26.2 sends ``max-age=0`` with every page, without being asked to: only "always"
    obeys that. Other directives change nothing: to store pages is the purpose of this server,
    and its own settings say when they are stale.
    """
    if refresh == "never":
        return math.inf
    lines = headers.getall("Cache-Control", [])
    wanted = directives(lines or headers.getall("Pragma", []))
    if "no-cache" in wanted:
        return REFRESH_WINDOW
    age = delta_seconds(wanted.get("max-age"))
    if age is None or (age == 0 and refresh != "always"):
        return math.inf
    return max(age, REFRESH_WINDOW)


def cache_control(fresh_until: float | None, now: float) -> str:
    """What clients may do: ask each time for local pages, else what freshness is left.

    In whole seconds between whole seconds, so that it is the same for a second on end.
    """
    if fresh_until is None:
        return "no-cache"
    left = min(int(fresh_until) - math.ceil(now), LONGEST_FRESHNESS)
    return f"max-age={left}" if left > 0 else "no-cache, max-age=0"


def freshness_phases(vouched: PageRevalidated, max_age: float) -> Iterator[tuple[Outcome, float]]:
    """As what the page may be given, and until which Unix time, one phase after the other.

    ``max_age`` is as ``max_page_age`` says of the request.
    """
    latest = math.inf
    if max_age < math.inf:
        latest = vouched.checked + max_age if vouched.checked is not None else -math.inf
    yield Outcome.HIT, min(vouched.fresh_until, latest)
    yield Outcome.STALE, min(vouched.stale_until, latest)
