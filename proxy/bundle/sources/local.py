"""Local projects that sources name by a path: a resolver reads them, we see to their building."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from proxy.bundle.sources.document import Document, open_document
from proxy.bundle.sources.pyproject import FALLBACK, Pyproject, build_requirements, local_line
from proxy.bundle.wants import Requirements, Wants

_WRITTEN = re.compile(r"(?P<path>[^;\[]+?)\s*(?:\[(?P<extras>[^\]]*)\])?\s*(?P<marker>;.*)?\Z")
_NAMED = re.compile(r"[\w.-]+\s*(?:\[[^\]]*\]\s*)?@\s*[a-z]")
_ARCHIVE = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tgz", ".tar.xz")


def names_path(text: str) -> bool:
    """Whether a line of a requirements file names something local, as pip tells it."""
    if _NAMED.match(text):
        return False
    path = text.partition(";")[0].partition("[")[0].strip()
    return text.startswith((".", "file:")) or "/" in path or path.endswith(_ARCHIVE)


def local_project(document: Document, text: str, number: int) -> tuple[str, Wants] | None:
    """For ``path[extras]; marker``: the line a resolver reads, and what building takes.

    The path starts from the working directory, as for pip and uv. None if it is not a
    directory but a file. Raises ``UnreadableSource``.
    """
    written = _WRITTEN.match(text)
    if written is None:
        raise document.unreadable("not a requirement, nor a path", number)
    folder = _path(written["path"])
    if exists(folder.is_file):
        return None
    if not exists(folder.is_dir):
        raise document.unreadable("a local path that does not exist", number)
    extras = [each.strip() for each in (written["extras"] or "").split(",") if each.strip()]
    for each in extras:
        document.project(each, number)
    line = f"{local_line(folder, extras)} {written['marker'] or ''}".strip()
    there = folder.resolve()
    return line, local_build(document, there, there.name)


def local_build(document: Document, folder: str | Path, name: str) -> Wants:
    """What it takes to build the project in a folder, relative to that of ``document``.

    Raises ``UnreadableSource`` if its ``pyproject.toml`` cannot be used.
    """
    file = document.folder / folder / "pyproject.toml"
    if not exists(file.is_file):
        text = "".join(f"{each}\n" for each in FALLBACK)
        return Wants(requirements=(Requirements(f"{document.name}: to build {name}", text),))
    there = open_document(file)
    return build_requirements(there, there.shaped(Pyproject, there.toml()))


def exists(test: Callable[[], bool]) -> bool:
    """What ``Path.is_file`` or ``is_dir`` says, and no for what cannot be a path at all."""
    try:
        return test()
    except (OSError, ValueError):
        return False


def _path(text: str) -> Path:
    if text.startswith("file:"):
        return Path(url2pathname(urlsplit(text).path))
    return Path(text)
