"""How long an answer made from a page may be given, and what clients are told of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from proxy.events import Outcome, PageVouched

LONGEST_FRESHNESS = 600
"""Seconds a client may keep a page without asking; pip obeys since 26.2."""
NEWS_AFTER = 10.0
"""Seconds: a client that insists on news gets a page that was checked at most so long ago."""


def cache_control(fresh_until: float | None, now: float) -> str:
    """What clients may do: ask each time for local pages, else what freshness is left.

    In whole seconds between whole seconds, so that it is the same for a second on end.
    """
    if fresh_until is None:
        return "no-cache"
    left = min(int(fresh_until) - math.ceil(now), LONGEST_FRESHNESS)
    return f"max-age={left}" if left > 0 else "no-cache, max-age=0"


def phases(vouched: PageVouched, insists: bool) -> Iterator[tuple[Outcome, float]]:
    """As what the page may be given, and until which Unix time, one phase after the other.

    ``insists``: to a client that wants news.
    """
    latest = math.inf
    if insists:
        latest = vouched.checked + NEWS_AFTER if vouched.checked is not None else -math.inf
    yield Outcome.HIT, min(vouched.fresh_until, latest)
    yield Outcome.STALE, min(vouched.stale_until, latest)
