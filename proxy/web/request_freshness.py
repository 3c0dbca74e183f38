"""How old a page may be for a request, for how long its answer may be used, and where it came from.

Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from multidict import MultiMapping

from proxy.events import Outcome, PageRevalidated
from proxy.upstream import delta_seconds, directives

MAX_CLIENT_FRESHNESS = 600
"""Seconds a client may reuse a page without asking; pip obeys this since 26.2."""
MAX_CHANGING_FRESHNESS = 60
"""The same for a page of which a policy may refuse files at any time: a client that still has the
former page chooses such a file, and fails."""
REFRESH_WINDOW = 1.0
"""Seconds: a page revalidated so recently is new enough for a client that asks for a refresh.

So many clients that refresh at once cause one request upstream, and a page prefetched for an
installer that refreshes is not fetched twice.
"""

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
    lines = headers.getall("Cache-Control", None) or headers.getall("Pragma", None)
    if not lines:
        return math.inf
    wanted = directives(lines)
    if "no-cache" in wanted:
        return REFRESH_WINDOW
    age = delta_seconds(wanted.get("max-age"))
    if age is None or (age == 0 and refresh != "always"):
        return math.inf
    return max(age, REFRESH_WINDOW)


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
