"""Which projects are this directory's own, remembered even when their last file is deleted:
a private name that falls free would be asked for upstream, where anybody may have taken it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set

from proxy.model import ProjectName
from proxy.simple.names import normalize
from proxy.storage.base import Records

_log = logging.getLogger(__name__)


class Claims:
    """Project names in memory, each with a record of its own."""

    def __init__(self, root: str, records: Records) -> None:
        self._prefix = f"claim/{root}/"
        self._records = records
        self._names: set[ProjectName] = set()
        self._recorded: set[ProjectName] = set()

    @property
    def names(self) -> Set[ProjectName]:
        return self._names

    async def load(self) -> None:
        keys = await self._records.keys(self._prefix)
        found = {name for key in keys if (name := _name(key.removeprefix(self._prefix)))}
        self._names |= found
        self._recorded |= found

    def add(self, projects: Iterable[ProjectName]) -> None:
        self._names.update(projects)

    async def save(self) -> None:
        """Record what is new."""
        for project in sorted(self._names - self._recorded):
            await self._records.put(self._prefix + project, project.encode())
            self._recorded.add(project)

    async def release(self, project: ProjectName) -> None:
        self._names.discard(project)
        self._recorded.discard(project)
        await self._records.forget(self._prefix + project)


def _name(text: str) -> ProjectName | None:
    """None for what is not one: records of another root below this one start the same."""
    try:
        return normalize(text)
    except ValueError:
        return None
