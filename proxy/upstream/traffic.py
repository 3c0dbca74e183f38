"""How much is being asked of upstream at this moment, and what became of what was."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from proxy.errors import UpstreamError


class InFlight:
    """Counts requests from their first byte to the end of their answer."""

    def __init__(self, ended: Callable[[bool], None] = lambda failed: None) -> None:
        """``ended`` is told of each whether it has failed."""
        self.under_way = 0
        self._ended = ended

    def __enter__(self) -> None:
        self.under_way += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.under_way -= 1
        self._ended(isinstance(error, UpstreamError))
