"""Adds to what is missing the rules that refuse it: a resolver knows only that it is not listed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from proxy.distributions import version_of
from proxy.indexes import Index
from proxy.model import ProjectName, normalize
from proxy.policies import Verdict, parse_version
from proxy.requirements.model import Missing

MAX_RELEASES = 3
"""Refused releases of a project that a reason names, the newest ones."""
_PROJECT_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)


async def with_refusals(
    index: Index, missing: Iterable[Missing], projects: Collection[ProjectName]
) -> tuple[Missing, ...]:
    """The same, each with the rules that refuse releases it is about. Nothing is requested.

    ``projects``: those whose pages were read.
    """
    found = _Refusals(index)
    return tuple([await _explained(each, found, projects) for each in missing])


async def _explained(
    missing: Missing, refusals: _Refusals, projects: Collection[ProjectName]
) -> Missing:
    if "\n" in missing.reason:  # of a resolver, perhaps about other projects than the line
        names = {normalize(each) for each in _PROJECT_NAME.findall(missing.reason)}
        asked = [(each, SpecifierSet()) for each in sorted(names & set(projects))]
    else:
        wanted = _required(missing.line)
        asked = [wanted] if wanted and wanted[0] in projects else []
    lines = [line for each in asked for line in await refusals.of(*each)]
    return replace(missing, reason="\n".join((missing.reason, *lines)))


def _required(line: str) -> tuple[ProjectName, SpecifierSet] | None:
    try:
        found = Requirement(line.partition(" --")[0])
        return normalize(found.name), found.specifier
    except (InvalidRequirement, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _Refusals:
    index: Index

    async def of(self, project: ProjectName, versions: SpecifierSet) -> list[str]:
        """A line for each of the newest refused releases that the specifier admits."""
        verdicts = (await self.index.explain(project)).refusals
        found: dict[Version, Verdict] = {}
        for filename, (first, *_) in verdicts.items():
            text = version_of(filename, project)
            if text and (version := parse_version(text)):
                found.setdefault(version, first)
        asked = (each for each in found if versions.contains(each, prereleases=True))
        return [
            f"refused by rule {found[each].rule}: {found[each].reason}"
            for each in sorted(asked, reverse=True)[:MAX_RELEASES]
        ]
