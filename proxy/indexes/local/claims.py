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
        self._recorded: set[ProjectName] = set()

    @property
    def names(self) -> Set[ProjectName]:
        return self._names

    async def load(self) -> None:
        keys = await self._records.keys(self._prefix)
        found = {ProjectName(key.removeprefix(self._prefix)) for key in keys}
        self._names |= found
        self._recorded |= found

    def add(self, projects: Iterable[ProjectName]) -> None:
        self._names.update(projects)

    def renew(self, projects: Iterable[ProjectName]) -> None:
        """Record these again: nothing else remembers them, and old records are the first to go."""
        self._recorded.difference_update(projects)

    async def save(self) -> None:
        """Record what is new."""
        for project in sorted(self._names - self._recorded):
            await self._records.put(self._prefix + project, project.encode())
            self._recorded.add(project)

    async def release(self, project: ProjectName) -> None:
        self._names.discard(project)
        self._recorded.discard(project)
        await self._records.forget(self._prefix + project)
