"""Reads metadata from distribution files, and checks that the files are whole.

All functions block, and take a path or an open file; the name of the path does not matter,
since stored files are named by digest. All raise ``UnusableArchive``, and ``OSError`` from
the disk. Nothing is ever unpacked to the disk. The readers of zip and tar archives are imported
inside functions: most processes open no archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from proxy.distributions.archive_limits import UnusableArchive
from proxy.distributions.core_metadata import requires_python_of
from proxy.distributions.filenames import parse_filename, same_version, version_for

__all__ = [
    "UnusableArchive",
    "ZipMember",
    "check_whole",
    "list_zip_members",
    "read_sdist_file",
    "read_sdist_metadata",
    "read_wheel_metadata",
    "requires_python_of",
    "unpack_zip_member",
]

_ZIPS = (".whl", ".zip", ".egg")
_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")


class ZipMember(NamedTuple):
    """The place of a file in an archive."""

    name: str
    """With slashes between folders; that of a folder ends with one."""
    offset: int
    """Of the packed bytes."""
    packed: int
    """Bytes in the archive."""
    size: int
    """Bytes after unpacking."""
    crc: int
    stored: bool
    """Not compressed."""
    is_link: bool


def list_zip_members(source: Path | BinaryIO) -> list[ZipMember]:
    """The files and folders in a zip archive, of which no two have one name."""
    from proxy.distributions.zip_reader import list_members

    with _opened(source) as file:
        return list_members(file)


def unpack_zip_member(file: BinaryIO, member: ZipMember, start: int = 0) -> Iterator[bytes]:
    """The bytes of a member from ``start`` on, in pieces, and never more than its size.

    The member has to be one of this archive. That it is damaged is known only at its end.
    """
    from proxy.distributions.zip_reader import unpack_member

    return unpack_member(file, member, start)


def read_wheel_metadata(source: Path | BinaryIO, filename: str) -> bytes:
    """METADATA of the wheel, byte for byte (PEP 658)."""
    from proxy.distributions.zip_reader import opened, read_member

    with _opened(source) as file, opened(file) as archive:
        names = [info.orig_filename for info in archive.infolist()]
        tops = {name.partition("/")[0] for name in names}
        folders = [top for top in tops if top.lower().endswith(".dist-info")]
        if len(folders) != 1 or any("\\" in name and ".dist-info" in name for name in names):
            raise UnusableArchive("it has no single .dist-info directory")
        _check_folder(folders[0], filename)
        return read_member(archive, _present(names, f"{folders[0]}/METADATA"))


def read_sdist_metadata(source: Path | BinaryIO, filename: str) -> bytes:
    """PKG-INFO of the sdist or egg. It describes built wheels only from 2.2 on (PEP 643)."""
    from proxy.distributions.zip_reader import opened, read_member

    if not filename.endswith(".egg"):
        return read_sdist_file(source, filename, "PKG-INFO")
    with _opened(source) as file, opened(file) as archive:
        names = [info.orig_filename for info in archive.infolist()]
        return read_member(archive, _present(names, "EGG-INFO/PKG-INFO"))


def read_sdist_file(source: Path | BinaryIO, filename: str, name: str) -> bytes:
    """The file of that name at the top of the sdist, ``pyproject.toml`` for example."""
    from proxy.distributions.tar_reader import read_at_depth_two
    from proxy.distributions.zip_reader import opened, read_member

    with _opened(source) as file:
        if filename.endswith(_TARS):
            return read_at_depth_two(file, filename, name)
        if not filename.endswith(_ZIPS):
            raise UnusableArchive("files of this kind cannot be read")
        with opened(file) as archive:
            names = [info.orig_filename for info in archive.infolist()]
            tops = {name.partition("/")[0] for name in names}
            if len(tops) != 1:
                raise UnusableArchive("it has several top-level directories")
            return read_member(archive, _present(names, f"{tops.pop()}/{name}"))


def check_whole(source: Path | BinaryIO, filename: str) -> None:
    """Raises ``UnusableArchive`` if the archive is broken or its end is missing.

    A zip archive is as long as its end record says; a tar archive unpacks to its end.
    """
    from proxy.distributions.tar_reader import check_stream
    from proxy.distributions.zip_reader import check_end

    with _opened(source) as file:
        if filename.endswith(_ZIPS):
            check_end(file)
        elif filename.endswith(_TARS):
            check_stream(file, filename)


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file
    else:
        yield source


def _check_folder(folder: str, filename: str) -> None:
    """Installers refuse a wheel whose .dist-info has another name or version."""
    named = parse_filename(filename)
    stem = folder[: -len(".dist-info")]
    version = version_for(f"{stem}.zip", named.project) if named else None
    if named is None or version is None or not same_version(version, named.version):
        raise UnusableArchive("its .dist-info directory is that of another distribution")


def _present(names: list[str], name: str) -> str:
    if name not in names:
        raise UnusableArchive(f"it has no {name.rpartition('/')[2]} where it belongs")
    return name
