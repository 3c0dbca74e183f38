"""Requirements of a version in parts: project, versions, and the case in which they apply."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from proxy.model import ProjectName, normalize

MAX_NEEDS = 500
"""Requirements of one version that are read; a page says so if there are more."""


class Need(NamedTuple):
    text: str
    """As written."""
    project: ProjectName | None
    """None: the text cannot be read, and is shown as it is."""
    versions: str = ""
    extras: str = ""
    """The extras of the project that are needed, in brackets."""
    marker: str = ""
    """The environment in which it is needed; empty: everywhere."""
    extra: str = ""
    """Needed with this extra only."""


def needs_of(requirements: Iterable[str]) -> list[Need]:
    """Those without an extra first."""
    found = [_need(text) for text in list(requirements)[:MAX_NEEDS]]
    return sorted(found, key=lambda need: need.extra)


@lru_cache(maxsize=2048)
def _need(text: str) -> Need:
    from packaging.requirements import Requirement  # slow to import

    try:
        read = Requirement(text)
        project = normalize(read.name)
    except (ValueError, RecursionError):
        return Need(text, None)
    marker = str(read.marker) if read.marker else ""
    extra, rest = _extra(marker)
    extras = f"[{','.join(sorted(read.extras))}]" if read.extras else ""
    versions = f"@ {read.url}" if read.url else str(read.specifier)
    return Need(text, project, versions, extras, rest, extra)


def _extra(marker: str) -> tuple[str, str]:
    """The extra that a plain marker names, and what is left of the marker."""
    parts = marker.split(" and ")
    for at, part in enumerate(parts):
        words = part.strip("()").split(" == ")
        if len(words) == 2 and words[0] == "extra":
            return words[1].strip("\"'"), " and ".join(parts[:at] + parts[at + 1 :])
    return "", marker


def fitting(need: Need, versions: Iterable[str]) -> str:
    """The first of these versions that meets the need; empty without one."""
    from packaging.requirements import Requirement

    try:
        wanted = Requirement(need.text).specifier
    except ValueError:
        return ""
    return next((each for each in versions if each and wanted.contains(each)), "")
