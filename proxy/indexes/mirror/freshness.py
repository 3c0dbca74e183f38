"""Rules for how long a stored page may be used (RFC 9111, RFC 5861). No I/O."""

from __future__ import annotations

from enum import Enum

import msgspec

from proxy.storage import StoredPage


class Freshness(Enum):
    """The use of a stored page, by the names of RFC 5861."""

    FRESH = "answer it"
    STALE_WHILE_REVALIDATE = "answer it and revalidate it in the background"
    STALE_IF_ERROR = "revalidate it first; answer it if upstream is slow or fails"
    UNUSABLE = "answer only what upstream sends"


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long pages may be used, in seconds."""

    maximum: float = 600.0
    """Upper bound of a page's freshness, and its freshness where upstream says nothing."""
    minimum: float = 0.0
    """Lower bound, even where upstream grants less."""
    while_revalidate: float = 0.0
    """Seconds after expiry in which the page is answered at once and revalidated in the
    background (stale-while-revalidate)."""
    if_error: float = 7 * 86400.0
    """Seconds after expiry in which the page is answered if upstream fails (stale-if-error)."""
    absence: float = 30.0
    """How long "no such project" is remembered."""

    def fresh_until(self, page: StoredPage) -> float:
        granted = self.maximum if page.lifetime is None else page.lifetime
        return page.checked + max(self.minimum, min(granted, self.maximum))

    def stale_until(self, page: StoredPage) -> float:
        """Unix time in seconds until which it may be answered and revalidated in the background."""
        return self.fresh_until(page) + (0.0 if page.must_revalidate else self.while_revalidate)


def freshness(page: StoredPage | None, now: float, lifetimes: Lifetimes) -> Freshness:
    """``now``: Unix time in seconds."""
    if page is None:
        return Freshness.UNUSABLE
    expired = now - lifetimes.fresh_until(page)
    if expired < 0 and page.checked <= now + lifetimes.maximum:  # else the clock was set back
        return Freshness.FRESH
    if page.must_revalidate:
        return Freshness.UNUSABLE
    if now < lifetimes.stale_until(page):
        return Freshness.STALE_WHILE_REVALIDATE
    return Freshness.STALE_IF_ERROR if expired < lifetimes.if_error else Freshness.UNUSABLE
