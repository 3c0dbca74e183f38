"""``/+asof/<instant>/…``: an index as of a moment, made when a client asks for it.

A moment is an instant, or has the name of a snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Generic, TypeVar

from aiohttp import web
from cachetools import LRUCache

from proxy import late_pattern
from proxy.errors import NotFound
from proxy.model import Moment
from proxy.web.pages import redirect

MAX_VIEWS = 64
"""Views of one index that are kept: clients can request any number of instants."""
AS_OF = "/+asof/{instant}"

_INSTANT = late_pattern(
    r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:\d{2})?)?\Z",
    re.ASCII | re.IGNORECASE,
)

SNAPSHOT_NAME = late_pattern(r"[a-z][a-z0-9._-]{0,62}\Z", re.ASCII)
"""No instant begins with a letter."""

View = TypeVar("View")


class NotAnInstant(NotFound):
    def __str__(self) -> str:
        return (
            "neither a past instant nor a snapshot: give one such as 2026-05-01 or "
            "2026-05-01T12:00Z, or the name of a snapshot of the index that takes uploads"
        )


class AsOfViews(Generic[View]):
    """The views of one index by moment; those that were not used for the longest time go first."""

    def __init__(self, make: Callable[[Moment], View]) -> None:
        """``make``: the view of a moment."""
        self._make = make
        self._views: LRUCache[Moment, View] = LRUCache(MAX_VIEWS)

    def at(self, moment: Moment) -> View:
        view = self._views.get(moment)
        if view is None:
            view = self._views[moment] = self._make(moment)
        return view


def snapshot_of(request: web.Request) -> str | None:
    """The name of a snapshot in the path; None if the path has an instant, or no such name."""
    text = request.match_info["instant"]
    return text if SNAPSHOT_NAME.match(text) else None


def instant_of(request: web.Request, now: float) -> float:
    """The instant that the path names, by Unix time in whole seconds; without an offset, UTC.

    Raises ``NotAnInstant``, also for the future.
    """
    text = request.match_info["instant"].upper()
    if _INSTANT.match(text):
        with suppress(ValueError, OverflowError):
            time = datetime.fromisoformat(text)
            instant = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() // 1
            if 0 <= instant <= now:
                return instant
    raise NotAnInstant


def to_canonical(request: web.Request, instant: float) -> web.Response | None:
    """A redirect to the usual spelling of the instant; None if the path has it."""
    spelled = canonical(instant)
    if request.match_info["instant"] == spelled:
        return None
    _, _, rest = request.rel_url.raw_path.partition("asof/")[2].partition("/")
    return redirect(request, "../" * (rest.count("/") + 1) + f"{spelled}/{rest}")


def canonical(instant: float) -> str:
    """``2026-05-01``, ``2026-05-01T12:00Z`` or ``2026-05-01T12:00:01Z``: the shortest."""
    time = datetime.fromtimestamp(instant, UTC)
    if instant % 86400 == 0:
        return time.strftime("%Y-%m-%d")
    return time.strftime("%Y-%m-%dT%H:%MZ" if instant % 60 == 0 else "%Y-%m-%dT%H:%M:%SZ")
