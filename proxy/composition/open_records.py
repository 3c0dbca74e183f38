"""The records of the cache and its logs: in the folder, or in Redis for all replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from proxy.config import Settings, StorageTable
from proxy.storage import (
    NO_LEASES,
    Announce,
    Claims,
    DiskRecords,
    FilePurgeLog,
    Leases,
    PurgeLog,
    Records,
)

if TYPE_CHECKING:
    from proxy.scale import RedisLeases, SharedClaims

PURGED, REFRESHED, CLAIMED = "purged", "refreshed", "claimed"
"""Names of the logs."""


class RecordParts(msgspec.Struct, frozen=True):
    records: Records
    purges: PurgeLog
    refreshes: PurgeLog
    page_leases: Leases = NO_LEASES
    file_leases: Leases = NO_LEASES
    """Of files that replicas share."""
    announce: Announce | None = None
    """Has other replicas read the pages of projects again."""
    share_claims: Callable[[Claims], SharedClaims | None] = lambda claims: None
    """Makes private names known to other replicas; None: nothing is shared."""
    redis: RedisLeases | None = None
    """None: the records are in the folder."""


@asynccontextmanager
async def open_records(settings: Settings, folder: Path) -> AsyncIterator[RecordParts]:
    """Raises ``ConfigurationError`` for a folder or an address that cannot be used.

    Redis need not answer: it is asked when it is needed.
    """
    async with AsyncExitStack() as stack:
        table = settings.storage
        if table is None or table.records is None:
            yield _in_folder(folder, stack)
        else:
            yield await _in_redis(table, table.records, stack)


def _in_folder(folder: Path, stack: AsyncExitStack) -> RecordParts:
    records = DiskRecords(folder / "records")
    stack.push_async_callback(records.close)
    return RecordParts(records, FilePurgeLog(folder / PURGED), FilePurgeLog(folder / REFRESHED))


async def _in_redis(table: StorageTable, url: str, stack: AsyncExitStack) -> RecordParts:
    from proxy.scale import RedisLeases, RedisLink, RedisPurgeLog, RedisRecords, SharedClaims

    link = RedisLink(url)
    stack.push_async_callback(link.close)
    purges = await stack.enter_async_context(RedisPurgeLog(link, PURGED))
    refreshes = await stack.enter_async_context(RedisPurgeLog(link, REFRESHED))
    records = RedisRecords(link)
    claimed = await stack.enter_async_context(RedisPurgeLog(link, CLAIMED))
    leases = await stack.enter_async_context(RedisLeases(link))
    return RecordParts(
        records,
        purges,
        refreshes,
        page_leases=leases,
        file_leases=leases if table.files else NO_LEASES,
        announce=refreshes.announce,
        share_claims=lambda claims: SharedClaims(claims, records, claimed),
        redis=leases,
    )
