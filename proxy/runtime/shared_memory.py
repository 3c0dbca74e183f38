"""Counters of the processes of one server, in shared memory: each writes its own, and reads all.

There is a row for each process. Only one process writes a row, and each number is eight aligned
bytes, so no lock is needed. The numbers of a process that dies stay, and the process that gets
the row next counts on from them: a sum over all rows never falls.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Self

ROW_COLUMNS = 32_768
"""Numbers in a row; the system allocates no memory for pages that are never written."""
_ROW = ROW_COLUMNS * 8


class SharedCounters:
    def __init__(self, rows: Sequence[memoryview], number: int = 0) -> None:
        """``rows``: unsigned 64-bit numbers, as many in each; row ``number`` is our own."""
        self.own_row = rows[number]
        self.other_rows = [row for at, row in enumerate(rows) if at != number]

    @classmethod
    def single_process(cls) -> Self:
        """The counters of a server with one process."""
        return cls([memoryview(bytearray(_ROW)).cast("Q")])

    @classmethod
    def shared(cls, memory: int, number: int) -> Self:
        """``memory``: a descriptor from ``new_memory``, made here or in the parent process."""
        view = memoryview(mmap.mmap(memory, 0)).cast("Q")
        return cls([view[at : at + ROW_COLUMNS] for at in range(0, len(view), ROW_COLUMNS)], number)

    def slice(self, start: int, stop: int) -> SharedCounters:
        """The counters in these columns of each row."""
        return SharedCounters([row[start:stop] for row in (self.own_row, *self.other_rows)])

    def sums(self) -> list[int]:
        """Sums over all processes, by column."""
        if not self.other_rows:
            return self.own_row.tolist()
        return [sum(column) for column in zip(self.own_row, *self.other_rows, strict=True)]


def new_memory(rows: int) -> int:
    """A descriptor of zeroed memory with rows for that many processes.

    The system frees the memory when the last process has closed the descriptor.
    """
    if sys.platform == "linux":
        memory = os.memfd_create("waystation")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.ftruncate(memory, rows * _ROW)
    return memory
