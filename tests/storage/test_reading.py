"""Pieces of files that the page cache holds, and what a crowd on one file shares of them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.storage.reading import BUFFER, MOST, PIECE

SIZE = 3 * MOST + 12_345


@pytest.fixture(params=[1, 2])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[int, bytes]]:
    """A descriptor, and the bytes behind it."""
    path = tmp_path / "file"
    path.write_bytes(data := random.Random(request.param).randbytes(SIZE))
    fd = os.open(path, os.O_RDWR)
    try:
        if BUFFER.read(fd, 0, 1) is None:
            pytest.skip("this file system cannot tell what it holds in memory")
        yield fd, data
    finally:
        os.close(fd)


@pytest.mark.parametrize("seed", range(5))
def test_every_reader_gets_the_bytes_that_it_asks_for(file: tuple[int, bytes], seed: int) -> None:
    fd, data = file
    chance = random.Random(seed)
    contents = [None, object(), object()]
    at = 0
    for _ in range(2000):
        near = at + chance.randrange(-MOST, MOST)
        at = max(0, min(chance.choice((at, near, chance.randrange(SIZE))), SIZE - 1))
        size = min(chance.randrange(1, MOST + 1), SIZE - at)
        piece = BUFFER.read(fd, at, size, chance.choice(contents))
        assert piece is not None and piece == data[at : at + len(piece)]
        assert min(size, PIECE) <= len(piece) <= size


def test_the_same_content_is_read_once(file: tuple[int, bytes]) -> None:
    fd, data = file
    mine, other = object(), object()
    BUFFER.read(fd, 1000, MOST, mine)
    os.pwrite(fd, bytes(SIZE), 0)
    assert BUFFER.read(fd, 1000, MOST, mine) == data[1000 : 1000 + MOST]
    assert BUFFER.read(fd, 5000, PIECE, mine) == data[5000 : 5000 + PIECE]
    assert BUFFER.read(fd, 5000, PIECE, other) == bytes(PIECE)
    assert BUFFER.read(fd, 5000, PIECE, mine) == bytes(PIECE)  # the other one's took its place


def test_a_little_that_is_left_is_not_worth_a_piece(file: tuple[int, bytes]) -> None:
    fd, data = file
    content = object()
    BUFFER.read(fd, 0, MOST, content)
    at = MOST - PIECE + 1
    assert BUFFER.read(fd, at, MOST, content) == data[at : at + MOST]


def test_the_end_of_a_file_is_no_piece(file: tuple[int, bytes]) -> None:
    assert BUFFER.read(file[0], SIZE, PIECE, object()) == b""
