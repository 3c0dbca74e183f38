"""Records in Redis or Valkey, which all replicas share.

The records of one kind and one project are the fields of one hash; other kinds have one hash, or
one for each first two digits of a digest. The braces in the name of a hash keep all hashes of a
project in one slot of a cluster, as scripts need.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.scale.redis_link import RedisAway, RedisLink, Script
from proxy.storage import Key, RecordKind, prefix_of, with_checksum, without_checksum

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger(__name__)

KEEP = 30 * 86_400_000
"""Milliseconds since the last write after which Redis drops a record of an ``_EXPIRING`` kind."""
_EXPIRING = {
    *(RecordKind.PAGE, RecordKind.DOCUMENT, RecordKind.PROVENANCE, RecordKind.DECISIONS),
    *(RecordKind.PROOFS, RecordKind.LICENCES, RecordKind.INSTALL_HISTORY),
    RecordKind.LOCAL_METADATA,
}
"""Kinds that can be fetched or computed again; ``maxmemory-policy volatile-lfu`` evicts these."""
_SHARD = 2
"""Digits of a digest that name the hash of its record."""
_SCANNED = 1000
"""Names that Redis looks at in one step of a search."""
_SEARCH_TIMEOUT = 60.0
"""Seconds for all steps of a search."""

_PUT_IF = Script("""
local found = redis.call('hget', KEYS[1], ARGV[1])
if (found and redis.sha1hex(found) or '') ~= ARGV[2] then return 0 end
for i = 2, #KEYS do
  local at = i * 4 - 5
  if ARGV[at + 1] == 'put' then redis.call('hset', KEYS[i], ARGV[at], ARGV[at + 2])
  elseif ARGV[at + 1] == 'forget' then redis.call('hdel', KEYS[i], ARGV[at]) end
  if tonumber(ARGV[at + 3]) > 0 then redis.call('pexpire', KEYS[i], ARGV[at + 3]) end
end
return 1
""")
"""``KEYS``: of the tested record, and of each change. ``ARGV``: the field of the tested record and
the SHA-1 of its value, empty if it was absent; then for each change: the field, ``put``,
``forget`` or ``keep``, the value, and milliseconds until it expires, 0 for none."""


class _Place(NamedTuple):
    """The place of a record."""

    name: str
    """Of the hash."""
    field: str
    keep: int = 0
    """Milliseconds; 0: until it is forgotten."""


class RedisRecords:
    """``Records`` of all replicas. ``put_if`` writes records of one project only."""

    def __init__(self, link: RedisLink) -> None:
        self.failures = 0
        self._link = link
        self._failing = False

    async def get(self, key: Key) -> bytes | None:
        place = self._place(key)
        try:
            found = await self._link.call(lambda client: _hget(client, place))
        except RedisAway as error:
            self._report(error)
            return None
        return without_checksum(found)

    async def put(self, key: Key, value: bytes) -> None:
        place = self._place(key)

        async def write(client: Redis) -> bool:
            pipeline = client.pipeline(transaction=False)
            pipeline.hset(place.name, place.field, with_checksum(value))
            if place.keep:
                pipeline.pexpire(place.name, place.keep)
            await pipeline.execute()
            return True

        await self._write(write)

    async def put_if(
        self, key: Key, test: Callable[[bytes | None], bool], values: Mapping[Key, bytes | None]
    ) -> bool:
        tested = self._place(key)
        keys, changes = self._changes(values)

        async def attempt(client: Redis) -> bool | None:
            """None: the tested record was changed meanwhile."""
            found = await _hget(client, tested)
            if not test(without_checksum(found)):
                return False
            seen = "" if found is None else hashlib.sha1(found, usedforsecurity=False).hexdigest()
            args = (tested.field, seen, *changes)
            return True if await _PUT_IF(client, [tested.name, *keys], args) else None

        while True:
            done = await self._write(attempt)
            if done is not None:
                return bool(done)

    async def forget(self, key: Key) -> None:
        place = self._place(key)

        async def write(client: Redis) -> bool:
            await client.hdel(place.name, place.field)
            return True

        await self._write(write)

    async def keys(self, kind: RecordKind | None = None, *parts: str) -> list[Key]:
        try:
            return await self.search(kind, *parts)
        except RedisAway as error:
            self._report(error)
            return []

    async def search(self, kind: RecordKind | None = None, *parts: str) -> list[Key]:
        """As ``keys``. Raises ``RedisAway``."""
        prefix = prefix_of(kind, parts)
        found: set[str] = set()
        names = await self._names(kind, parts)
        for start in range(0, len(names), _SCANNED):
            some = names[start : start + _SCANNED]
            fields = await self._link.call(partial(_hkeys, names=some))
            for name, each in zip(some, fields, strict=True):
                found.update(self._text(name, field.decode()) for field in each)
        return [Key.parse(text) for text in sorted(found) if text.startswith(prefix)]

    async def _names(self, kind: RecordKind | None, parts: tuple[str, ...]) -> list[str]:
        """Of the hashes that may have such records. Raises ``RedisAway``."""
        if kind and (group := _group(kind, parts)) is not None:
            return [self._name(kind.label, group)]
        begin = _escaped("/".join((*parts, "")) if kind else "")
        pattern = f"{_escaped(self._link.prefix)}{{{begin}*}}:{kind.label if kind else '*'}"

        async def scan(client: Redis) -> list[str]:
            found = client.scan_iter(pattern, _SCANNED, "HASH")
            return sorted({name.decode() async for name in found})

        return await self._link.call(scan, _SEARCH_TIMEOUT)

    def _changes(self, values: Mapping[Key, bytes | None]) -> tuple[list[str], list[object]]:
        """Names of hashes, and four arguments of the script for each."""
        keys, args = [], list[object]()
        for key, value in values.items():
            place = self._place(key)
            keys.append(place.name)
            done = (b"forget", b"") if value is None else (b"put", with_checksum(value))
            args += [place.field, *done, place.keep]
        for key in values:
            if key.kind is RecordKind.PAGE and len(values) == 1:  # its document lives as long
                document = self._place(Key(RecordKind.DOCUMENT, key.namespace, key.project))
                keys.append(document.name)
                args += [document.field, b"keep", b"", document.keep]
        return keys, args

    def _place(self, key: Key) -> _Place:
        label, _, rest = key.partition("/")
        if (kind := key.kind) is None:  # of another version of the program
            return _Place(self._name(label, rest), "")
        parts = tuple(rest.split("/", len(kind.parts) - 1))
        group = _group(kind, parts) or ""
        field = rest[len(group) :].removeprefix("/") if kind.is_by_project else rest
        return _Place(self._name(label, group), field, KEEP if kind in _EXPIRING else 0)

    def _name(self, label: str, group: str) -> str:
        return f"{self._link.prefix}{{{group}}}:{label}"

    def _text(self, name: str, field: str) -> str:
        """The text of the key of that record."""
        group, _, label = name.removeprefix(self._link.prefix).rpartition(":")
        group = group[1:-1]
        kind = Key.parse(label).kind
        if kind is None or kind.is_by_project:
            return "/".join(part for part in (label, group, field) if part)
        return f"{label}/{field}"

    async def _write(self, work: Callable[[Any], Any]) -> Any:
        try:
            done = await self._link.call(work)
        except RedisAway as error:
            self._report(error)
            return False
        self._failing = False
        return done

    def _report(self, error: OSError) -> None:
        """Log the error, unless one was logged since the last successful write."""
        self.failures += 1
        if not self._failing:
            self._failing = True
            log.warning("the records in Redis cannot be read or written: %s", error)


def _group(kind: RecordKind, parts: tuple[str, ...]) -> str | None:
    """The part of the name of a hash in which such keys are; None: they are in several."""
    if kind.is_by_project:
        count = kind.parts.index("project") + 1
        return "/".join(parts[:count]) if len(parts) >= count else None
    if kind.parts == ("digest",):
        return parts[0][:_SHARD] if parts else None
    return kind.label


def _escaped(text: str) -> str:
    """For a pattern of Redis, in which some characters have a meaning."""
    return "".join(f"\\{each}" if each in "*?[]^\\" else each for each in text)


async def _hget(client: Any, place: _Place) -> bytes | None:
    found: bytes | None = await client.hget(place.name, place.field)
    return found


async def _hkeys(client: Any, names: list[str]) -> list[list[bytes]]:
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.hkeys(name)
    found: list[list[bytes]] = await pipeline.execute()
    return found
