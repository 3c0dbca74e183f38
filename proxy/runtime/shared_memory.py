"""Numbers that the processes of one server keep side by side: each writes its own, and reads all.

One memory holds a row for each process. Only one process writes a row, and each number is eight
aligned bytes, so nothing has to be locked. A process that dies leaves its numbers in place, and
whoever takes over its row goes on from there: a sum over all rows never falls.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Self

ROW_COLUMNS = 16_384
"""Numbers of a row; those that nobody writes cost nothing."""
_ROW = ROW_COLUMNS * 8


class SharedCounters:
    def __init__(self, rows: Sequence[memoryview], number: int = 0) -> None:
        """``rows``: unsigned 64-bit numbers, as many in each; that of ``number`` is ours."""
        self.mine = rows[number]
        self.others = [row for at, row in enumerate(rows) if at != number]

    @classmethod
    def alone(cls) -> Self:
        """Of the only process."""
        return cls([memoryview(bytearray(_ROW)).cast("Q")])

    @classmethod
    def shared(cls, memory: int, number: int) -> Self:
        """``memory``: the descriptor that ``new_memory`` gave, here or in a parent process."""
        view = memoryview(mmap.mmap(memory, 0)).cast("Q")
        return cls([view[at : at + ROW_COLUMNS] for at in range(0, len(view), ROW_COLUMNS)], number)

    def columns(self, start: int, stop: int) -> SharedCounters:
        """A part of each row."""
        return SharedCounters([row[start:stop] for row in (self.mine, *self.others)])

    def sums(self) -> list[int]:
        """Over all processes, column by column."""
        return [sum(column) for column in zip(self.mine, *self.others, strict=True)]


def new_memory(rows: int) -> int:
    """A descriptor of memory for so many processes, all zero; it goes with the last of them."""
    if sys.platform == "linux":
        memory = os.memfd_create("waystation")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.ftruncate(memory, rows * _ROW)
    return memory
