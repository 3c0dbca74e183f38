"""Whether the request of a client may have an upstream asked: the limit of a task, if it has one.

A server sets the permit of each request; what runs for no client has none. The limit is asked in
the task of the request, before it starts or joins work that several requests share, so that a
client that is over its limit is no trouble to others.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from proxy.errors import NotFound, ProxyError


class TooManyRequests(ProxyError):
    """A client has upstreams asked, or uploads, more often or more at once than it may."""

    def __init__(self, limit: str, retry_after: int) -> None:
        """``limit``: what is exceeded, in words."""
        super().__init__(limit, retry_after)
        self.limit = limit
        self.retry_after = retry_after
        """Seconds."""

    def __str__(self) -> str:
        return (
            f"this client has too many requests that are not answered from the cache: {self.limit};"
            f" try again in {self.retry_after} seconds"
        )


Permit = Callable[[], None]
"""Called before an upstream is asked. Raises ``TooManyRequests``."""

_permit: ContextVar[Permit | None] = ContextVar("permit to ask upstream", default=None)


def set_permit(permit: Permit) -> None:
    """Of the task that runs now, and of those that it starts."""
    _permit.set(permit)


class NotStored(NotFound):
    """A file is not stored here, and for this request no upstream is asked."""

    def __str__(self) -> str:
        return "that file is not stored here"


def ask_no_upstream() -> None:
    """The task that runs now answers from what is stored."""
    _permit.set(_refuse)


def may_ask_upstream() -> bool:
    """Whether an upstream may be asked in this task, within the limits of its client."""
    return _permit.get() is not _refuse


def _refuse() -> None:
    raise NotStored


def require_permit() -> None:
    """Raises ``TooManyRequests`` if the client of this task may not have an upstream asked now,
    and ``NotStored`` after ``ask_no_upstream``."""
    if permit := _permit.get():
        permit()
