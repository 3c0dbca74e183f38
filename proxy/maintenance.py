"""Maintenance of a cache: statistics, lists, verification, purges; servers may be running on it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

import msgspec

from proxy.composition import Cache
from proxy.errors import StoreDamaged
from proxy.model import distribution_of
from proxy.storage import (
    EVERYTHING,
    BlobStore,
    ChangedFiles,
    Key,
    RecordKind,
    decode_cached_file,
    digests_of,
)

_BATCH = 1000
"""Blobs that are deleted together."""
_FORGOTTEN = 32
"""Records that are forgotten at a time."""


class Stats(msgspec.Struct, frozen=True):
    projects: int
    files: int
    size: int
    """Bytes."""
    changed: int = 0
    """Files that upstream has listed with another digest than before."""
    released: Sequence[str] = ()
    """Names that were private, and are not any more."""
    unknown: Sequence[str] = ()
    """Names of projects of which the cache had nothing."""


class CachedFile(msgspec.Struct, frozen=True, order=True):
    filename: str
    sha256: str
    size: int
    """Bytes."""


class VerifyResult(msgspec.Struct, frozen=True):
    sound: int
    damaged: Sequence[str]


async def stats(cache: Cache) -> Stats:
    entries = [entry async for entry in cache.store.entries()]
    pages = await cache.records.keys(RecordKind.PAGE)
    size = sum(entry.size for entry in entries)
    changed = await ChangedFiles(cache.records).count()
    return Stats(len({key.project for key in pages}), len(entries), size, changed)


async def projects_in(cache: Cache) -> set[str]:
    """The projects of which the cache has a page or a file."""
    return {key.project for key in await _keys(cache, lambda kind: kind.is_carried)}


async def cached_files(
    cache: Cache, projects: Sequence[str] = ()
) -> list[tuple[str, list[CachedFile]]]:
    """The cached files by project; of all projects if none are named.

    Raises ``StoreUnavailable``.
    """
    found: dict[str, set[CachedFile]] = {}
    for key in await cache.records.keys(RecordKind.CACHED_FILE):
        if projects and key.project not in projects:
            continue
        if file := decode_cached_file(await cache.records.get(key)):
            row = CachedFile(key.filename, file.sha256, file.size)
            found.setdefault(key.project, set()).add(row)
    stored = await cache.store.present({file.sha256 for rows in found.values() for file in rows})
    kept = {name: [file for file in rows if file.sha256 in stored] for name, rows in found.items()}
    return [(name, sorted(rows)) for name, rows in sorted(kept.items()) if rows]


async def verify(cache: Cache) -> VerifyResult:
    """Hash every stored file, and delete the damaged ones, to be downloaded when needed."""
    entries = [entry async for entry in cache.store.entries()]
    damaged = [entry.key for entry in entries if not await _is_sound(cache.store, entry.key)]
    for key in damaged:
        await cache.store.delete(key)
    return VerifyResult(len(entries) - len(damaged), damaged)


async def purge(cache: Cache, projects: Iterable[str]) -> Stats:
    """Delete all records and files of the projects, and the claims on their names.

    Files that other projects have too stay. Raises ``OSError``.
    """
    wanted = set(projects)
    files = await cached_files(cache)
    purged = {each.sha256: each.size for name, found in files if name in wanted for each in found}
    others = {each.sha256 for project, found in files if project not in wanted for each in found}
    released = {key.project for key in await cache.records.keys(RecordKind.CLAIM)} & wanted
    released |= await cache.claims.release(wanted)
    unknown = wanted - released
    for key in await _keys(cache, lambda kind: kind.is_by_project):
        if key.project in wanted:
            unknown.discard(key.project)
            await cache.records.forget(key)
    done = await _delete(cache, _without(purged, others), len(wanted))
    await cache.purges.append(sorted(wanted))
    return msgspec.structs.replace(
        done, released=tuple(sorted(released)), unknown=tuple(sorted(unknown))
    )


async def purge_file(cache: Cache, project: str, filename: str) -> Stats:
    """Delete a file of the project with what belongs to it, such as its metadata.

    Its page stays, and so do the bytes if another file has the same. Raises ``OSError``.
    """
    purged: dict[str, int] = {}
    others = set()
    for key in await cache.records.keys(RecordKind.CACHED_FILE):
        file = decode_cached_file(await cache.records.get(key))
        if key.project == project and distribution_of(key.filename) == filename:
            await cache.records.forget(key)
            purged |= {file.sha256: file.size} if file else {}
        elif file:
            others.add(file.sha256)
    done = await _delete(cache, _without(purged, others), 1)
    await cache.refreshes.append([project])
    return done


async def pinned_files(cache: Cache) -> list[tuple[str, list[str]]]:
    """The names of the files that were pinned by hand, by project."""
    pinned = await cache.pins.by_hand()
    found = await cached_files(cache) if pinned else []
    return [
        (project, [file.filename for file in files if file.sha256 in pinned])
        for project, files in found
    ]


async def purge_everything(cache: Cache) -> Stats:
    """Delete all data that upstreams have; private names and records of local files stay.

    Raises ``OSError``.
    """
    keys = await _keys(cache, lambda kind: kind.is_upstream)
    for start in range(0, len(keys), _FORGOTTEN):
        await asyncio.gather(*map(cache.records.forget, keys[start : start + _FORGOTTEN]))
    entries = {entry.key: entry.size async for entry in cache.store.entries()}
    done = await _delete(cache, entries, len({key.project for key in keys}))
    await cache.purges.append([EVERYTHING])
    return done


async def _delete(cache: Cache, sizes: Mapping[str, int], projects: int) -> Stats:
    """Delete the blobs of these keys, as far as they are stored; ``sizes`` in bytes."""
    stored = sorted(await cache.store.present(sizes.keys()))
    for start in range(0, len(stored), _BATCH):
        part = stored[start : start + _BATCH]
        await cache.store.delete(*part)
        for key in part:
            await cache.used.forget(key)
    return Stats(projects, len(stored), sum(sizes[key] for key in stored))


def _without(sizes: Mapping[str, int], others: Set[str]) -> dict[str, int]:
    return {key: size for key, size in sizes.items() if key not in others}


async def _keys(cache: Cache, chosen: Callable[[RecordKind], bool]) -> list[Key]:
    return [key for kind in filter(chosen, RecordKind) for key in await cache.records.keys(kind)]


async def _is_sound(store: BlobStore, key: str) -> bool:
    """Whether the file has its digest; true also if it was deleted meanwhile."""
    blob = await store.get(key)
    if blob is None:
        if await store.has(key):
            raise OSError(errno.EACCES, "a stored file cannot be opened", key)
        return True
    try:
        return (await digests_of(blob, ("sha256",)))["sha256"] == key
    except FileNotFoundError:
        return True
    except StoreDamaged:
        return False
    except OSError as error:
        if error.errno == errno.EIO:  # the disk cannot read the bytes any more
            return False
        raise
