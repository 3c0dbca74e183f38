"""Private names that replicas share: no replica requests a name that one of them has found.

Each replica has all names in a file of its own, so that none is lost with Redis.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from urllib.parse import quote, unquote_to_bytes

from proxy.scale.redis_purge_log import RedisPurgeLog
from proxy.scale.redis_records import RedisRecords
from proxy.storage import MISSED, Claims, Key, RecordKind

Claim = tuple[str, str]
"""A name, and the directory that has files of it."""
GRACE = 5.0
"""Seconds after a purge in which the replica that still has files of the name claims it again."""


class SharedClaims:
    """Compares the claims of this replica with those of the others, again and again."""

    def __init__(
        self,
        claims: Claims,
        records: RedisRecords,
        log: RedisPurgeLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``log``: by which replicas announce that they have written claims to the records."""
        self._claims = claims
        self._records = records
        self._log = log
        self._clock = clock
        self._given: set[Claim] = set()
        self._purged: dict[str, float] = {}
        """Until when the replica with files of the name may claim it again."""

    async def exchange(self, purged: Collection[str] = ()) -> set[str]:
        """Give the new claims of this replica to the others, and take those that they have found.

        ``purged``: names that users give up on all replicas, unless one has files of them. Returns
        the names that are new here. Takes microseconds if there is nothing new.
        """
        self._purged |= dict.fromkeys(purged, self._clock() + GRACE)
        self._given = {each for each in self._given if each[0] not in purged}
        news = self._log.read_new()
        if MISSED in news:  # Redis may have been emptied
            self._given.clear()
        try:
            taken = await self._take() if news else set()
            await self._give(filter(self._is_ours, self._claims.all() - self._given))
            await self._give_up()
        except OSError:  # tried again with the next call
            return set()
        return taken

    def _is_ours(self, claim: Claim) -> bool:
        """Whether no user has given it up, or files of it are here."""
        project, directory = claim
        return project not in self._purged or directory in self._claims.served

    async def _give(self, claims: Iterable[Claim]) -> None:
        given = set(claims)
        for project, directory in sorted(given):
            owner = quote(os.fsencode(directory), safe="")
            await self._records.put(Key(RecordKind.CLAIM, owner, project), b"")
        if given:
            await self._log.announce(["claims"])
            self._given |= given

    async def _take(self) -> set[str]:
        found = {
            (key.project, os.fsdecode(unquote_to_bytes(key.namespace)))
            for key in await self._records.search(RecordKind.CLAIM)
        }
        new = found - self._claims.all()
        for project, directory in new:
            self._claims.add(directory, [project])
        self._given |= found
        return {project for project, _ in new}

    async def _give_up(self) -> None:
        """The purged names that no replica has claimed again."""
        now = self._clock()
        due = {project for project, until in self._purged.items() if now >= until}
        if due:
            claimed = {key.project for key in await self._records.search(RecordKind.CLAIM)}
            await self._claims.give_up(due - claimed)
            for project in due:
                del self._purged[project]
