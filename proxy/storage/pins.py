"""Which stored files stay however full the store is: a set of keys for each who wants them."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from proxy.compression import compress, decompress
from proxy.storage.base import Records

_PIN_PREFIX = "pin/"


class Pins:
    """Shared by all processes on the cache, so that none deletes what another one pinned."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def all(self) -> set[str]:
        """The keys that somebody wants kept."""
        found: set[str] = set()
        for key in await self._records.keys(_PIN_PREFIX):
            found |= _decode(await self._records.get(key))
        return found

    async def get(self, owner: str) -> set[str]:
        return _decode(await self._records.get(_PIN_PREFIX + owner))

    async def put(self, owner: str, keys: Collection[str]) -> None:
        """From now on these and no others are the owner's."""
        packed = compress(msgspec.json.encode(sorted(keys)))
        await self._records.put(_PIN_PREFIX + owner, packed)

    async def retain(self, owners: Collection[str]) -> None:
        """Let go what is of nobody of these."""
        for key in await self._records.keys(_PIN_PREFIX):
            if key.removeprefix(_PIN_PREFIX) not in owners:
                await self._records.forget(key)


def _decode(record: bytes | None) -> set[str]:
    """Nothing for a record that is of another version, or damaged."""
    try:
        return msgspec.json.decode(decompress(record), type=set[str]) if record else set()
    except (msgspec.MsgspecError, OSError, EOFError):
        return set()
