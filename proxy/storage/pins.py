"""Pins: which blobs eviction must not delete."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from proxy.runtime import compress, decompress
from proxy.storage.base import Records
from proxy.storage.keys import Key, RecordKind

_BY_HAND = "by-hand/"
"""The start of the owner of a blob that an operator has pinned: each is a record of its own, so
that processes that pin at the same time do not replace each other's."""


class Pins:
    """Keys of blobs that eviction must not delete, by owner; shared by all processes."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def all(self) -> set[str]:
        """The keys of all owners."""
        found: set[str] = set()
        for key in await self._records.keys(RecordKind.PINS):
            found |= _decode(await self._records.get(key))
        return found

    async def to_keep(self) -> set[str]:
        """As ``all``. Raises ``OSError`` if a pin may be missing, as records cannot be read."""
        before = self._records.failures
        found = await self.all()
        if self._records.failures != before:
            raise OSError("which files are pinned cannot be read")
        return found

    async def get(self, owner: str) -> set[str]:
        return _decode(await self._records.get(Key(RecordKind.PINS, owner)))

    async def put(self, owner: str, keys: Collection[str]) -> None:
        """Replace the keys of the owner."""
        packed = compress(msgspec.json.encode(sorted(keys)))
        await self._records.put(Key(RecordKind.PINS, owner), packed)

    async def pin(self, keys: Iterable[str]) -> None:
        """Pin the blobs by hand, until they are unpinned."""
        for key in keys:
            await self.put(_BY_HAND + key, [key])

    async def unpin(self, keys: Iterable[str]) -> None:
        """Take back what was pinned by hand; other owners may still pin the blobs."""
        for key in keys:
            await self._records.forget(Key(RecordKind.PINS, _BY_HAND + key))

    async def by_hand(self) -> set[str]:
        """The keys that were pinned by hand."""
        owners = [key.owner for key in await self._records.keys(RecordKind.PINS)]
        return {each.removeprefix(_BY_HAND) for each in owners if each.startswith(_BY_HAND)}

    async def retain(self, owners: Collection[str]) -> None:
        """Remove the pins of all other owners, but not what was pinned by hand."""
        for key in await self._records.keys(RecordKind.PINS):
            if key.owner not in owners and not key.owner.startswith(_BY_HAND):
                await self._records.forget(key)


def _decode(record: bytes | None) -> set[str]:
    """Empty for a damaged record, or one of another version of the program."""
    try:
        return msgspec.json.decode(decompress(record), type=set[str]) if record else set()
    except (msgspec.MsgspecError, OSError, EOFError):
        return set()
