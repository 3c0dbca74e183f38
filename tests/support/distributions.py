"""Tiny distributions that real installers accept: wheels, and sdists that build without a network.

The same arguments give the same bytes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import random
import re
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from proxy.distributions import UnusableArchive, check_whole

_LONG_AGO = (2020, 1, 1, 0, 0, 0)
_MEBIBYTE = 1024 * 1024

_BACKEND = '''"""A build backend that needs nothing: the wheel was made together with the sdist."""

import pathlib
import shutil

_HERE = pathlib.Path(__file__).parent


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    (wheel,) = _HERE.glob("*.whl")
    shutil.copy(wheel, wheel_directory)
    return wheel.name
'''


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    tag: str = "py3-none-any",
    build: str | None = None,
    files: Mapping[str, bytes] | None = None,
    padding: int = 0,
) -> Path:
    """A wheel with one importable module, named as the project with underscores.

    ``files`` adds members or replaces those of the same name; ``padding`` is the size in
    bytes of a member that no compression shrinks.
    """
    stem = f"{spelled(name)}-{version}"
    members = {
        f"{spelled(name)}.py": f"NAME = {name!r}\nVERSION = {version!r}\n".encode(),
        f"{stem}.dist-info/METADATA": core_metadata(name, version, requires, requires_python),
        f"{stem}.dist-info/WHEEL": _wheel_file(tag, build),
    }
    if padding:
        members[f"{spelled(name)}_padding.bin"] = _noise(name, padding)
    members.update(files or {})
    members[f"{stem}.dist-info/RECORD"] = _record(members, f"{stem}.dist-info/RECORD")
    filename = "-".join(part for part in (stem, build, tag) if part) + ".whl"
    return _written(folder / filename, zipped(members))


def make_sdist(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    fmt: Literal["tar.gz", "zip"] = "tar.gz",
    build_requires: Sequence[str] = (),
) -> Path:
    """An sdist (PEP 625, metadata 2.2) with its own build backend.

    Building it asks for ``build_requires`` and for nothing else.
    """
    stem = f"{spelled(name)}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = make_wheel(
        folder / f".{stem}.building",
        name,
        version,
        requires=requires,
        requires_python=requires_python,
    )
    members = {
        f"{stem}/PKG-INFO": core_metadata(name, version, requires, requires_python, "2.2"),
        f"{stem}/pyproject.toml": _pyproject(build_requires),
        f"{stem}/backend/in_tree.py": _BACKEND.encode(),
        f"{stem}/backend/{wheel.name}": wheel.read_bytes(),
    }
    wheel.unlink()
    wheel.parent.rmdir()
    return _written(folder / f"{stem}.{fmt}", zipped(members) if fmt == "zip" else tarred(members))


def wheel_metadata(path: Path) -> bytes:
    """The METADATA member of a wheel."""
    with zipfile.ZipFile(path) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(member)


def core_metadata(
    name: str,
    version: str,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    metadata_version: str = "2.1",
) -> bytes:
    """METADATA or PKG-INFO."""
    lines = [f"Metadata-Version: {metadata_version}", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return ("\n".join(lines) + "\n").encode()


def spelled(name: str) -> str:
    """A project name as file names and modules spell it."""
    return re.sub(r"[-_.]+", "_", name).lower()


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A zip archive; large members are stored, small ones deflated."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.external_attr = 0o644 << 16
            large = len(content) > _MEBIBYTE or name.endswith(".bin")
            info.compress_type = zipfile.ZIP_STORED if large else zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def tarred(members: Mapping[str, bytes]) -> bytes:
    """A tar archive in gzip."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def _wheel_file(tag: str, build: str | None) -> bytes:
    pythons, abis, platforms = tag.split("-")
    lines = ["Wheel-Version: 1.0", "Generator: tests", "Root-Is-Purelib: true"]
    lines += [f"Build: {build}"] if build else []
    lines += [
        f"Tag: {python}-{abi}-{platform}"
        for python in pythons.split(".")
        for abi in abis.split(".")
        for platform in platforms.split(".")
    ]
    return ("\n".join(lines) + "\n").encode()


def _record(members: Mapping[str, bytes], itself: str) -> bytes:
    lines = []
    for name, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
        lines.append(f"{name},sha256={digest.decode()},{len(content)}")
    return "\n".join([*lines, f"{itself},,", ""]).encode()


def _pyproject(build_requires: Sequence[str]) -> bytes:
    quoted = ", ".join(f'"{requirement}"' for requirement in build_requires)
    lines = ["[build-system]", f"requires = [{quoted}]"]
    lines += ['build-backend = "in_tree"', 'backend-path = ["backend"]', ""]
    return "\n".join(lines).encode()


def _noise(seed: str, size: int) -> bytes:
    block = random.Random(seed).randbytes(min(size, _MEBIBYTE))
    return (block * (size // len(block) + 1))[:size]


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def is_whole(source: Path | BinaryIO, filename: str) -> bool:
    """Whether ``check_whole`` finds nothing wrong."""
    try:
        check_whole(source, filename)
    except UnusableArchive:
        return False
    return True
