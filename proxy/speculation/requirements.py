"""The projects that a distribution needs, as its core metadata tell (PEP 508)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from packaging.markers import InvalidMarker, UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from proxy.model import ProjectName, normalize

MAX_REQUIREMENTS = 500
"""Requirements of one distribution that are looked at."""
_SLICE = 8
"""Requirements that are read in one go."""
_LINE = re.compile(rb"^requires-dist:[ \t]*(.+?)\r?$", re.IGNORECASE | re.MULTILINE)
_BODY = re.compile(rb"\r?\n\r?\n")


class RequiredProject(NamedTuple):
    project: ProjectName
    specifier: SpecifierSet
    extras: frozenset[str]


async def required_projects(
    metadata: bytes, markers: Mapping[str, str], extras: Iterable[str] = ()
) -> list[RequiredProject]:
    """What is needed where the markers have these values and the extras are asked for."""
    header = _BODY.split(metadata, maxsplit=1)[0]
    wanted = ("", *extras)
    found = []
    for number, line in enumerate(_LINE.findall(header)[:MAX_REQUIREMENTS]):
        if number % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        if len(wanted) == 1 and b"extra ==" in line:
            continue  # most lines of large projects; reading them costs more than a rare miss
        if (need := _need(line.decode("utf-8", "replace"), markers, wanted)) is not None:
            found.append(need)
    return found


def _need(text: str, markers: Mapping[str, str], extras: Iterable[str]) -> RequiredProject | None:
    try:
        requirement = _parsed(text)
        marker = requirement.marker
        if requirement.url or (
            marker and not any(marker.evaluate({**markers, "extra": extra}) for extra in extras)
        ):
            return None
        project = normalize(requirement.name)
    except (
        InvalidRequirement,
        InvalidMarker,
        UndefinedComparison,
        UndefinedEnvironmentName,
        RecursionError,
        ValueError,
    ):
        return None
    return RequiredProject(project, requirement.specifier, frozenset(requirement.extras))


@lru_cache(maxsize=2048)
def _parsed(text: str) -> Requirement:
    return Requirement(text)
