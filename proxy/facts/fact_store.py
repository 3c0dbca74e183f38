"""Facts of files by digest: in memory for rules, and in one record for each project."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import msgspec

from proxy.model import ProjectName
from proxy.runtime import BoundedDict
from proxy.storage import Key, RecordKind, Records

T = TypeVar("T")

MAX_PROJECTS = 4096
"""Projects whose facts are in memory."""
READ_AGAIN_AFTER = 30.0
"""Seconds until what other processes have learnt is noticed with a page, at most."""
MAX_BRIEF = 10_000
"""Facts that are in memory alone."""
MAX_FACTS = 20_000
"""Facts of one project; the oldest go first."""


class StoredFacts(Generic[T]):
    """Look-ups need no I/O once ``load`` has been called for the project."""

    def __init__(
        self,
        records: Records,
        kind: RecordKind,
        fact: type[T],
        clock: Callable[[], float],
        *namespace: str,
    ) -> None:
        """``fact``: the type of the values, which msgspec can encode. ``namespace``: the parts of
        keys before the project, if the kind has such."""
        self._clock = clock
        self._records = records
        self._kind = kind
        self._namespace = namespace
        self._decoder = msgspec.msgpack.Decoder(dict[str, fact])  # type: ignore[valid-type]
        self._projects: BoundedDict[ProjectName, dict[str, T]] = BoundedDict(MAX_PROJECTS)
        self._read: BoundedDict[ProjectName, float] = BoundedDict(MAX_PROJECTS)
        self._brief: BoundedDict[tuple[ProjectName, str], tuple[T, float]] = BoundedDict(MAX_BRIEF)

    def of(self, project: ProjectName) -> Callable[[str], T | None]:
        """Finds what is known of a file of the project, by its digest."""
        stored = (self._projects.get(project) or {}).get
        if not self._brief:
            return stored
        now = self._clock()

        def find(digest: str) -> T | None:
            fact, until = self._brief.get((project, digest), (None, 0.0))
            return fact if now < until else stored(digest)

        return find

    def note(self, project: ProjectName, facts: Mapping[str, T], until: float) -> None:
        """Keep facts by digest in memory alone, until an instant in Unix time: those that are
        stored count afterwards."""
        self._brief.update({(project, digest): (fact, until) for digest, fact in facts.items()})

    async def load(self, project: ProjectName) -> bool:
        """Read the record of the project, unless that has just been done.

        Returns whether another process has added, or a purge has dropped, facts since the last
        read.
        """
        now = self._clock()
        if project in self._projects and 0 <= now - self._read[project] < READ_AGAIN_AFTER:
            return False
        self._read[project] = now
        stored = await self._stored(project)
        known = self._projects.get(project)
        self._projects[project] = stored
        return known is not None and stored != known

    def read_again(self, project: ProjectName) -> None:
        """Read the record with the next ``load``: another process has learnt a fact."""
        if project in self._projects:
            self._read[project] = -math.inf

    async def add(self, project: ProjectName, facts: Mapping[str, T]) -> None:
        """Add facts by digest to those that other processes have stored meanwhile."""
        for digest in facts:
            self._brief.pop((project, digest), None)
        known = await self._stored(project) | self._projects.get(project, {}) | dict(facts)
        for oldest in list(known)[: max(0, len(known) - MAX_FACTS)]:
            del known[oldest]
        self._projects[project] = known
        self._read.setdefault(project, self._clock())
        await self._records.put(self._key(project), msgspec.msgpack.encode(known))

    def _key(self, project: ProjectName) -> Key:
        return Key(self._kind, *self._namespace, project)

    async def _stored(self, project: ProjectName) -> dict[str, T]:
        data = await self._records.get(self._key(project))
        try:
            found: dict[str, T] = self._decoder.decode(data) if data else {}
        except msgspec.DecodeError:  # of another version of the program
            return {}
        return found
