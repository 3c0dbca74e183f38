"""Sources: reads names, requirements files, projects, lock files and access logs.

Nothing here uses a network. ``read_source`` chooses the reader for an argument.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from packaging.pylock import is_valid_pylock_path

from proxy.requirements.model import FileFilter, SourceRequirements
from proxy.requirements.sources.document import (
    SourceDocument,
    open_document,
    read_document,
    read_named_project,
)
from proxy.requirements.sources.local_projects import to_path
from proxy.requirements.sources.lock_files import read_pylock
from proxy.requirements.sources.logged_requests import read_access_log
from proxy.requirements.sources.missing_list import read_missing_list
from proxy.requirements.sources.pdm_lock import read_pdm_lock
from proxy.requirements.sources.poetry_lock import read_poetry_lock
from proxy.requirements.sources.pyproject import GroupSelection, read_pyproject
from proxy.requirements.sources.requirements_txt import read_requirements
from proxy.requirements.sources.uv_lock import read_uv_lock

__all__ = ["kind_of_source", "read_source"]

_FILES = (".txt", ".in", ".toml", ".lock", ".log", ".jsonl", ".json")
_LOCKS = {
    "uv_lock": read_uv_lock,
    "poetry_lock": read_poetry_lock,
    "pdm_lock": read_pdm_lock,
    "pylock": read_pylock,
}
_LOGS = (".log", ".jsonl", ".json")


def read_source(
    argument: str,
    file_filter: FileFilter,
    *,
    environ: Mapping[str, str] | None = None,
    extras: GroupSelection = "all",
    groups: GroupSelection = "all",
    latest: int | None = None,
) -> SourceRequirements:
    """The requirements of one SOURCE argument of the command line.

    An argument is a file or its ``file:`` address, a directory with a ``pyproject.toml``, a
    project's name with specifiers, or ``-`` for standard input: requirements, or the list of
    missing files that ``ready`` prints.
    ``extras`` and ``groups`` apply to ``pyproject.toml``: lock files are read whole.
    ``environ`` has the values of ``${NAME}`` in requirements files; ``latest`` applies to names.
    Raises ``UnreadableSource``.
    """
    if argument == "-":
        document = read_document("standard input", Path(), sys.stdin.buffer)
        return read_missing_list(document, file_filter, environ or {})
    path = to_path(argument)
    if _is_project_name(argument, path):
        return read_named_project(argument, latest)
    if path.is_dir():
        path /= "pyproject.toml"
    if path.suffix in _LOGS:
        return read_access_log(path)
    document = open_document(path)
    kind = kind_of_source(path, document)
    if kind == "pyproject":
        return read_pyproject(document, extras, groups)
    if kind == "requirements":
        return read_requirements(document, file_filter, environ or {})
    return _LOCKS[kind](document, file_filter)


def _is_project_name(argument: str, path: Path) -> bool:
    """Whether the argument is the name of a project on an index.

    A directory of that name is ignored unless it has a ``pyproject.toml``: then the argument is
    the directory, whose name is possibly private and must not be requested from upstream.
    """
    if argument.startswith(".") or "/" in argument.partition("@")[0] or argument.endswith(_FILES):
        return False
    try:
        return not path.exists() or (path.is_dir() and not (path / "pyproject.toml").exists())
    except (OSError, ValueError):
        return True


def kind_of_source(path: Path, document: SourceDocument) -> str:
    """The kind of a file by its name, or else by its content: "requirements", "pyproject", or that
    of a lock file. Raises ``UnreadableSource``."""
    if is_valid_pylock_path(path):
        return "pylock"
    if path.name in ("uv.lock", "poetry.lock", "pdm.lock", "pyproject.toml"):
        return path.name.removesuffix(".toml").replace(".", "_")
    if path.suffix not in (".lock", ".toml"):
        return "requirements"
    keys = document.toml()
    inner = keys.get("metadata")
    marks = {
        "pylock": "packages" in keys and "lock-version" in keys,
        "poetry_lock": isinstance(inner, dict) and "content-hash" in inner,
        "pdm_lock": isinstance(inner, dict) and "lock_version" in inner,
        "uv_lock": isinstance(keys.get("version"), int),
        "pyproject": bool({"project", "build-system", "dependency-groups"} & keys.keys()),
    }
    for kind, found in marks.items():
        if found:
            return kind
    raise document.unreadable("not a pyproject.toml or a lock file of uv, Poetry, PDM or pylock")
