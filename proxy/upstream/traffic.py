"""How much is being asked of upstream at this moment."""

from __future__ import annotations

from types import TracebackType


class Traffic:
    """Counts requests from their first byte to the end of their answer."""

    def __init__(self) -> None:
        self.under_way = 0

    def __enter__(self) -> None:
        self.under_way += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.under_way -= 1
