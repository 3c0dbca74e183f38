"""Import of a bundle into a cache: all of it is checked before any of it becomes visible.

1. An earlier import that was killed while it published is completed.
2. The manifest is compared with the cache: a conflict or a missing base ends the import here.
3. Every member is read, checked and staged, to the last byte of the archive.
4. The cache is compared again; the staged bundle is marked as checked, and published.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial

import msgspec

from proxy.bundle.compare import Comparison, compare
from proxy.bundle.errors import (
    BadBundle,
    BaseMissing,
    BundleIOError,
    ConflictingBundle,
    ImportIncomplete,
)
from proxy.bundle.format import Manifest
from proxy.bundle.publish import publish
from proxy.bundle.reader import Bundle, run_steps
from proxy.bundle.staging import StagedBundle, StagingFolder
from proxy.composition import Cache
from proxy.errors import ConfigurationError
from proxy.runtime import in_thread, remove_abandoned
from proxy.upstream import UpstreamOrigin, fingerprint

_MAX_FILL = 0.9
"""The part of ``max_size`` to which eviction reduces a full cache."""


@dataclass(frozen=True, slots=True)
class ImportRules:
    """Which bundles an import accepts."""

    here: Sequence[UpstreamOrigin] = ()
    """The upstream indexes that this configuration mirrors."""
    limit: int = 0
    """``max_size``: bytes of files that the cache may have; 0: no limit."""
    expected: str | None = None
    """The sha256 that the archive must have; its ``ByteSource`` must be ``hashed`` then."""
    accept_changed: bool = False
    """Whether files replace files of the same name that have other bytes."""


async def import_bundle(
    cache: Cache, bundle: Bundle, rules: ImportRules, report: Callable[[int], None]
) -> Comparison:
    """Import all of a bundle, or nothing. ``report`` is called with the bytes of each step.

    Returns what was new. Raises ``BadBundle``, ``BaseMissing``, ``ConflictingBundle``,
    ``ImportRunning`` and ``ConfigurationError``, which leave the cache as it was, and
    ``BundleIOError`` and ``ImportIncomplete``, after which the import should be run again.
    """
    manifest = with_local_namespaces(bundle.manifest, rules.here)
    _check_room(manifest, rules.limit)
    staging = StagingFolder(cache)
    try:
        with staging.locked():
            await asyncio.to_thread(remove_abandoned, cache.spool)
            completed = await _complete_interrupted(cache, staging, bundle.digest)
            _check_comparison(await compare(cache, manifest), manifest, rules)
            staged = staging.for_bundle(bundle.digest)
            found = await _stage_and_publish(cache, staged, bundle, manifest, rules, report)
            found.completed = completed
            return found
    except OSError as error:
        raise BundleIOError("the cache cannot be written", error) from error


def with_local_namespaces(manifest: Manifest, here: Sequence[UpstreamOrigin]) -> Manifest:
    """The manifest with the namespaces that its indexes, found by address, have in this cache.

    A namespace depends on the user name for upstream, which may differ. Raises ``BadBundle``.
    """
    found = tuple(
        UpstreamOrigin(each.url, _local_namespace(each, here)) for each in manifest.indexes
    )
    if len({origin.namespace for origin in found}) < len(found):
        raise BadBundle("two of its indexes are the same index in this configuration")
    return msgspec.structs.replace(manifest, indexes=found)


def unknown_upstreams(manifest: Manifest, here: Sequence[UpstreamOrigin]) -> list[str]:
    """The addresses of the indexes in a bundle that this configuration does not mirror."""
    known = {fingerprint(origin.url, None) for origin in here}
    return [each.url for each in manifest.indexes if fingerprint(each.url, None) not in known]


def _local_namespace(origin: UpstreamOrigin, here: Sequence[UpstreamOrigin]) -> str:
    """Found by the address only: the namespace in the bundle is not to be trusted."""
    plain = fingerprint(origin.url, None)
    found = [each.namespace for each in here if fingerprint(each.url, None) == plain]
    return origin.namespace if origin.namespace in found else [*found, plain][0]


async def _stage_and_publish(
    cache: Cache,
    staged: StagedBundle,
    bundle: Bundle,
    manifest: Manifest,
    rules: ImportRules,
    report: Callable[[int], None],
) -> Comparison:
    try:
        cached = await _cached(cache, manifest)
        await run_steps(bundle.members(partial(staged.store_member, cached)), report)
        bundle.require_archive_digest(rules.expected)
        found = await compare(cache, manifest)
        _check_comparison(found, manifest, rules)
    except BaseException:
        await in_thread(staged.remove)
        raise
    await asyncio.to_thread(staged.mark_checked, manifest)
    try:
        await publish(cache, staged, manifest, found)
    except OSError as error:
        raise ImportIncomplete from error
    for file in manifest.files:  # eviction takes older files first
        cache.used.note(file.sha256)
    await cache.evictor.enforce(sum(blob.size for blob in manifest.blobs))
    return found


async def _cached(cache: Cache, manifest: Manifest) -> Set[str]:
    """The sha256 of members that the cache has, so that they need not be staged."""
    stored = await cache.store.present({each.sha256 for each in manifest.blobs})
    here = [each for each in manifest.blobs if each.sha256 in stored]
    blobs = [(each, await cache.store.get(each.sha256)) for each in here]
    return {each.sha256 for each, blob in blobs if blob and blob.size == each.size}


async def _complete_interrupted(cache: Cache, staging: StagingFolder, digest: str) -> list[str]:
    """Publish bundles that were checked and not published; returns the sha256 of their manifests.

    What was staged of others is removed, except of the bundle that is imported now.
    """
    completed = []
    for staged in staging.unfinished():
        try:
            if manifest := staged.checked_manifest():
                await publish(cache, staged, manifest, await compare(cache, manifest))
                completed.append(staged.folder.name)
        except (ImportIncomplete, msgspec.MsgspecError):
            await asyncio.to_thread(staged.remove)  # its bundle has to be imported again
        if staged.folder.name != digest:
            await asyncio.to_thread(staged.remove)
    return completed


def _check_comparison(found: Comparison, manifest: Manifest, rules: ImportRules) -> None:
    if found.missing:
        raise BaseMissing(manifest.base or "", found.missing)
    if found.conflicting and not rules.accept_changed:
        raise ConflictingBundle(
            [f"{each.filename} of {each.project}" for each in found.conflicting]
        )


def _check_room(manifest: Manifest, limit: int) -> None:
    if limit and manifest.total_size > limit * _MAX_FILL:
        raise ConfigurationError(
            "max_size",
            f"it is {limit} bytes, and the files of this bundle are {manifest.total_size}",
            "set a larger max_size, or 0 for no limit",
        )
