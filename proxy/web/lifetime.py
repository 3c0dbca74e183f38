"""How old a page may be for a request, and how long its answer may be kept. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from multidict import MultiMapping

from proxy.cache_control import delta_seconds, directives
from proxy.events import Outcome, PageRevalidated

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
