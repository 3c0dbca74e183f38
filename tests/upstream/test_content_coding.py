"""Content codings of strangers, within limits."""

from __future__ import annotations

import gzip
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.content_coding import RATIO_FREE_SIZE, Undecodable, decoded

TEXT = b"some text " * 5000
GZIP = gzip.compress(TEXT, mtime=0)


@pytest.mark.parametrize(
    ("data", "coding"),
    [
        (TEXT, None),
        (gzip.compress(TEXT, mtime=0), "gzip"),
        (gzip.compress(TEXT, mtime=0), "x-gzip"),
        (zlib.compress(TEXT), "deflate"),
        (
            gzip.compress(TEXT[:7], mtime=0)
            + gzip.compress(b"", mtime=0)
            + gzip.compress(TEXT[7:], mtime=0),
            "gzip",
        ),
        (GZIP + b"rubbish", "gzip"),
        (GZIP + bytes(512), "gzip"),
        (GZIP + b"\r\n", "gzip, identity"),
        (zlib.compress(TEXT) + b"rubbish", "deflate"),
        (zlib.compress(TEXT, wbits=-15), "deflate"),
        (GZIP, "deflate"),
        (zlib.compress(TEXT), "gzip"),
        (GZIP, "aws-chunked,gzip"),
        (GZIP, "gzip, utf-8"),
        (GZIP, '"gzip";q=1'),
        (GZIP, "gzip, gzip"),
        (gzip.compress(GZIP, mtime=0), "gzip, gzip"),
        (gzip.compress(zlib.compress(TEXT), mtime=0), "deflate, gzip"),
        (TEXT, "gzip"),
        (TEXT, "aws-chunked"),
        (TEXT, "none, utf-8"),
        (TEXT, "br"),
        (TEXT, ", ;"),
    ],
)
async def test_decodes(data: bytes, coding: str | None) -> None:
    assert await decoded(data, coding, len(TEXT)) == TEXT


@given(
    st.lists(st.binary(max_size=300) | st.integers(1, 200_000).map(bytes), min_size=1, max_size=3),
    st.booleans(),
    st.integers(-1, 1),
)
async def test_whatever_the_size_at_the_end_says(
    members: list[bytes], one: bool, more: int
) -> None:
    whole = b"".join(members)
    data = zlib.compress(whole) if one else b"".join(gzip.compress(each) for each in members)
    if more < 0 < len(whole):
        with pytest.raises(Undecodable, match="larger"):
            await decoded(data, "deflate" if one else "gzip", len(whole) - 1)
    else:
        assert await decoded(data, "deflate" if one else "gzip", len(whole) + 1 + more) == whole


async def test_large_data_that_does_not_shrink() -> None:
    noise = os.urandom(3 * 2**20)
    assert await decoded(gzip.compress(noise, mtime=0), "gzip", 2**22) == noise


@pytest.mark.parametrize(
    ("data", "coding", "words"),
    [
        (gzip.compress(TEXT, mtime=0), "gzip", "larger than allowed"),
        (gzip.compress(TEXT, mtime=0)[:-4], "gzip", "ends in the middle"),
        (gzip.compress(TEXT, mtime=0)[:-8] + b"\0" * 8, "gzip", "broken"),
        (b"\x1f\x8b\x01\x00rubbish and more", "gzip", "broken"),
        (b"\xffrubbish", "deflate", "broken"),
        (gzip.compress(b"", mtime=0) * 500, "gzip", "pieces"),
    ],
)
async def test_refuses(data: bytes, coding: str, words: str) -> None:
    limit = len(TEXT) - 1 if words.startswith("larger") else 2**26
    with pytest.raises(Undecodable, match=words):
        await decoded(data, coding, limit)


async def test_ratio_counts_only_for_what_gets_large() -> None:
    small = gzip.compress(bytes(RATIO_FREE_SIZE), mtime=0)
    assert len(await decoded(small, "gzip", 2**26)) == RATIO_FREE_SIZE
    with pytest.raises(Undecodable, match="larger than allowed"):
        await decoded(gzip.compress(bytes(RATIO_FREE_SIZE + 1), mtime=0), "gzip", 2**26)


@pytest.mark.parametrize("seed", range(64))
async def test_damaged_data_is_refused_or_decoded_but_nothing_else(seed: int) -> None:
    data = bytearray(gzip.compress(TEXT, mtime=0))
    data[seed * len(data) // 64] ^= 0x55
    try:
        assert len(await decoded(bytes(data), "gzip", 2**20)) <= 2**20
    except Undecodable as error:
        assert str(error)
