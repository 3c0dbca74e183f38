"""Rows of numbers that processes share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from proxy.runtime.shared_memory import ROW_COLUMNS, SharedCounters, new_memory

ADD = """
import os, sys
from proxy.runtime.shared_memory import SharedCounters
mine = SharedCounters.shared(int(sys.argv[1]), int(sys.argv[2])).own_row
for _ in range(int(sys.argv[3])):
    mine[7] += 1
os.kill(os.getpid(), 9)
"""


def add(memory: int, number: int, times: int) -> None:
    """Count in a process that is killed then."""
    command = [sys.executable, "-c", ADD, str(memory), str(number), str(times)]
    assert subprocess.run(command, pass_fds=[memory], check=False).returncode == -9


def test_alone_there_is_one_row_of_zeros() -> None:
    board = SharedCounters.single_process()
    assert board.sums() == [0] * ROW_COLUMNS
    board.own_row[3] += 2
    assert board.sums()[:5] == [0, 0, 0, 2, 0]
    assert board.other_rows == []


def test_what_killed_processes_have_counted_stays_and_their_successors_go_on() -> None:
    memory = new_memory(3)
    try:
        board = SharedCounters.shared(memory, 0)
        assert board.sums() == [0] * ROW_COLUMNS
        add(memory, 1, 100)
        add(memory, 2, 10)
        add(memory, 1, 1)
        board.own_row[7] += 1000
        assert board.sums()[7] == 1111
        assert [row[7] for row in board.other_rows] == [101, 10]
    finally:
        os.close(memory)


def test_columns_are_a_part_of_each_row() -> None:
    memory = new_memory(2)
    try:
        part = SharedCounters.shared(memory, 0).slice(5, 8)
        add(memory, 1, 4)
        part.own_row[0] = 9
        assert part.sums() == [9, 0, 4]
        assert SharedCounters.shared(memory, 1).slice(5, 8).sums() == [9, 0, 4]
        with pytest.raises(IndexError):
            part.own_row[3] += 1
    finally:
        os.close(memory)
