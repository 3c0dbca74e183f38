"""Local projects that sources name by a path: the line for the resolver, and what builds them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from msgspec import Struct

from proxy.distributions import UnusableArchive, read_sdist_file
from proxy.requirements.model import ResolverInput, SourceRequirements, UnreadableSource
from proxy.requirements.sources.document import SourceDocument, open_document
from proxy.requirements.sources.pyproject import (
    DEFAULT_BUILD_REQUIREMENTS,
    BuildSystem,
    Pyproject,
    build_requirements,
    local_line,
)

LEGACY_BUILD_REQUIREMENTS = "setuptools>=40.8.0\nwheel\n"
"""Build requirements of an sdist without ``[build-system]`` (PEP 518)."""
_WRITTEN = re.compile(r"(?P<path>[^;\[]+?)\s*(?:\[(?P<extras>[^\]]*)\])?\s*(?P<marker>;.*)?\Z")
_NAMED_ADDRESS = re.compile(r"[\w.-]+\s*(?:\[[^\]]*\]\s*)?@\s*[a-z]")
_ARCHIVE = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tgz", ".tar.xz")


class _Shape(Struct, rename="kebab"):
    build_system: BuildSystem | None = None


def is_local_path(text: str) -> bool:
    """Whether a line of a requirements file is a local path, by the rules of pip."""
    if _NAMED_ADDRESS.match(text):
        return False
    path = text.partition(";")[0].partition("[")[0].strip()
    return text.startswith((".", "file:")) or "/" in path or path.endswith(_ARCHIVE)


def local_project(
    document: SourceDocument, text: str, number: int
) -> tuple[str, SourceRequirements] | None:
    """For ``path[extras]; marker``: the line for the resolver, and the build requirements.

    Paths are relative to the working directory, as for pip and uv. None if the path is a file
    that is not a distribution. Raises ``UnreadableSource``.
    """
    written = _WRITTEN.match(text)
    if written is None:
        raise document.unreadable("neither a requirement nor a path", number)
    folder = to_path(written["path"])
    is_file = exists(folder.is_file)
    if is_file and not folder.name.endswith(_ARCHIVE):
        return None
    if not is_file and not exists(folder.is_dir):
        raise document.unreadable("a local path that does not exist", number)
    extras = [each.strip() for each in (written["extras"] or "").split(",") if each.strip()]
    for each in extras:
        document.project(each, number)
    line = f"{local_line(folder, extras)} {written['marker'] or ''}".strip()
    there = folder.resolve()
    if is_file:
        return line, _archive_build(there)
    return line, project_build_requirements(document, there, there.name)


def project_build_requirements(
    document: SourceDocument, folder: str | Path, name: str
) -> SourceRequirements:
    """The build requirements of the project in a folder, relative to that of ``document``.

    Raises ``UnreadableSource`` if its ``pyproject.toml`` cannot be used.
    """
    file = document.folder / folder / "pyproject.toml"
    if not exists(file.is_file):
        text = "".join(f"{each}\n" for each in DEFAULT_BUILD_REQUIREMENTS)
        return SourceRequirements(
            requirements=(ResolverInput(f"{document.name}, build requirements of {name}", text),)
        )
    there = open_document(file)
    return build_requirements(there, there.convert(Pyproject, there.toml()))


def _archive_build(file: Path) -> SourceRequirements:
    if file.name.endswith(".whl"):
        return SourceRequirements()
    with file.open("rb") as opened:
        return archive_build_requirements(opened, file.name)


def archive_build_requirements(file: BinaryIO, filename: str) -> SourceRequirements:
    """The build requirements of an sdist."""
    file.seek(0)
    legacy = ResolverInput(f"{filename}, build requirements", LEGACY_BUILD_REQUIREMENTS)
    try:
        content = read_sdist_file(file, filename, "pyproject.toml")
    except UnusableArchive:
        return SourceRequirements(requirements=(legacy,))
    document = SourceDocument(filename, Path(), content)
    try:
        system = document.convert(_Shape, document.toml()).build_system
        if system is None:
            return SourceRequirements(requirements=(legacy,))
        return build_requirements(document, Pyproject(build_system=system))
    except UnreadableSource as error:
        return SourceRequirements(requirements=(legacy,), notes=(str(error),))


def exists(test: Callable[[], bool]) -> bool:
    """The result of ``Path.is_file`` or ``is_dir``; False for text that cannot be a path."""
    try:
        return test()
    except (OSError, ValueError):
        return False


def to_path(text: str) -> Path:
    """The path of a ``file:`` address, or the text as a path."""
    if text.startswith("file:"):
        return Path(url2pathname(urlsplit(text).path))
    return Path(text)
