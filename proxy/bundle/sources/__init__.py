"""Sources: what names, requirements, projects, lock files and access logs ask for.

Nothing here goes to a network; ``read_source`` finds the reader for an argument.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from packaging.pylock import is_valid_pylock_path

from proxy.bundle.choice import Choice
from proxy.bundle.sources import (
    access_log,
    missing,
    names,
    pdm_lock,
    poetry_lock,
    pylock,
    pyproject,
    requirements,
    uv_lock,
)
from proxy.bundle.sources.document import Document, open_document, read_document
from proxy.bundle.sources.local import path_of
from proxy.bundle.sources.pyproject import Some
from proxy.bundle.wants import Wants

__all__ = ["read_source"]

_FILES = (".txt", ".in", ".toml", ".lock", ".log", ".jsonl", ".json")
_LOCKS = {
    "uv_lock": uv_lock.read,
    "poetry_lock": poetry_lock.read,
    "pdm_lock": pdm_lock.read,
    "pylock": pylock.read,
}
_LOGS = (".log", ".jsonl", ".json")


def read_source(
    argument: str,
    choice: Choice,
    *,
    environ: Mapping[str, str] | None = None,
    extras: Some = "all",
    groups: Some = "all",
    latest: int | None = None,
) -> Wants:
    """What one argument of the command line asks for.

    An argument is a file or its ``file:`` address, a directory with a ``pyproject.toml``, a
    project's name with specifiers, or ``-`` for standard input: requirements, and files as
    ``ready`` lists them.
    ``extras`` and ``groups`` are for ``pyproject.toml``: lock files are taken whole.
    ``environ`` is what ``${NAME}`` in requirements files refers to; ``latest`` is for names.
    Raises ``UnreadableSource``.
    """
    if argument == "-":
        document = read_document("standard input", Path(), sys.stdin.buffer)
        return missing.read(document, choice, environ or {})
    path = path_of(argument)
    if _is_name(argument, path):
        return names.read(argument, latest)
    if path.is_dir():
        path /= "pyproject.toml"
    if path.suffix in _LOGS:
        return access_log.read(path)
    document = open_document(path)
    kind = _kind(path, document)
    if kind == "pyproject":
        return pyproject.read(document, extras, groups)
    if kind == "requirements":
        return requirements.read(document, choice, environ or {})
    return _LOCKS[kind](document, choice)


def _is_name(argument: str, path: Path) -> bool:
    """Whether it can only be meant as a project on an index.

    A directory of that name says nothing, unless it is a project itself: then that is meant,
    whose name may be nobody else's business.
    """
    if argument.startswith(".") or "/" in argument.partition("@")[0] or argument.endswith(_FILES):
        return False
    try:
        return not path.exists() or (path.is_dir() and not (path / "pyproject.toml").exists())
    except (OSError, ValueError):
        return True


def _kind(path: Path, document: Document) -> str:
    """Which reader a file is for: by its name, or else by what is in it."""
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
    raise document.unreadable("not a project or lock file of a kind that is known")
