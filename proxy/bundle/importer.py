"""A bundle taken into a cache: all of it is checked before any of it can be seen.

1. What an import that was killed had left to publish, is published.
2. The manifest is held against the cache: a conflict or a missing base ends it here.
3. Every member is read, checked and staged, to the last byte of the archive.
4. The cache is looked at again, the stage is sealed, and published.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial

import msgspec

from proxy.bundle.compare import Comparison, compare
from proxy.bundle.errors import BadBundle, BaseMissing, BundleFailed, ConflictingBundle, NotWritten
from proxy.bundle.format import Manifest
from proxy.bundle.publish import publish
from proxy.bundle.reader import Bundle, run_steps
from proxy.bundle.staging import Staged, Staging
from proxy.composition import Cache
from proxy.errors import ConfigurationError
from proxy.runtime import in_thread, remove_abandoned
from proxy.upstream import UpstreamOrigin, fingerprint

_ROOM = 0.9
"""The part of its limit that a cache is brought down to when it is full."""


@dataclass(frozen=True, slots=True)
class ImportRules:
    """What is taken, and how."""

    here: Sequence[UpstreamOrigin] = ()
    """The indexes that this configuration mirrors."""
    limit: int = 0
    """Bytes of files that the cache may hold; 0: any number."""
    expected: str | None = None
    """The sha256 that the archive has to have; its source has to be ``hashed`` then."""
    accept_changed: bool = False
    """Whether other bytes under a known file name are taken too."""


async def import_bundle(
    cache: Cache, bundle: Bundle, rules: ImportRules, tell: Callable[[int], None]
) -> Comparison:
    """What was new and what was not. ``tell`` is told of bytes as they are read.

    Raises ``BadBundle``, ``BaseMissing``, ``ConflictingBundle``, ``Busy`` and
    ``ConfigurationError``, and the cache is as before; ``BundleFailed`` and ``NotWritten`` after
    which the import should be run again.
    """
    manifest = localized(bundle.manifest, rules.here)
    _require_room(manifest, rules.limit)
    staging = Staging(cache)
    try:
        with staging.alone():
            await asyncio.to_thread(remove_abandoned, cache.spool)
            completed = await _complete(cache, staging, bundle.digest)
            _refuse(await compare(cache, manifest), manifest, rules)
            staged = staging.of(bundle.digest)
            found = await _imported(cache, staged, bundle, manifest, rules, tell)
            found.completed = completed
            return found
    except OSError as error:
        raise BundleFailed("the cache cannot be written", error) from error


def localized(manifest: Manifest, here: Sequence[UpstreamOrigin]) -> Manifest:
    """With the namespaces that its indexes have here: that of the index with the same address.

    The user by whom an index is asked is another one here, or none. Raises ``BadBundle``.
    """
    found = tuple(UpstreamOrigin(each.url, _namespace(each, here)) for each in manifest.indexes)
    if len({origin.namespace for origin in found}) < len(found):
        raise BadBundle("it has two indexes that are one here")
    return msgspec.structs.replace(manifest, indexes=found)


def unknown_upstreams(manifest: Manifest, here: Sequence[UpstreamOrigin]) -> list[str]:
    """The addresses of the indexes in a bundle that this configuration does not mirror."""
    known = {fingerprint(origin.url, None) for origin in here}
    return [each.url for each in manifest.indexes if fingerprint(each.url, None) not in known]


def _namespace(origin: UpstreamOrigin, here: Sequence[UpstreamOrigin]) -> str:
    """Only the address counts: what the bundle says of its namespace nobody has checked."""
    plain = fingerprint(origin.url, None)
    found = [each.namespace for each in here if fingerprint(each.url, None) == plain]
    return origin.namespace if origin.namespace in found else [*found, plain][0]


async def _imported(
    cache: Cache,
    staged: Staged,
    bundle: Bundle,
    manifest: Manifest,
    rules: ImportRules,
    tell: Callable[[int], None],
) -> Comparison:
    try:
        cached = await _cached(cache, manifest)
        await run_steps(bundle.members(partial(staged.take, cached)), tell)
        bundle.require(rules.expected)
        found = await compare(cache, manifest)
        _refuse(found, manifest, rules)
    except BaseException:
        await in_thread(staged.remove)
        raise
    await asyncio.to_thread(staged.seal, manifest)
    try:
        await publish(cache, staged, manifest, found)
    except OSError as error:
        raise NotWritten from error
    for file in manifest.files:  # what was here before is not to go for what has come
        cache.used.note(file.sha256)
    await cache.evictor.enforce(sum(blob.size for blob in manifest.blobs))
    return found


async def _cached(cache: Cache, manifest: Manifest) -> Set[str]:
    """The sha256 of members that need not be staged, as the cache has them."""
    blobs = [(each, await cache.store.get(each.sha256)) for each in manifest.blobs]
    return {each.sha256 for each, blob in blobs if blob and blob.size == each.size}


async def _complete(cache: Cache, staging: Staging, digest: str) -> list[str]:
    """Publish what was sealed, and remove what was not, unless it is of the same bundle.

    Of which bundles that was, by the sha256 of their manifest.
    """
    completed = []
    for staged in staging.left():
        try:
            if manifest := staged.sealed():
                await publish(cache, staged, manifest, await compare(cache, manifest))
                completed.append(staged.folder.name)
        except (NotWritten, msgspec.MsgspecError):
            await asyncio.to_thread(staged.remove)  # it can only come from its bundle again
        if staged.folder.name != digest:
            await asyncio.to_thread(staged.remove)
    return completed


def _refuse(found: Comparison, manifest: Manifest, rules: ImportRules) -> None:
    if found.missing:
        raise BaseMissing(manifest.base or "", found.missing)
    if found.conflicting and not rules.accept_changed:
        raise ConflictingBundle(
            [f"{each.filename} of {each.project}" for each in found.conflicting]
        )


def _require_room(manifest: Manifest, limit: int) -> None:
    if limit and manifest.total > limit * _ROOM:
        raise ConfigurationError(
            "max_size",
            f"the files of this bundle are {manifest.total} bytes, and the cache keeps {limit}",
            "set it higher, or to 0 for no limit",
        )
