"""The project list of an index, with the whole lists of upstreams where that is set.

Such a list may have a million names: sets of them are combined lazily, and never in memory.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import groupby

from proxy.indexes.base import Index
from proxy.indexes.fallthrough import Fallthrough
from proxy.indexes.guarded import Guarded
from proxy.indexes.merged import Merged
from proxy.indexes.mirror.mirror import Mirror
from proxy.indexes.routed import Routed
from proxy.model import ProjectName
from proxy.runtime import in_thread
from proxy.storage import NameList


class LongList(Set[ProjectName]):
    """Names of several sets, each with a test; sorted when they are iterated."""

    def __init__(self, parts: Sequence[tuple[Set[str], Callable[[ProjectName], bool]]]) -> None:
        self._parts = tuple(parts)

    @property
    def version(self) -> tuple[object, ...]:
        """Equal versions mean equal names, while the rules stay the same."""
        return tuple(
            part.version if isinstance(part, NameList) else frozenset(part)
            for part, _ in self._parts
        )

    def only(self, test: Callable[[ProjectName], bool]) -> LongList:
        """The names that pass the test as well."""
        return LongList([(part, _both(before, test)) for part, before in self._parts])

    def with_others(self, other: Set[ProjectName]) -> LongList:
        more = other._parts if isinstance(other, LongList) else ((other, _all),)
        return LongList((*self._parts, *more))

    def __iter__(self) -> Iterator[ProjectName]:
        for name, _ in groupby(heapq.merge(*(_passing(*part) for part in self._parts))):
            yield name

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(
            name in part and test(ProjectName(name)) for part, test in self._parts
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)


async def listed_projects(index: Index) -> Set[ProjectName]:
    """As ``Index.projects``, and all projects of upstreams whose lists are shown."""
    if isinstance(index, Mirror):
        stored, names = await index.projects(), await index.upstream_names()
        return LongList([(stored, _all), (names, _all)]) if names is not None else stored
    if isinstance(index, Guarded):
        return _only(await listed_projects(index.index), index.admits)
    if isinstance(index, Fallthrough | Merged):
        return _united([await listed_projects(each) for each in index.indexes])
    if isinstance(index, Routed):
        parts = [
            _only(await listed_projects(target), _leads_to(index, target))
            for target in index.indexes
        ]
        return _united(parts)
    return await index.projects()


async def names_containing(index: Index, word: str, limit: int) -> list[ProjectName]:
    """Names with the word in them on the lists of upstreams that are shown; blocks for
    milliseconds on the memory of the list."""
    if isinstance(index, Mirror):
        names = await index.upstream_names()
        found = await in_thread(names.containing, word, limit) if names is not None else []
        return [ProjectName(name) for name in found]
    if isinstance(index, Guarded):
        return [
            name for name in await names_containing(index.index, word, limit) if index.admits(name)
        ]
    members = index.indexes if isinstance(index, Fallthrough | Merged | Routed) else ()
    merged: dict[ProjectName, None] = {}
    for member in members:
        leads = _leads_to(index, member) if isinstance(index, Routed) else _all
        merged |= dict.fromkeys(
            name for name in await names_containing(member, word, limit) if leads(name)
        )
    return list(merged)[:limit]


def _leads_to(index: Routed, target: Index) -> Callable[[ProjectName], bool]:
    def test(project: ProjectName) -> bool:
        route = index.route(project)
        return route is not None and route.target is target

    return test


def _only(names: Set[ProjectName], test: Callable[[ProjectName], bool]) -> Set[ProjectName]:
    return names.only(test) if isinstance(names, LongList) else set(filter(test, names))


def _united(parts: Sequence[Set[ProjectName]]) -> Set[ProjectName]:
    short: set[ProjectName] = set()
    long = LongList(())
    for part in parts:
        if isinstance(part, LongList):
            long = long.with_others(part)
        else:
            short |= part
    return long.with_others(short) if long._parts else short


def _passing(names: Set[str], test: Callable[[ProjectName], bool]) -> Iterator[ProjectName]:
    ordered = names if isinstance(names, NameList) else sorted(names)
    return (ProjectName(name) for name in ordered if test(ProjectName(name)))


def _both(
    one: Callable[[ProjectName], bool], other: Callable[[ProjectName], bool]
) -> Callable[[ProjectName], bool]:
    return other if one is _all else lambda project: one(project) and other(project)


def _all(project: ProjectName) -> bool:
    return True
