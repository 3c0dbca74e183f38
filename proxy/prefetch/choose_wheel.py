"""Chooses the wheel of a page that a resolver would choose.

Pages may have 10,000 files and more. They are read from the end, where the newest files are, in
slices, so that other work can run in between, and no further than necessary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.tags import parse_tag
from packaging.version import Version

from proxy.distributions import Target
from proxy.model import File, ProjectPage
from proxy.runtime import BoundedDict

SLICE_SIZE = 128
"""Files that are read in one turn of the event loop."""
MAX_CANDIDATES = 2048
"""Files after which older ones are not read."""
_SDIST = -1_000_000
"""The fit of a source distribution, worse than that of any wheel of its version."""
_NONE = _SDIST - 1
"""The fit of a file that cannot be installed."""


class _BestCandidate(NamedTuple):
    """Its order is that of preference."""

    final: bool
    version: Version
    fit: int
    build: str
    file: File


async def choose_wheel(
    page: ProjectPage, target: Target, specifiers: Iterable[SpecifierSet] = ()
) -> File | None:
    """The wheel that pip or uv would choose for the target; None if they would choose an sdist,
    or nothing."""
    found = await choose_file(page, target, specifiers)
    return found if found and found.filename.endswith(".whl") else None


async def choose_file(
    page: ProjectPage, target: Target, specifiers: Iterable[SpecifierSet] = ()
) -> File | None:
    """The file that pip or uv would choose for the target; None if none fits."""
    wanted = tuple(specifiers)
    best: _BestCandidate | None = None
    end = len(page.files)
    while end > max(0, len(page.files) - MAX_CANDIDATES):
        start = max(0, end - SLICE_SIZE)
        better = _best(page.files[start:end], len(page.project) + 1, target, wanted, best)
        if best is not None and better is best:
            break  # older files are not better
        best, end = better, start
        if end:
            await asyncio.sleep(0)
    return best.file if best else None


def _best(
    files: Sequence[File],
    at: int,
    target: Target,
    wanted: tuple[SpecifierSet, ...],
    best: _BestCandidate | None,
) -> _BestCandidate | None:
    """The best of these and ``best``; ``at``: index of the version in a filename."""
    fits = _fits(target)
    prereleases = any(each.prereleases for each in wanted)
    for file in files:
        text, build, tags = _parts(file.filename, at)
        fit = fits.get(tags)
        if fit is None:
            fit = fits[tags] = _fit(tags, target)
        version = _version(text) if fit != _NONE and not file.yanked else None
        if version is None:
            continue
        found = _BestCandidate(prereleases or not version.is_prerelease, version, fit, build, file)
        if (
            (best is None or found[:4] > best[:4])
            and _allowed(version, wanted)
            and _runs(file.requires_python, target)
        ):
            best = found
    return best


def _parts(filename: str, at: int) -> tuple[str, str, str]:
    """Version, build number and tags; for a source distribution the tags are empty."""
    if filename.endswith(".whl"):
        stem, *tags = filename[:-4].rsplit("-", 3)
        version, _, build = stem[at:].partition("-")
        return version, build, "-".join(tags)
    if filename.endswith((".tar.gz", ".zip")):
        return filename[at:].removesuffix(".zip").removesuffix(".tar.gz"), "", ""
    return "", "", "none"


@lru_cache(maxsize=64)
def _fits(target: Target) -> BoundedDict[str, int]:
    """The fit of tags that were ranked before."""
    return BoundedDict(4096)


def _fit(tags: str, target: Target) -> int:
    """The higher the better; ``_NONE`` if it cannot be installed."""
    if not tags:
        return _SDIST
    try:
        known = _ranks(target)
        return max((known.get(str(tag), _NONE) for tag in parse_tag(tags)), default=_NONE)
    except ValueError:
        return _NONE


@lru_cache(maxsize=64)
def _ranks(target: Target) -> dict[str, int]:
    return {str(tag): -rank for rank, tag in reversed(list(enumerate(target.tags())))}


@lru_cache(maxsize=4096)
def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        return None


@lru_cache(maxsize=4096)
def _allowed(version: Version, wanted: tuple[SpecifierSet, ...]) -> bool:
    return all(each.contains(version, prereleases=True) for each in wanted)


@lru_cache(maxsize=1024)
def _runs(requires_python: str | None, target: Target) -> bool:
    if not requires_python:
        return True
    try:
        return target.meets(SpecifierSet(requires_python))
    except ValueError:  # InvalidSpecifier, or a number of thousands of digits
        return True
