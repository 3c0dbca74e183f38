"""The traffic to upstreams: which requests run, how they ended, and which upstreams are down.

A request of a client may be forbidden to have an upstream asked: the limit of a task, if it has
one. A server sets the permit of each request; what runs for no client has none. The limit is asked
in the task of the request, before it starts or joins work that several requests share, so that a
client that is over its limit is no trouble to others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol

from aiohttp import TraceConfig

from proxy.errors import NotFound, ProxyError, UpstreamError, UpstreamTimeout
from proxy.events import AskResult, Observer, UpstreamAsked

Requested = Literal["page", "file"]
UpstreamTrace = TraceConfig
"""Hooks that see each message of HTTP."""


class BreakerState(Protocol):
    """The public state of a circuit breaker."""

    index: str
    """The name of the index that the upstream belongs to."""

    @property
    def is_open(self) -> bool: ...


class BreakerOpen(UpstreamError):
    """The upstream could not be reached, and is not asked again yet."""


class InFlight:
    """Counts running requests, from their first byte to the end of their answer."""

    def __init__(
        self,
        events: Observer = lambda event: None,
        traces: Iterable[UpstreamTrace] = (),
    ) -> None:
        """``events`` gets ``UpstreamAsked``; ``traces`` see each message of HTTP."""
        self.traces = tuple(traces)
        self.running: Counter[str] = Counter()
        """How many there are, by what they are for."""
        self.breakers: list[BreakerState] = []
        """Of all upstreams that are open."""
        self._events = events

    @property
    def under_way(self) -> int:
        """Requests that are running."""
        return self.running.total()

    @contextmanager
    def request(self, index: str, what: Requested) -> Iterator[Callable[[], None]]:
        """Encloses a request; to be called when the head of its answer has come."""
        began, seconds = time.perf_counter(), 0.0
        error: UpstreamError | None = None

        def answered() -> None:
            nonlocal seconds
            seconds = time.perf_counter() - began

        self.running[what] += 1
        try:
            yield answered
        except UpstreamError as caught:
            error = caught
            raise
        finally:
            self.running[what] -= 1
            seconds = seconds or time.perf_counter() - began
            result = _result(error) if error else AskResult.ANSWERED
            self._events(UpstreamAsked(index, what, result, seconds))


def _result(error: UpstreamError) -> AskResult:
    if isinstance(error, BreakerOpen):
        return AskResult.REFUSED
    return AskResult.TIMEOUT if isinstance(error, UpstreamTimeout) else AskResult.FAILED


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
