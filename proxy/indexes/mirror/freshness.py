"""Whether a stored page may be used: pure rules, no I/O (RFC 9111, RFC 5861)."""

from __future__ import annotations

from enum import Enum

import msgspec

from proxy.storage import StoredPage


class Freshness(Enum):
    FRESH = "answer it"
    GRACE = "answer it and revalidate behind"
    STALE = "revalidate first; it may stand in if upstream is slow or fails"
    UNUSABLE = "upstream has to answer"


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long pages may be used, in seconds."""

    maximum: float = 600.0
    """Upper bound of a page's freshness, and its freshness where upstream says nothing."""
    minimum: float = 0.0
    """Lower bound, even where upstream grants less."""
    while_revalidate: float = 0.0
    """After expiry, the time in which the page is answered at once and checked behind."""
    if_error: float = 7 * 86400.0
    """After expiry, the time in which it may stand in for a failing upstream."""
    absence: float = 30.0
    """How long "no such project" is remembered."""

    def fresh_until(self, page: StoredPage) -> float:
        granted = self.maximum if page.lifetime is None else page.lifetime
        return page.checked + max(self.minimum, min(granted, self.maximum))

    def stale_until(self, page: StoredPage) -> float:
        """Until when it may be answered at once and checked behind; not without freshness."""
        return self.fresh_until(page) + (0.0 if page.must_revalidate else self.while_revalidate)


def freshness(page: StoredPage | None, now: float, lifetimes: Lifetimes) -> Freshness:
    if page is None:
        return Freshness.UNUSABLE
    expired = now - lifetimes.fresh_until(page)
    if expired < 0 and page.checked <= now + lifetimes.maximum:  # else the clock was set back
        return Freshness.FRESH
    if page.must_revalidate:
        return Freshness.UNUSABLE
    if now < lifetimes.stale_until(page):
        return Freshness.GRACE
    return Freshness.STALE if expired < lifetimes.if_error else Freshness.UNUSABLE
