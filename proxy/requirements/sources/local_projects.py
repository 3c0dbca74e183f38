"""Local projects that sources name by a path: a resolver reads them, we see to their building."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from msgspec import Struct

from proxy.distributions import UnusableArchive, read_sdist_file
from proxy.requirements.model import Requirements, SourceRequirements, UnreadableSource
from proxy.requirements.sources.document import SourceDocument, open_document
from proxy.requirements.sources.pyproject import (
    DEFAULT_BUILD_REQUIREMENTS,
    BuildSystem,
    Pyproject,
    build_requirements,
    local_line,
)

LEGACY = "setuptools>=40.8.0\nwheel\n"
"""What builds an sdist that does not say what builds it (PEP 518)."""
_WRITTEN = re.compile(r"(?P<path>[^;\[]+?)\s*(?:\[(?P<extras>[^\]]*)\])?\s*(?P<marker>;.*)?\Z")
_NAMED = re.compile(r"[\w.-]+\s*(?:\[[^\]]*\]\s*)?@\s*[a-z]")
_ARCHIVE = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tgz", ".tar.xz")


class _Shape(Struct, rename="kebab"):
    build_system: BuildSystem | None = None


def names_path(text: str) -> bool:
    """Whether a line of a requirements file names something local, as pip tells it."""
    if _NAMED.match(text):
        return False
    path = text.partition(";")[0].partition("[")[0].strip()
    return text.startswith((".", "file:")) or "/" in path or path.endswith(_ARCHIVE)


def local_project(
    document: SourceDocument, text: str, number: int
) -> tuple[str, SourceRequirements] | None:
    """For ``path[extras]; marker``: the line a resolver reads, and what building takes.

    The path starts from the working directory, as for pip and uv. None if it is a file that
    is no distribution. Raises ``UnreadableSource``.
    """
    written = _WRITTEN.match(text)
    if written is None:
        raise document.unreadable("not a requirement, nor a path", number)
    folder = path_of(written["path"])
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
    return line, local_build(document, there, there.name)


def local_build(document: SourceDocument, folder: str | Path, name: str) -> SourceRequirements:
    """What it takes to build the project in a folder, relative to that of ``document``.

    Raises ``UnreadableSource`` if its ``pyproject.toml`` cannot be used.
    """
    file = document.folder / folder / "pyproject.toml"
    if not exists(file.is_file):
        text = "".join(f"{each}\n" for each in DEFAULT_BUILD_REQUIREMENTS)
        return SourceRequirements(
            requirements=(Requirements(f"{document.name}: to build {name}", text),)
        )
    there = open_document(file)
    return build_requirements(there, there.shaped(Pyproject, there.toml()))


def _archive_build(file: Path) -> SourceRequirements:
    if file.name.endswith(".whl"):
        return SourceRequirements()
    with file.open("rb") as opened:
        return sdist_build(opened, file.name)


def sdist_build(file: BinaryIO, filename: str) -> SourceRequirements:
    """The build requirements of an sdist."""
    file.seek(0)
    legacy = Requirements(f"{filename}, build requirements", LEGACY)
    try:
        content = read_sdist_file(file, filename, "pyproject.toml")
    except UnusableArchive:
        return SourceRequirements(requirements=(legacy,))
    document = SourceDocument(filename, Path(), content)
    try:
        system = document.shaped(_Shape, document.toml()).build_system
        if system is None:
            return SourceRequirements(requirements=(legacy,))
        return build_requirements(document, Pyproject(build_system=system))
    except UnreadableSource as error:
        return SourceRequirements(requirements=(legacy,), notes=(str(error),))


def exists(test: Callable[[], bool]) -> bool:
    """What ``Path.is_file`` or ``is_dir`` says, and no for what cannot be a path at all."""
    try:
        return test()
    except (OSError, ValueError):
        return False


def path_of(text: str) -> Path:
    """The path that a ``file:`` address names, or the text is."""
    if text.startswith("file:"):
        return Path(url2pathname(urlsplit(text).path))
    return Path(text)
