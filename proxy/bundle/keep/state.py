"""What is remembered of each keep table from one run to the next."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from proxy.bundle.keep.changes import Kept
from proxy.compression import compress, decompress
from proxy.storage.base import Records

_STATE_PREFIX = "kept/"


class State(msgspec.Struct, frozen=True):
    ran: float = 0.0
    """Unix time in seconds at which the last run began."""
    files: Sequence[Kept] = ()


class States:
    """By owner, see ``Keep``; shared by all processes on the cache."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self, owner: str) -> State:
        record = await self._records.get(_STATE_PREFIX + owner)
        try:
            return msgspec.json.decode(decompress(record), type=State) if record else State()
        except (msgspec.MsgspecError, OSError, EOFError):  # of another version, or damaged
            return State()

    async def put(self, owner: str, state: State) -> None:
        await self._records.put(_STATE_PREFIX + owner, compress(msgspec.json.encode(state)))

    async def retain(self, owners: Collection[str]) -> None:
        """Forget those of nobody of these."""
        for key in await self._records.keys(_STATE_PREFIX):
            if key.removeprefix(_STATE_PREFIX) not in owners:
                await self._records.forget(key)
