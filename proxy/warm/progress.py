"""Shows the progress of a command: bars on a terminal, lines elsewhere, or nothing."""

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

PROGRESS_INTERVAL = 2.0
"""Seconds between two lines of progress."""


class Display(Protocol):
    def say(self, what: str) -> None:
        """Show the current step in a few words."""

    def fetching(self, needs: Sequence[NeededFile]) -> AbstractContextManager[None]:
        """While entered, these files are fetched."""

    def begin(self, need: NeededFile) -> None:
        """The download of a file begins."""

    def advance(self, need: NeededFile, size: int) -> None:
        """``size`` more bytes of a file have arrived."""

    def end(self, need: NeededFile) -> None:
        """A file is in the cache, or its download failed."""


def choose_display(stream: TextIO | None = None, *, quiet: bool = False) -> Display:
    """The display that suits the stream; default: standard error."""
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
    """A line for each step, and one every two seconds while files are fetched."""

    def __init__(self, to: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._to = to
        self._clock = clock
        self._files = self._size = self._ended = self._arrived = self._downloaded = 0
        self._started = self._printed = 0.0
        self._partial: dict[NeededFile, int] = {}

    def say(self, what: str) -> None:
        print(what, file=self._to, flush=True)

    @contextmanager
    def fetching(self, needs: Sequence[NeededFile]) -> Iterator[None]:
        self._files, self._size = len(needs), sum(each.size or 0 for each in needs)
        self._started = self._printed = self._clock()
        self._print()
        yield
        self._print()

    def begin(self, need: NeededFile) -> None:
        self._partial[need] = 0

    def advance(self, need: NeededFile, size: int) -> None:
        self._partial[need] += size
        self._downloaded += size
        self._print_if_due()

    def end(self, need: NeededFile) -> None:
        self._partial.pop(need, None)
        self._ended += 1
        self._arrived += need.size or 0
        self._print_if_due()

    def _print_if_due(self) -> None:
        if self._clock() - self._printed >= PROGRESS_INTERVAL:
            self._printed = self._clock()
            self._print()

    def _print(self) -> None:
        known = (min(each, need.size) for need, each in self._partial.items() if need.size)
        arrived = self._arrived + sum(known)
        elapsed = self._clock() - self._started
        line = f"{self._ended} of {count_text(self._files, 'file')}"
        line += f", {size_text(arrived)} of {size_text(self._size)}"
        if self._downloaded and elapsed > 0:
            rate = self._downloaded / elapsed
            line += f", {size_text(rate)}/s, {(self._size - arrived) / rate:.0f} s left"
        self.say(line)


class BarDisplay:
    """A bar for all files and one for each download. Raises ``ImportError`` without rich."""

    def __init__(self, to: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=to)
        self._bars: Progress | None = None
        self._tasks: dict[NeededFile, TaskID] = {}
        self._total: TaskID | None = None

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
            self._total = self._bars.add_task(count_text(len(needs), "file"), total=total)
            yield
        self._bars = None

    def begin(self, need: NeededFile) -> None:
        if self._bars:
            self._tasks[need] = self._bars.add_task(need.filename, total=need.size)

    def advance(self, need: NeededFile, size: int) -> None:
        if self._bars and self._total is not None:
            self._bars.advance(self._tasks[need], size)
            if need.size:
                self._bars.advance(self._total, size)

    def end(self, need: NeededFile) -> None:
        if self._bars is None or self._total is None:
            return
        task = self._tasks.pop(need, None)
        if task is not None:
            self._bars.remove_task(task)
        else:
            self._bars.advance(self._total, need.size or 0)
