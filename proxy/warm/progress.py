"""How far a command has got, for people: bars on a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from proxy.requirements import NeededFile
from proxy.runtime import count_text, size_text

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.progress import Progress, TaskID

REPORT_INTERVAL = 2.0
"""Seconds between two lines."""


class Display(Protocol):
    def say(self, what: str) -> None:
        """What is being done, in a few words."""

    def fetching(self, needs: Sequence[NeededFile]) -> AbstractContextManager[None]:
        """While entered, these are fetched."""

    def begin(self, need: NeededFile) -> None:
        """It is not held and is being fetched."""

    def advance(self, need: NeededFile, size: int) -> None:
        """So many more bytes have come."""

    def end(self, need: NeededFile) -> None:
        """It is held, or was fetched, or failed."""


def choose_display(stream: TextIO | None = None, *, quiet: bool = False) -> Display:
    """The one that suits the stream (standard error)."""
    to = stream or sys.stderr
    if quiet:
        return NoDisplay()
    if to.isatty():
        try:
            return BarDisplay(to)
        except ImportError:
            pass
    return LineDisplay(to)


class NoDisplay:
    def say(self, what: str) -> None:
        pass

    @contextmanager
    def fetching(self, needs: Sequence[NeededFile]) -> Iterator[None]:
        yield

    def begin(self, need: NeededFile) -> None:
        pass

    def advance(self, need: NeededFile, size: int) -> None:
        pass

    def end(self, need: NeededFile) -> None:
        pass


class LineDisplay:
    """A line for each thing that is said, and one every other second while files come."""

    def __init__(self, to: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._to = to
        self._clock = clock
        self._files = self._size = self._ended = self._came = self._fetched = 0
        self._started = self._told = 0.0
        self._partly: dict[NeededFile, int] = {}

    def say(self, what: str) -> None:
        print(what, file=self._to, flush=True)

    @contextmanager
    def fetching(self, needs: Sequence[NeededFile]) -> Iterator[None]:
        self._files, self._size = len(needs), sum(each.size or 0 for each in needs)
        self._started = self._told = self._clock()
        self._tell()
        yield
        self._tell()

    def begin(self, need: NeededFile) -> None:
        self._partly[need] = 0

    def advance(self, need: NeededFile, size: int) -> None:
        self._partly[need] += size
        self._fetched += size
        self._now_and_then()

    def end(self, need: NeededFile) -> None:
        self._partly.pop(need, None)
        self._ended += 1
        self._came += need.size or 0
        self._now_and_then()

    def _now_and_then(self) -> None:
        if self._clock() - self._told >= REPORT_INTERVAL:
            self._told = self._clock()
            self._tell()

    def _tell(self) -> None:
        known = (min(each, need.size) for need, each in self._partly.items() if need.size)
        came = self._came + sum(known)
        elapsed = self._clock() - self._started
        line = f"{self._ended} of {count_text(self._files, 'file')}"
        line += f", {size_text(came)} of {size_text(self._size)}"
        if self._fetched and elapsed > 0:
            rate = self._fetched / elapsed
            line += f", {size_text(rate)}/s, {(self._size - came) / rate:.0f} s left"
        self.say(line)


class BarDisplay:
    """One bar for all and one for each file that is coming. Raises ``ImportError`` without rich."""

    def __init__(self, to: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=to)
        self._bars: Progress | None = None
        self._tasks: dict[NeededFile, TaskID] = {}
        self._all: TaskID | None = None

    def say(self, what: str) -> None:
        self._console.print(what, markup=False, highlight=False, style="dim")

    @contextmanager
    def fetching(self, needs: Sequence[NeededFile]) -> Iterator[None]:
        from rich import progress as rich

        columns = (
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(),
            rich.DownloadColumn(),
            rich.TransferSpeedColumn(),
            rich.TimeRemainingColumn(),
        )
        with rich.Progress(*columns, console=self._console) as self._bars:
            total = sum(each.size or 0 for each in needs)
            self._all = self._bars.add_task(count_text(len(needs), "file"), total=total)
            yield
        self._bars = None

    def begin(self, need: NeededFile) -> None:
        if self._bars:
            self._tasks[need] = self._bars.add_task(need.filename, total=need.size)

    def advance(self, need: NeededFile, size: int) -> None:
        if self._bars and self._all is not None:
            self._bars.advance(self._tasks[need], size)
            if need.size:
                self._bars.advance(self._all, size)

    def end(self, need: NeededFile) -> None:
        if self._bars is None or self._all is None:
            return
        task = self._tasks.pop(need, None)
        if task is not None:
            self._bars.remove_task(task)
        else:
            self._bars.advance(self._all, need.size or 0)
