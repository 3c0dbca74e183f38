"""Which files upstream has listed with other bytes than before: counted, across restarts."""

from __future__ import annotations

import msgspec

from proxy.storage.base import Records

_CHANGED_PREFIX = "changed/"


class ChangedFile(msgspec.Struct, frozen=True):
    seen: str
    """The digest it had before, as in ``File.digest``."""
    now: str
    noticed: float
    """Unix time in seconds at which it was noticed first."""


class ChangedFiles:
    """Each change counts once, however often and by whomever it is noticed."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def note(self, namespace: str, project: str, filename: str, change: ChangedFile) -> None:
        key = f"{_CHANGED_PREFIX}{namespace}/{project}/{change.now}/{filename}"
        if await self._records.get(key) is None:
            await self._records.put(key, msgspec.json.encode(change))

    async def count(self) -> int:
        return len(await self._records.keys(_CHANGED_PREFIX))

    async def all(self) -> list[tuple[str, str, ChangedFile]]:
        """By project and file name."""
        found = []
        for key in await self._records.keys(_CHANGED_PREFIX):
            _, _, project, _, filename = key.split("/", 4)
            if change := _decoded(await self._records.get(key)):
                found.append((project, filename, change))
        return sorted(found, key=lambda each: (*each[:2], each[2].noticed))


def _decoded(record: bytes | None) -> ChangedFile | None:
    try:
        return msgspec.json.decode(record, type=ChangedFile) if record else None
    except msgspec.MsgspecError:
        return None
