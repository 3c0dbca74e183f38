"""``/+asof/<instant>/…``: an index as of an instant, made when a client asks for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Generic, TypeVar

from aiohttp import web
from cachetools import LRUCache

from proxy.errors import NotFound
from proxy.web.pages import redirect

MAX_VIEWS = 64
"""Views of one index that are kept: clients can request any number of instants."""
AS_OF = "/+asof/{instant}"

_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:\d{2})?)?\Z",
    re.ASCII | re.IGNORECASE,
)

View = TypeVar("View")


class NotAnInstant(NotFound):
    def __str__(self) -> str:
        return "no past instant: give one such as 2026-05-01 or 2026-05-01T12:00Z"


class AsOfViews(Generic[View]):
    """The views of one index by instant; those that were not used for the longest time go first."""

    def __init__(self, make: Callable[[float], View]) -> None:
        """``make``: the view of an instant, which is a Unix time in whole seconds."""
        self._make = make
        self._views: LRUCache[float, View] = LRUCache(MAX_VIEWS)

    def at(self, instant: float) -> View:
        view = self._views.get(instant)
        if view is None:
            view = self._views[instant] = self._make(instant)
        return view


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
