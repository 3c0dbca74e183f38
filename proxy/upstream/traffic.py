"""The traffic to upstreams: which requests run, how they ended, and which upstreams are down."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from aiohttp import TraceConfig

from proxy.errors import UpstreamError, UpstreamTimeout

Requested = Literal["page", "file"]
UpstreamTrace = TraceConfig
"""Hooks that see each message of HTTP."""


class BreakerState(Protocol):
    """What others may know of a circuit breaker."""

    index: str
    """The name of the index that the upstream belongs to."""

    @property
    def is_open(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """A request that has ended, with all its retries."""

    index: str
    what: Requested
    error: UpstreamError | None
    seconds: float
    """Until the head of the answer came, or the request failed."""

    @property
    def result(self) -> Literal["answered", "failed", "timeout", "refused"]:
        """Refused: it was not sent, as the circuit breaker is open."""
        if self.error is None:
            return "answered"
        if isinstance(self.error, BreakerOpen):
            return "refused"
        return "timeout" if isinstance(self.error, UpstreamTimeout) else "failed"


class BreakerOpen(UpstreamError):
    """The upstream could not be reached lately, and is not asked again yet."""


class InFlight:
    """Counts running requests, from their first byte to the end of their answer."""

    def __init__(
        self,
        ended: Callable[[EndedRequest], None] = lambda request: None,
        traces: Iterable[UpstreamTrace] = (),
    ) -> None:
        """``ended`` is called after each request; ``traces`` see each message of HTTP."""
        self.traces = tuple(traces)
        self.running: Counter[str] = Counter()
        """How many there are, by what they are for."""
        self.breakers: list[BreakerState] = []
        """Of all upstreams that are open."""
        self._ended = ended

    @property
    def under_way(self) -> int:
        """Requests that are running."""
        return self.running.total()

    @contextmanager
    def request(self, index: str, what: Requested) -> Iterator[Callable[[], None]]:
        """Encloses a request; to be called when the head of its answer has come."""
        began, seconds, error = time.perf_counter(), 0.0, None

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
            self._ended(EndedRequest(index, what, error, seconds))
