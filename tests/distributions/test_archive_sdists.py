"""Sdists: PKG-INFO is read from its place, in bounded memory; truncated files are detected."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.distributions.archive import UnusableArchive, read_sdist_metadata
from tests.support.distributions import core_metadata, is_whole, make_sdist, tarred, zipped

NAME = "foo_bar-1.0.tar.gz"
CONTENT = core_metadata("foo-bar", "1.0", metadata_version="2.2")
PKG_INFO = "foo_bar-1.0/PKG-INFO"


def _read(content: bytes, filename: str = NAME) -> bytes:
    return read_sdist_metadata(io.BytesIO(content), filename)


def _refused(content: bytes, filename: str = NAME) -> str:
    with pytest.raises(UnusableArchive) as caught:
        _read(content, filename)
    return caught.value.reason


def _tar(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


@pytest.mark.parametrize("fmt", ["tar.gz", "zip"])
def test_pkg_info_is_read(tmp_path: Path, fmt: Literal["tar.gz", "zip"]) -> None:
    sdist = make_sdist(tmp_path, "foo-bar", "1.0", requires_python=">=3.9", fmt=fmt)
    assert b"Requires-Python: >=3.9\n" in read_sdist_metadata(sdist, sdist.name)
    assert is_whole(sdist, sdist.name)


def test_older_formats_are_read() -> None:
    plain = _tar((PKG_INFO, CONTENT))
    for ending, packed in {
        ".tar": plain,
        ".tgz": gzip.compress(plain),
        ".tar.bz2": bz2.compress(plain),
        ".tar.xz": lzma.compress(plain),
    }.items():
        assert _read(packed, "foo_bar-1.0" + ending) == CONTENT
        assert is_whole(io.BytesIO(packed), "foo_bar-1.0" + ending)
        if ending != ".tar":
            assert not is_whole(io.BytesIO(packed[:-9]), "foo_bar-1.0" + ending)
            assert not is_whole(io.BytesIO(b"nonsense" * 9), "foo_bar-1.0" + ending)
    egg = zipped({"EGG-INFO/PKG-INFO": CONTENT, "foo_bar.py": b""})
    assert _read(egg, "foo_bar-1.0-py2.7.egg") == CONTENT
    assert "cannot be read" in _refused(b"MZ", "foo_bar-1.0.win32.exe")


def test_names_may_start_with_a_dot_and_a_slash() -> None:
    content = gzip.compress(_tar(("./" + PKG_INFO, CONTENT), ("./foo_bar-1.0/x", b"")))
    assert _read(content) == CONTENT


def test_pkg_info_counts_only_at_its_place() -> None:
    for place in ("PKG-INFO", "foo_bar-1.0/foo_bar.egg-info/PKG-INFO", "foo_bar-1.0/pkg-info"):
        assert "no " in _refused(tarred({place: CONTENT}))
        assert "no " in _refused(zipped({place: CONTENT}), "foo_bar-1.0.zip")


def test_several_candidates_are_refused() -> None:
    twice = gzip.compress(_tar((PKG_INFO, CONTENT), (PKG_INFO, CONTENT)))
    assert "no single" in _refused(twice)
    tops = {PKG_INFO: CONTENT, "other/PKG-INFO": CONTENT}
    assert "no single" in _refused(tarred(tops))
    assert "several" in _refused(zipped(tops), "foo_bar-1.0.zip")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_is_no_pkg_info(kind: bytes) -> None:
    info = tarfile.TarInfo(PKG_INFO)
    info.type, info.linkname = kind, "/etc/passwd"
    assert "regular" in _refused(gzip.compress(_tar(info)))


@pytest.mark.parametrize("name", ["../PKG-INFO", "/etc/PKG-INFO", "a/../../b"])
def test_unsafe_names_are_refused(name: str) -> None:
    assert "unsafe" in _refused(gzip.compress(_tar((name, CONTENT))))


def test_a_bomb_is_refused_in_bounded_memory() -> None:
    zeros = gzip.compress(b"\0" * 50_000_000)
    head = _tar(("foo_bar-1.0/x", b""))[:512]
    header = tarfile.TarInfo("foo_bar-1.0/zeros")
    header.size = 500_000_000
    bomb = gzip.compress(head + header.tobuf()) + zeros * 10
    tracemalloc.start()
    assert "too large" in _refused(bomb)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_stream_without_end_is_not_whole() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000) * 50
    assert not is_whole(io.BytesIO(bomb), NAME)


def test_metadata_found_before_the_limit_are_used() -> None:
    header = tarfile.TarInfo("foo_bar-1.0/zeros")
    header.size = 250_000_000
    start = _tar((PKG_INFO, CONTENT))[:1024] + header.tobuf()
    content = gzip.compress(start) + gzip.compress(b"\0" * 50_000_000) * 5
    assert _read(content) == CONTENT


def test_large_metadata_are_refused() -> None:
    assert "too large" in _refused(tarred({PKG_INFO: b"\n" * 9_000_000}))


def test_half_an_sdist_is_not_whole(tmp_path: Path) -> None:
    sdist = make_sdist(tmp_path, "foo-bar", "1.0")
    content = sdist.read_bytes()
    for length in (0, 1, 10, len(content) // 2, len(content) - 9, len(content) - 1):
        sdist.write_bytes(content[:length])
        assert not is_whole(sdist, NAME), length
    sdist.write_bytes(content[:200] + b"\0" * (len(content) - 200))
    assert not is_whole(sdist, NAME)


def test_a_stream_that_inflates_far_and_ends_too_early_is_not_whole() -> None:
    content = gzip.compress(b"\0" * 5_000_000)
    assert is_whole(io.BytesIO(content), NAME)
    assert not is_whole(io.BytesIO(content[:-8]), NAME)


def test_gzip_in_several_members_and_with_trailing_bytes_is_read() -> None:
    plain = _tar((PKG_INFO, CONTENT))
    content = gzip.compress(plain[:700]) + gzip.compress(plain[700:])
    assert _read(content) == CONTENT
    assert is_whole(io.BytesIO(content), NAME)
    assert not is_whole(io.BytesIO(content[:-3]), NAME)
    assert is_whole(io.BytesIO(content + b"\0" * 512), NAME)


def test_a_page_of_html_is_no_sdist() -> None:
    assert "gzip" in _refused(b"<!DOCTYPE html>")
    assert not is_whole(io.BytesIO(b"<!DOCTYPE html>"), NAME)


@settings(suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_damage_breaks_the_reader(damage: list[tuple[int, int]]) -> None:
    plain = bytearray(_tar((PKG_INFO, CONTENT), ("foo_bar-1.0/x", b"y")))
    for place, value in damage:
        plain[place] = value
    try:
        _read(gzip.compress(plain, 1))
    except UnusableArchive as error:
        assert error.reason


def test_a_chain_of_extended_headers_does_not_break_the_reader() -> None:
    info = tarfile.TarInfo(PKG_INFO)
    info.type = tarfile.XHDTYPE
    assert "not a valid tar" in _refused(gzip.compress(info.tobuf() * 5000))
