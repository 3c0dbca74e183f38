"""Stops asking an upstream that cannot be reached, so that nobody queues for time-outs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import ClientConnectorError

from proxy.errors import UpstreamError


class Breaker:
    """Opens after ``limit`` failed connections in a row; then one attempt each ``pause`` seconds.

    Any answer, be it an error status, counts as reached. So does a connection that breaks after
    it was made: one file on which upstream chokes must not close all others.
    """

    def __init__(
        self, index: str, *, clock: Callable[[], float], limit: int = 5, pause: float = 15.0
    ) -> None:
        self._index = index
        self._clock = clock
        self._limit = limit
        self._pause = pause
        self._failures = 0
        self._open_until: float | None = None
        self._on_trial = False

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one connection and its wait for headers. Raises ``UpstreamError`` while open."""
        trial = self._admit()
        try:
            yield
        except (ClientConnectorError, TimeoutError):
            self._failed(trial)
            raise
        finally:
            if trial:  # also where it was cancelled, which proves nothing: the next one tries
                self._on_trial = False
        self._failures, self._open_until = 0, None

    def _admit(self) -> bool:
        """Whether this is the one attempt that a pause ends with."""
        if self._open_until is None:
            return False
        left = self._open_until - self._clock()
        if left > 0 or self._on_trial:
            seconds = max(1, math.ceil(left))
            raise UpstreamError(self._index, "cannot be reached", retry_after=seconds)
        self._on_trial = True
        return True

    def _failed(self, trial: bool) -> None:
        self._failures += 1
        if trial or (self._failures >= self._limit and self._open_until is None):
            self._open_until = self._clock() + self._pause
