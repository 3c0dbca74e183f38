"""An answer that may be given again: what marks it, and how it is sent another time."""

from __future__ import annotations

import math
from collections.abc import Callable
from email.utils import formatdate

import msgspec
from aiohttp import web

from proxy.events import Kind, Outcome, PageRevalidated
from proxy.model import ProjectName
from proxy.web.access_log import body_of, log_fields
from proxy.web.lifetime import cache_control, freshness_phases
from proxy.web.metrics import kind_of

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
