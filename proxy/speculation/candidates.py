"""The file that a resolver picks from a page: newest first, in slices, so that no answer waits.

Pages may have 10,000 files and more. They are looked at from the end, where the newest are,
and no further than it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import parse_tag
from packaging.version import InvalidVersion, Version

from proxy.bundle.targets import Target
from proxy.model import File, ProjectPage

SLICE = 128
"""Files that are looked at in one go."""
FURTHEST = 2048
"""Files after which an older one is not looked for."""
_SDIST = 1_000_000
"""The rank of a source distribution, after all wheels of its version."""


class _Found(NamedTuple):
    """Orders by what resolvers prefer."""

    final: bool
    version: Version
    rank: int
    """The lower the better fits the platform, negated."""
    build: str
    file: File


async def choose(
    page: ProjectPage, target: Target, specifiers: Iterable[SpecifierSet] = ()
) -> File | None:
    """The wheel that pip or uv would take for the target; None if it is no wheel, or nothing."""
    wanted = tuple(specifiers)
    best: _Found | None = None
    end = len(page.files)
    while end > max(0, len(page.files) - FURTHEST):
        start = max(0, end - SLICE)
        better = _best(page.files[start:end], page.project, target, wanted, best)
        if best is not None and better is best:
            break  # the newest of the slice before was no better than what came after it
        best, end = better, start
        await asyncio.sleep(0)
    return best.file if best and best.file.filename.endswith(".whl") else None


def _best(
    files: Sequence[File],
    project: str,
    target: Target,
    wanted: tuple[SpecifierSet, ...],
    best: _Found | None,
) -> _Found | None:
    for file in files:
        rank = _rank(file.filename, target)
        if rank is None or file.yanked:
            continue
        name = _name(file.filename, project)
        version = name and _version(name[0])
        if not version or not name or not _allowed(version, wanted):
            continue
        final = not version.is_prerelease or any(each.prereleases for each in wanted)
        found = _Found(final, version, -rank, name[1], file)
        if (best is None or found[:4] > best[:4]) and _runs(file.requires_python, target):
            best = found
    return best


def _rank(filename: str, target: Target) -> int | None:
    """How well the file fits, 0 is best; None if it does not."""
    if filename.endswith(".whl"):
        return _rank_of_tags("-".join(filename[:-4].rsplit("-", 3)[1:]), target)
    return _SDIST if filename.endswith((".tar.gz", ".zip")) else None


def _name(filename: str, project: str) -> tuple[str, str] | None:
    """Version and build number."""
    if filename.endswith(".whl"):
        parts = filename[:-4].split("-")
        return (parts[1], parts[2] if len(parts) == 6 else "") if len(parts) in (5, 6) else None
    stem = filename.removesuffix(".zip").removesuffix(".tar.gz")
    return stem[len(project) + 1 :], ""


@lru_cache(maxsize=4096)
def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


@lru_cache(maxsize=8192)
def _allowed(version: Version, wanted: tuple[SpecifierSet, ...]) -> bool:
    return all(each.contains(version, prereleases=True) for each in wanted)


@lru_cache(maxsize=64)
def _ranks(target: Target) -> dict[str, int]:
    return {str(tag): rank for rank, tag in reversed(list(enumerate(target.tags())))}


@lru_cache(maxsize=4096)
def _rank_of_tags(tags: str, target: Target) -> int | None:
    try:
        known = _ranks(target)
        return min((known[str(tag)] for tag in parse_tag(tags) if str(tag) in known), default=None)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _runs(requires_python: str | None, target: Target) -> bool:
    if not requires_python:
        return True
    try:
        return target.meets(SpecifierSet(requires_python))
    except InvalidSpecifier:
        return True
