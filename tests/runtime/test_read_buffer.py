"""Pieces of files that the page cache holds, read without holding up the loop."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.runtime.file_io import MAX_READ, PIECE_SIZE, is_in_page_cache, read_buffer

SIZE = 3 * MAX_READ + 12_345


@pytest.fixture(params=[1, 2])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[int, bytes]]:
    """A descriptor, and the bytes behind it."""
    path = tmp_path / "file"
    path.write_bytes(data := random.Random(request.param).randbytes(SIZE))
    fd = os.open(path, os.O_RDWR)
    try:
        if read_buffer.read(fd, 0, 1) is None:
            pytest.skip("this file system cannot tell what it holds in memory")
        yield fd, data
    finally:
        os.close(fd)


def test_the_bytes_that_are_asked_for(file: tuple[int, bytes]) -> None:
    fd, data = file
    chance = random.Random(1)
    for _ in range(500):
        at = chance.randrange(SIZE)
        size = chance.randrange(1, MAX_READ + 1)
        assert bytes(read_buffer.read(fd, at, size) or b"") == data[at : at + size]


def test_the_end_of_a_file_is_no_piece(file: tuple[int, bytes]) -> None:
    assert read_buffer.read(file[0], SIZE, PIECE_SIZE) == memoryview(b"")


def test_what_was_just_written_is_in_memory(file: tuple[int, bytes]) -> None:
    assert is_in_page_cache(file[0], 0, SIZE)


@pytest.mark.parametrize("missing", [0, SIZE - 1])
def test_what_the_system_has_let_go_of_is_not(file: tuple[int, bytes], missing: int) -> None:
    fd, _ = file
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # nothing is read ahead
    for _ in range(500):  # the system does not let go of pages that it is busy with
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.pread(fd, 1, SIZE - 1 - missing)
        if not is_in_page_cache(fd, 0, SIZE):
            return
        time.sleep(0.01)
    pytest.fail("said to be in memory each time")
