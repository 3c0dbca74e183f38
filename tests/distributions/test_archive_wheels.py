"""Wheels: METADATA is read from sound archives only, and no archive breaks the reader."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.distributions.archive import UnusableArchive, check_whole, read_wheel_metadata
from tests.support.distributions import (
    core_metadata,
    is_whole,
    make_wheel,
    tarred,
    wheel_metadata,
    zipped,
)

NAME = "foo_bar-1.0-py3-none-any.whl"
METADATA = "foo_bar-1.0.dist-info/METADATA"
CONTENT = core_metadata("foo-bar", "1.0")


def _read(content: bytes, filename: str = NAME) -> bytes:
    return read_wheel_metadata(io.BytesIO(content), filename)


def _refused(content: bytes, filename: str = NAME) -> str:
    with pytest.raises(UnusableArchive) as caught:
        _read(content, filename)
    return caught.value.reason


def _archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def test_the_bytes_are_those_of_the_member(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "Foo.Bar", "1.0", requires=["x>1"], build="2")
    assert read_wheel_metadata(wheel, wheel.name) == wheel_metadata(wheel)


def test_the_name_of_the_stored_file_does_not_matter(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo-bar", "1.0")
    stored = wheel.rename(tmp_path / ("ab" * 32))
    assert read_wheel_metadata(stored, NAME) == wheel_metadata(stored)


@pytest.mark.parametrize("spelling", ["foo_bar-1.0", "Foo.Bar-1.0", "foo-bar-1.0.0", "FOO_bar-1"])
def test_the_directory_may_spell_name_and_version_differently(spelling: str) -> None:
    assert _read(_archive((f"{spelling}.dist-info/METADATA", CONTENT))) == CONTENT


def test_an_archive_written_to_a_stream_is_read() -> None:
    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError("a stream has no place")

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", b"x" * 100)
        archive.writestr(METADATA, CONTENT)
    assert _read(stream.getvalue()) == CONTENT


def test_a_zip64_archive_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        with archive.open(METADATA, "w", force_zip64=True) as member:
            member.write(CONTENT)
        for number in range(66_000):
            archive.writestr(str(number), b"")
    assert _read(buffer.getvalue()) == CONTENT
    assert not is_whole(io.BytesIO(buffer.getvalue()[:-50]), NAME)


def _with_records_64(archive: bytes, *, members: int = 1) -> bytes:
    """As Python writes an archive of 2 to 4 GiB: the end record has all values too."""
    end = archive.rindex(b"PK\5\6")
    size, offset = struct.unpack_from("<2L", archive, end + 12)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    return archive[:end] + record + locator + archive[end:]


def test_64_bit_records_beside_values_that_fit_the_end_record_are_read() -> None:
    archive = _archive((METADATA, CONTENT))
    assert _read(_with_records_64(archive)) == CONTENT
    assert "do not agree" in _refused(_with_records_64(archive, members=2))


def test_two_members_of_one_name_are_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = _archive((METADATA, CONTENT), (METADATA, CONTENT + b"Requires-Dist: evil\n"))
    assert "two members" in _refused(twice)


def test_two_dist_info_directories_are_refused() -> None:
    members = (METADATA, CONTENT), ("other-1.0.dist-info/METADATA", CONTENT)
    assert "no single .dist-info" in _refused(_archive(*members))
    assert "no single .dist-info" in _refused(_archive(("foo_bar.py", b"")))


@pytest.mark.parametrize("folder", ["other-1.0", "foo_bar-1.1", "foo_bar", "-"])
def test_a_directory_of_another_distribution_is_refused(folder: str) -> None:
    assert "another" in _refused(_archive((f"{folder}.dist-info/METADATA", CONTENT)))


def test_metadata_only_count_at_the_top() -> None:
    assert "no METADATA" in _refused(_archive(("foo_bar-1.0.dist-info/x/METADATA", CONTENT)))
    assert "no single" in _refused(_archive((f"x/{METADATA}", CONTENT)))


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_members_with_unsafe_names_are_refused(name: str) -> None:
    assert "unsafe" in _refused(_archive((METADATA, CONTENT), (name, b"")))


def test_a_name_with_nul_is_refused() -> None:
    content = _archive((METADATA, CONTENT), ("evilXevil", b""))
    assert "unsafe" in _refused(content.replace(b"evilXevil", b"evil\0evil"))


def test_a_backslash_in_the_directory_is_refused() -> None:
    name = "foo_bar-1.0.dist-info\\METADATA"
    content = _archive((METADATA, CONTENT), (name.replace("\\", "!"), b""))
    assert ".dist-info" in _refused(content.replace(b"info!META", b"info\\META"))


def test_encrypted_members_are_refused() -> None:
    content = bytearray(_archive((METADATA, CONTENT)))
    content[6] |= 1
    content[content.rfind(b"PK\1\2") + 8] |= 1
    assert "encrypted" in _refused(bytes(content))


def test_unusual_compression_is_refused() -> None:
    content = _archive((METADATA, CONTENT), compression=zipfile.ZIP_BZIP2)
    assert "unusual" in _refused(content)


def test_headers_that_contradict_each_other_are_refused() -> None:
    content = _archive((METADATA, CONTENT), ("good.py", b"x"))
    local, central = content.find(b"good.py"), content.rfind(b"good.py")
    assert "contradict" in _refused(content[:local] + b"evil.py" + content[local + 7 :])
    assert "contradict" in _refused(content[:central] + b"evil.py" + content[central + 7 :])


def test_a_local_size_that_differs_is_refused() -> None:
    content = bytearray(_archive((METADATA, CONTENT)))
    struct.pack_into("<L", content, 22, len(CONTENT) - 1)
    assert "contradict" in _refused(bytes(content))


def test_a_member_that_only_streaming_readers_see_is_refused() -> None:
    content = _archive((METADATA, CONTENT))
    hidden = _archive((METADATA, CONTENT + b"Requires-Dist: evil\n"))
    hidden = hidden[: hidden.find(b"PK\1\2")]
    end = bytearray(content[-22:])
    central = bytearray(content[content.find(b"PK\1\2") : -22])
    struct.pack_into("<L", end, 16, struct.unpack_from("<L", end, 16)[0] + len(hidden))
    struct.pack_into("<L", central, 42, len(hidden))
    body = content[: content.find(b"PK\1\2")]
    assert "gaps" in _refused(hidden + body + bytes(central) + bytes(end))


def test_a_member_that_the_directory_leaves_out_is_refused() -> None:
    content = _archive((METADATA, CONTENT), ("evil.py", b""))
    start = content.rfind(b"PK\1\2")
    end = bytearray(content[-22:])
    struct.pack_into("<L", end, 12, start - content.find(b"PK\1\2"))
    assert "counts other members" in _refused(content[:start] + bytes(end))


def test_bytes_before_or_after_the_archive_are_refused() -> None:
    content = _archive((METADATA, CONTENT))
    assert "after its end record" in _refused(content + b"more")
    assert "not where" in _refused(b"#!/bin/sh\n" + content)
    assert "not where" in _refused(tarred({"x": b""}) + content)


def test_an_archive_that_is_also_a_tar_archive_is_refused() -> None:
    content = _archive(("x" * 600, b""), (METADATA, CONTENT))
    for place in (30, content.rfind(b"x" * 600)):
        start = place + 257 - 30
        content = content[:start] + b"ustar" + content[start + 5 :]
    assert "does not start" in _refused(content)


def test_a_comment_is_allowed_and_cannot_hide_an_end() -> None:
    content = _archive((METADATA, CONTENT))
    for comment in (b"hello", b"PK\5\6" + b"\0" * 40):
        with_comment = content[:-2] + struct.pack("<H", len(comment)) + comment
        if comment.startswith(b"PK"):
            _refused(with_comment)
        else:
            assert _read(with_comment) == CONTENT


def test_a_bomb_in_the_metadata_is_refused_before_it_is_unpacked() -> None:
    assert "suspiciously" in _refused(_archive((METADATA, b"\n" * 80_000_000)))
    assert "too large" in _refused(_archive((METADATA, b"\n" * 9_000_000)))


def test_a_bomb_that_lies_about_its_size_is_refused() -> None:
    content = bytearray(_archive((METADATA, b"\n" * 80_000_000)))
    struct.pack_into("<L", content, 22, 100)
    struct.pack_into("<L", content, content.rfind(b"PK\1\2") + 24, 100)
    assert "not a valid zip" in _refused(bytes(content))


def test_too_many_members_are_refused_before_they_are_read() -> None:
    content = bytearray(_archive((METADATA, CONTENT)))
    content[-22:] = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 100 * 1024 * 1024, len(content) - 22, 0
    )
    assert "not where" in _refused(bytes(content))
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(100_001):
            archive.writestr(str(number), b"")
    assert "too many" in _refused(many.getvalue())


def test_a_partial_wheel_is_incomplete(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo-bar", "1.0", padding=10_000)
    content = wheel.read_bytes()
    assert is_whole(wheel, NAME)
    for length in (0, 1, 4, 1000, len(content) - 23, len(content) - 1):
        wheel.write_bytes(content[:length])
        assert not is_whole(wheel, NAME), length
    wheel.write_bytes(content[:1000] + b"\0" * (len(content) - 1000))  # space taken beforehand
    assert not is_whole(wheel, NAME)


def test_errors_of_the_disk_are_raised_unchanged(tmp_path: Path) -> None:
    for function in (read_wheel_metadata, check_whole):
        with pytest.raises(FileNotFoundError):
            function(tmp_path / "absent.whl", NAME)
        with pytest.raises(IsADirectoryError):
            function(tmp_path, NAME)


def _damage(draw: Callable[..., int], content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        damaged[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(damaged)


@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_damage_breaks_the_reader(data: st.DataObject) -> None:
    content = zipped({"foo_bar.py": b"x = 1\n" * 9, METADATA: CONTENT})
    try:
        _read(_damage(data.draw, content))
    except UnusableArchive as error:
        assert error.reason
