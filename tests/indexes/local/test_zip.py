"""A zip archive of distributions: what it serves, what it claims, and what it refuses."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import IndexUnavailable, NoSuchFile, NoSuchProject
from proxy.model import METADATA, ProjectName
from tests.support.content import read_blob, sha256
from tests.support.directories import BAR, FOO, HeardChanges, names, opened
from tests.support.distributions import make_sdist, make_wheel, wheel_metadata
from tests.support.records import CountedRecords

WHEEL = "foo-1.0-py3-none-any.whl"
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def archive(
    path: Path, members: Mapping[str, bytes | Path], compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    """An archive that appears by a rename."""
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w", compression) as made:
        for name, content in members.items():
            made.writestr(name, content.read_bytes() if isinstance(content, Path) else content)
    return part.rename(path)


def wheel(folder: Path, name: str = "foo", version: str = "1.0", **more: object) -> Path:
    return make_wheel(folder / "made", name, version, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("watch", [True, False])
@pytest.mark.parametrize("compression", [STORED, DEFLATED])
async def test_it_serves_what_is_in_it_at_any_depth(
    tmp_path: Path, watch: bool, compression: int
) -> None:
    one = wheel(tmp_path, padding=600_000)
    two = make_sdist(tmp_path / "made", "foo", "2.0", requires_python=">=3.8")
    members: dict[str, bytes | Path] = {one.name: one, f"a/b/c/{two.name}": two, "readme.txt": b"x"}
    root = archive(tmp_path / "wheels.zip", members, compression)
    async with opened(root, watch=watch) as index:
        page = await index.page(FOO)
        assert [file.filename for file in page.files] == [one.name, two.name]
        assert page.versions == ("1.0", "2.0")
        assert page.files[1].requires_python == ">=3.8"
        for file, source in zip(page.files, (one, two), strict=True):
            content = source.read_bytes()
            assert (file.size, file.sha256) == (len(content), sha256(content))
            blob = (await index.file(FOO, file.filename, file.address_digest)).blob
            assert await read_blob(blob) == content
            middle = [piece async for piece in blob.chunks(7, len(content) - 5)]
            assert b"".join(middle) == content[7:-5]
            assert [piece async for piece in blob.chunks(len(content))] == []
        metadata = (await index.file(FOO, WHEEL + METADATA)).blob
        assert await read_blob(metadata) == wheel_metadata(one)
        assert await index.projects() >= {FOO}
        with pytest.raises(NoSuchProject):
            await index.page(BAR)
        with pytest.raises(NoSuchFile):
            await index.file(FOO, "foo-3.0.tar.gz")


async def test_bytes_that_are_not_compressed_are_sent_from_the_archive(tmp_path: Path) -> None:
    made = wheel(tmp_path)
    content = made.read_bytes()
    for compression in (STORED, DEFLATED):
        root = archive(tmp_path / "wheels.zip", {made.name: made}, compression)
        async with opened(root) as index:
            spans = (await index.file(FOO, WHEEL)).blob.spans(3, 50)
            assert (spans is None) is (compression == DEFLATED)
            if spans is not None:
                (span,) = [
                    os.pread(each.fd, each.stop - each.start, each.start)
                    async for each in spans
                    if not isinstance(each, bytes)
                ]
                assert span == content[3:50]


@pytest.mark.parametrize("watch", [True, False])
async def test_a_replaced_archive_is_noticed_by_the_next_request(
    tmp_path: Path, watch: bool
) -> None:
    heard = HeardChanges()
    root = archive(tmp_path / "wheels.zip", {WHEEL: wheel(tmp_path)})
    async with opened(root, heard=heard, watch=watch) as index:
        old = (await index.file(FOO, WHEEL)).blob
        two = wheel(tmp_path, version="2.0")
        other = wheel(tmp_path, "bar")
        archive(root, {two.name: two, other.name: other})
        heard.clear()
        index.poll()
        assert not watch or heard.changes() == [None]
        assert await names(index) == [two.name]
        assert await names(index, BAR) == [other.name]
        with pytest.raises(IndexUnavailable, match="has changed"):
            await read_blob(old)
        with pytest.raises(NoSuchFile):
            await index.file(FOO, WHEEL)


async def test_another_wheel_of_the_same_size_at_the_same_time_is_noticed(tmp_path: Path) -> None:
    """Two writes within one tick of the file system's clock, by the same path."""
    contents = [b"a" * 10, b"b" * 10]
    wheels = [wheel(tmp_path / text.decode(), files={"x": text}) for text in contents]
    root = archive(tmp_path / "wheels.zip", {WHEEL: wheels[0]}, STORED)
    async with opened(root) as index:
        for made in [*wheels, *wheels]:
            archive(tmp_path / "other.zip", {WHEEL: made}, STORED)
            root.write_bytes((tmp_path / "other.zip").read_bytes())
            (file,) = (await index.page(FOO)).files
            assert file.sha256 == sha256(made.read_bytes())
            blob = (await index.file(FOO, WHEEL, file.sha256)).blob
            assert await read_blob(blob) == made.read_bytes()


@pytest.mark.parametrize("watch", [True, False])
async def test_an_archive_that_vanishes_makes_its_names_unavailable(
    tmp_path: Path, watch: bool
) -> None:
    root = archive(tmp_path / "wheels.zip", {WHEEL: wheel(tmp_path)})
    content = root.read_bytes()
    async with opened(root, watch=watch) as index:
        assert await names(index) == [WHEEL]
        root.unlink()
        for project in (FOO, BAR):
            with pytest.raises(IndexUnavailable):
                await index.page(project)
        root.write_bytes(content[:-30])  # a copy that has not ended
        with pytest.raises(IndexUnavailable):
            await index.page(BAR)
        root.write_bytes(content)
        assert await names(index) == [WHEEL]


async def test_a_name_that_was_in_it_stays_private_until_it_is_released(tmp_path: Path) -> None:
    records = CountedRecords()
    other = wheel(tmp_path, "bar")
    root = archive(tmp_path / "wheels.zip", {WHEEL: wheel(tmp_path), other.name: other})
    async with opened(root, records) as index:
        assert await index.projects() == {FOO, BAR}
        archive(root, {other.name: other})
        assert await names(index) == []
    async with opened(root, records) as index:
        assert await names(index) == []
        assert records.claims.is_claimed(FOO, str(root))
        await index.release(FOO)
        with pytest.raises(NoSuchProject):
            await index.page(FOO)
        await index.release(BAR)
        assert await names(index, BAR) == [other.name]


@pytest.mark.parametrize(
    "member",
    [
        "foo-1.0-py3-none-any.whl.part",
        "foo-1.0.tar.gz.asc",
        "deep/er/foo-1.0.whl",
        "foo-1.0-cp39.whl",
        "foo/",
        "foo/notes.txt",
        "foo-1.0.tar.bz2",
        "foo-2.0.tar.gz",  # not an archive
    ],
)
async def test_what_looks_like_a_distribution_or_its_folder_keeps_the_name_private(
    tmp_path: Path, member: str
) -> None:
    other = wheel(tmp_path, "bar")
    root = archive(tmp_path / "wheels.zip", {member: b"", other.name: other})
    async with opened(root) as index:
        assert await names(index) == []
        assert await names(index, BAR) == [other.name]


async def test_a_sidecar_yanks(tmp_path: Path) -> None:
    members: dict[str, bytes | Path] = {WHEEL: wheel(tmp_path), f"{WHEEL}.yanked": b"it\nbroke\x07"}
    async with opened(archive(tmp_path / "wheels.zip", members)) as index:
        (file,) = (await index.page(FOO)).files
        assert file.yanked == "it broke"


async def test_the_first_folder_counts_for_two_files_of_one_name(tmp_path: Path) -> None:
    one, two = wheel(tmp_path / "1"), wheel(tmp_path / "2", requires=["bar"])
    root = archive(tmp_path / "wheels.zip", {f"b/{WHEEL}": two, f"a/{WHEEL}": one})
    async with opened(root) as index:
        (file,) = (await index.page(FOO)).files
        assert file.sha256 == sha256(one.read_bytes())


async def test_details_are_kept_over_restarts(tmp_path: Path) -> None:
    records = CountedRecords()
    root = archive(tmp_path / "wheels.zip", {WHEEL: wheel(tmp_path)})
    async with opened(root, records) as index:
        first = await index.page(FOO)
    root.chmod(0o400)
    async with opened(root, records) as index:
        assert (await index.page(FOO)).files == first.files


class Pipe(io.RawIOBase):
    """An output without seeking, so that sizes follow the bytes of a member."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.written += data
        return len(data)


@pytest.mark.parametrize("compression", [STORED, DEFLATED])
@pytest.mark.parametrize("form", ["streamed", "64-bit sizes"])
async def test_archives_of_other_forms_are_read(
    tmp_path: Path, form: str, compression: int
) -> None:
    content = wheel(tmp_path, padding=300_000).read_bytes()
    pipe, root = Pipe(), tmp_path / "wheels.zip"
    with (
        zipfile.ZipFile(pipe if form == "streamed" else root, "w", compression) as made,
        made.open(f"deep/{WHEEL}", "w", force_zip64=form != "streamed") as member,
    ):
        member.write(content)
    if form == "streamed":
        root.write_bytes(pipe.written)
    async with opened(root) as index:
        assert await names(index) == [WHEEL]
        assert await read_blob((await index.file(FOO, WHEEL)).blob) == content


def linked(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "wheels.zip"
    with zipfile.ZipFile(root, "w") as made:
        made.writestr(linked(WHEEL), "/etc/passwd")
    async with opened(root) as index:
        assert await names(index) == []
        with pytest.raises(NoSuchFile):
            await index.file(FOO, WHEEL)


async def test_a_bomb_is_not_unpacked_and_keeps_its_name(tmp_path: Path) -> None:
    other = wheel(tmp_path, "bar", padding=4_000_000)
    members: dict[str, bytes | Path] = {WHEEL: bytes(70_000_000), other.name: other}
    root = archive(tmp_path / "wheels.zip", members)
    async with opened(root) as index:
        assert await names(index) == []
        assert await names(index, BAR) == [other.name]


def hostile_archives() -> dict[str, bytes]:
    def made(*members: tuple[str, bytes], **more: object) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", **more) as archive_:  # type: ignore[call-overload]
            for name, content in members:
                archive_.writestr(name, content)
        return buffer.getvalue()

    plain = made((WHEEL, b"x" * 100))
    return {
        "empty": b"",
        "no zip": b"not a zip archive" * 10,
        "no members": made(),
        "traversal": made((f"../{WHEEL}", b"x")),
        "absolute": made((f"/{WHEEL}", b"x")),
        "bytes before it": b"x" + plain,
        "bytes after it": plain + b"x",
        "too deep": made(("/".join(["a"] * 40) + f"/{WHEEL}", b"x")),
        "total bomb": made(
            *((f"a/{number}", bytes(30_000_000)) for number in range(3)),
            compression=zipfile.ZIP_DEFLATED,
        ),
        "other compression": made((WHEEL, b"x" * 100), compression=zipfile.ZIP_BZIP2),
        "local header disagrees": plain.replace(WHEEL.encode(), b"g" * len(WHEEL), 1),
        "encrypted": plain[:6]
        + b"\x01"
        + plain[7:].replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
    }


@pytest.mark.parametrize("kind", sorted(hostile_archives()))
async def test_an_archive_that_is_hostile_or_damaged_is_not_read_at_all(
    tmp_path: Path, kind: str
) -> None:
    root = tmp_path / "wheels.zip"
    root.write_bytes(hostile_archives()[kind])
    async with opened(root) as index:
        for project in (FOO, BAR):
            with pytest.raises(IndexUnavailable):
                await index.page(project)


@pytest.mark.parametrize("compression", [STORED, DEFLATED])
async def test_a_damaged_member_is_not_listed(tmp_path: Path, compression: int) -> None:
    root = archive(tmp_path / "wheels.zip", {WHEEL: wheel(tmp_path, padding=5000)}, compression)
    data = bytearray(root.read_bytes())
    data[2000] ^= 1
    root.write_bytes(bytes(data))
    async with opened(root) as index:
        assert await names(index) == []  # the name stays private


async def test_a_folder_of_that_suffix_is_a_folder(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels.zip", "foo", "1.0")
    async with opened(tmp_path / "wheels.zip") as index:
        assert await names(index) == [WHEEL]


async def test_a_zip_in_a_folder_is_an_sdist_or_nothing(tmp_path: Path) -> None:
    sdist = make_sdist(tmp_path / "packages", "foo", "1.0", fmt="zip")
    archive(tmp_path / "packages" / "bar-1.0.zip", {WHEEL: wheel(tmp_path)})
    async with opened(tmp_path / "packages") as index:
        assert await names(index, ProjectName("foo")) == [sdist.name]
