"""Which projects are this directory's own, remembered even when their last file is deleted:
a private name that falls free would be asked for upstream, where anybody may have taken it."""

from __future__ import annotations

from collections.abc import Iterable, Set
from urllib.parse import quote

from proxy.model import ProjectName
from proxy.storage.base import Records


class Claims:
    """Project names in memory, each with a record of its own."""

    def __init__(self, root: str, records: Records) -> None:
        self._prefix = f"claim/{quote(root, safe='')}/"
        self._records = records
        self._names: set[ProjectName] = set()
        self._due: set[ProjectName] = set()
        """Those of them that have to be recorded."""

    @property
    def names(self) -> Set[ProjectName]:
        return self._names

    async def load(self) -> None:
        keys = await self._records.keys(self._prefix)
        self._names.update(ProjectName(key.removeprefix(self._prefix)) for key in keys)

    def add(self, projects: Iterable[ProjectName]) -> None:
        new = set(projects) - self._names
        self._names |= new
        self._due |= new

    def renew(self, projects: Iterable[ProjectName]) -> None:
        """Record these again: nothing else remembers them, and old records are the first to go."""
        self._due |= self._names.intersection(projects)

    async def save(self) -> None:
        """Record what is new."""
        for project in sorted(self._due):
            if project in self._due:  # else it was released meanwhile
                await self._records.put(self._prefix + project, project.encode())
                self._due.discard(project)

    async def release(self, project: ProjectName) -> None:
        self._names.discard(project)
        self._due.discard(project)
        await self._records.forget(self._prefix + project)
