"""Names that invite confusion: private and upstream at once, or nearly.

Only what is known here is compared, that is stored pages and lists of upstreams: asking an
upstream for a private name would give the name away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Set
from contextlib import asynccontextmanager
from string import ascii_lowercase, digits

from proxy.composition import Proxy
from proxy.config import FallthroughTable, Settings, UpstreamTable
from proxy.indexes import Guarded, Index, Mirror, Routed, listed_projects
from proxy.model import File, ProjectName
from proxy.policies import matcher
from proxy.runtime import end_tasks

log = logging.getLogger(__name__)

INTERVAL = 86400.0
"""Seconds between two comparisons of a running server."""
MAX_SHOWN = 10
"""Names in one line."""
MAX_COMPARED = 1000
"""Private names that are compared with similar ones."""
MAX_SAMPLED = 10
"""Stored pages that are looked at for upload times."""
MIN_LENGTH = 4
"""Characters of a name that is compared: short ones resemble too many."""
DATED = ("cooldown",)
"""Kinds of policies that need upload times."""
_CHARACTERS = ascii_lowercase + digits + "-"


async def notes(settings: Settings, proxy: Proxy) -> list[str]:
    """Findings for the operator, one sentence each."""
    private: set[ProjectName] = set()
    for directory in proxy.directories:
        private |= await directory.projects()
    found: list[str] = []
    for node in proxy.tree.leaves:
        if isinstance(node.table, UpstreamTable):
            names = await _known_upstream(proxy.indexes[node.name])
            found += _overlaps(node.name, private, names, merged=_merged(settings))
            found += _reserved(node.name, node.table.reserved, names)
            found += await asyncio.to_thread(_near_misses, node.name, private, names)
            found += await _undated(settings, node.name, node.table, proxy.indexes[node.name])
    return found


async def names_by_rule(proxy: Proxy) -> list[str]:
    """Which of the names that are known here each rule with a pattern is about.

    A pattern may catch more than was meant, and its index may lack it.
    """
    known = [await proxy.indexes[leaf.name].projects() for leaf in proxy.tree.leaves]
    every = sorted(frozenset[ProjectName]().union(*known))
    found = []
    for index in proxy.indexes.values():
        routed = index.index if isinstance(index, Guarded) else index
        if isinstance(routed, Routed):
            for route in routed.routes:
                caught = [name for name in every if routed.route(name) is route]
                if caught and route.pattern != "*":
                    rule = f"rule {route.pattern} of {index.name}"
                    found.append(f"{rule}: {_shown(caught)} known here")
    return found


@asynccontextmanager
async def watching_names(settings: Settings, proxy: Proxy) -> AsyncIterator[None]:
    """Log the notes of ``notes`` in the background, and new ones each day."""
    task = asyncio.create_task(_watch(settings, proxy))
    try:
        yield
    finally:
        await end_tasks(task)


async def _watch(settings: Settings, proxy: Proxy) -> None:
    logged: set[str] = set()
    while True:
        for note in await notes(settings, proxy):
            if note not in logged:
                logged.add(note)
                log.warning("%s", note)
        await asyncio.sleep(INTERVAL)


async def _known_upstream(index: Index) -> Set[ProjectName]:
    """All names that are known of the upstream, reserved ones too."""
    while isinstance(index, Guarded):
        index = index.index
    return await listed_projects(index) if isinstance(index, Mirror) else set()


def _merged(settings: Settings) -> list[str]:
    tables = settings.indexes.values()
    return [each for table in tables if isinstance(table, FallthroughTable) for each in table.merge]


def _overlaps(
    index: str, private: Set[ProjectName], names: Set[ProjectName], *, merged: list[str]
) -> Iterator[str]:
    expected = matcher(merged)
    both = [name for name in sorted(private) if name in names and not expected(name)]
    if both:
        yield (
            f"overlap: {_shown(both)} in a private directory and in {index}; an index that asks the"
            " directory first serves the private one alone"
        )


def _reserved(index: str, patterns: list[str], names: Set[ProjectName]) -> Iterator[str]:
    matches = matcher(patterns)
    taken = sorted(filter(matches, names)) if patterns else []
    if taken:
        yield f"reserved: {_shown(taken)} in {index}, registered there; never requested from it"


def _near_misses(index: str, private: Set[ProjectName], names: Set[ProjectName]) -> list[str]:
    found = []
    for name in sorted(private)[:MAX_COMPARED]:
        if len(name) >= MIN_LENGTH:
            similar = sorted({each for each in similar_names(name) if each in names} - private)
            if similar:
                found.append(f"near miss: {_shown(similar)} in {index}, like the private {name}")
    return found


def similar_names(name: str) -> Iterator[ProjectName]:
    """Names that differ by one character, by swapped neighbours, or by having no ``-`` at all."""
    yield ProjectName(name.replace("-", ""))
    for at in range(len(name) + 1):
        before, rest = name[:at], name[at:]
        for character in _CHARACTERS:
            yield ProjectName(before + character + rest)
            if rest and rest[0] != character:
                yield ProjectName(before + character + rest[1:])
        if rest:
            yield ProjectName(before + rest[1:])
        if len(rest) > 1 and rest[0] != rest[1]:
            yield ProjectName(before + rest[1] + rest[0] + rest[2:])


async def _undated(settings: Settings, name: str, table: UpstreamTable, index: Index) -> list[str]:
    """A policy of time on an index that gives no upload times refuses or passes everything."""
    kinds = {each: settings.all_policies[each].kind for each in table.policies}
    dated = [policy for policy, kind in kinds.items() if kind in DATED]
    if not dated:
        return []
    files: list[File] = []
    for project in sorted(await index.projects())[:MAX_SAMPLED]:
        listed = (await index.explain(project)).listed
        files += listed.files if listed else ()
    if not files or any(file.uploaded for file in files):
        return []
    return [f"policies.{dated[0]}: {name} gives no upload times, which this policy needs"]


def _shown(names: list[ProjectName]) -> str:
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return f"{', '.join(names[:MAX_SHOWN])}{more} {'is' if len(names) == 1 else 'are'}"
