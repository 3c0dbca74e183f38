"""The last step of an import: a staged and checked bundle becomes part of the cache.

Files are stored first, then their records, then pages: no page is visible before all files of
its project are there. All steps can be repeated, so a killed import is completed by repeating.

Digests of imported files are recorded as first seen. A page in a bundle is as upstream sent it;
if upstream has changed a file, and the cache of origin kept the bytes seen first, then the cache
that imports has to keep these bytes too.
"""

from __future__ import annotations

import asyncio
from itertools import groupby

from proxy.bundle.compare import Comparison, compare, provenance_key
from proxy.bundle.errors import ImportIncomplete
from proxy.bundle.format import BundledFile, BundledPage, Manifest, zstd_decompress
from proxy.bundle.staging import StagedBundle
from proxy.composition import Cache
from proxy.model import METADATA, SIBLING_SUFFIXES
from proxy.storage import (
    EVERYTHING,
    CachedFileRecord,
    CachedFiles,
    FirstSeenFile,
    Key,
    RecordKind,
    Records,
    decode_digest_history,
    encode_digest_history,
    pack_page,
)


async def publish(
    cache: Cache, staged: StagedBundle, manifest: Manifest, found: Comparison
) -> None:
    """``found``: the comparison of the manifest. Raises ``ImportIncomplete`` and ``OSError``."""
    if found.missing:  # purged since the staged bundle was checked
        raise ImportIncomplete
    for blob in manifest.blobs:
        if (path := staged.path(blob.sha256)).exists():
            await cache.store.put(blob.sha256, path)
    await record_first_seen(cache.records, manifest, found)  # needs the state before the import
    await _record_files(cache, manifest, found)
    for proof in found.new_provenance:
        document = await asyncio.to_thread(_read_document, staged, manifest, proof)
        key = provenance_key(manifest, proof)
        await cache.records.put(key, f"{proof.stored}\n".encode() + document)
    for page in found.new_pages:  # what the cache has of it is incomplete, whatever its time
        await cache.pages.forget(*_page_key(manifest, page))
    for page in (*found.new_pages, *found.changed_pages):
        document = await asyncio.to_thread(_read_document, staged, manifest, page)
        packed = await asyncio.to_thread(pack_page, document)
        await cache.pages.put(*_page_key(manifest, page), page.to_stored_page(), packed)
    for page in found.confirmed_pages:
        await cache.pages.touch(*_page_key(manifest, page), page.to_stored_page())
    # Not by project names: purging a name also removes its claim as a private name.
    await cache.purges.append([EVERYTHING])
    if not (await compare(cache, manifest)).is_complete:
        raise ImportIncomplete
    await asyncio.to_thread(staged.remove)


async def _record_files(cache: Cache, manifest: Manifest, found: Comparison) -> None:
    cached = [CachedFiles(cache.records, origin.namespace) for origin in manifest.indexes]
    for file in (*found.new_files, *found.conflicting):
        known = CachedFileRecord(file.sha256, file.size, file.stored, file.uploaded)
        await cached[file.index].put(file.project, file.digest, file.filename, known)


def _read_document(
    staged: StagedBundle, manifest: Manifest, entry: BundledPage | BundledFile
) -> bytes:
    document = manifest.carried_documents[entry.sha256]
    return zstd_decompress(staged.path(document.packed.sha256).read_bytes(), document.size)


def _page_key(manifest: Manifest, page: BundledPage) -> tuple[str, str]:
    return manifest.indexes[page.index].namespace, page.project


async def record_first_seen(records: Records, manifest: Manifest, found: Comparison) -> None:
    """Record digests of new files; files that conflict, and are accepted, replace the records."""
    metadata = {
        (each.index, each.project, each.filename, each.digest): {"sha256": each.sha256}
        for each in manifest.files
        if each.filename.endswith(METADATA)
    }
    changed = {each.key for each in found.conflicting}
    new = _unambiguous_files(manifest, found)
    for (index, project), files in groupby(new, lambda each: each.key[:2]):
        name = Key(RecordKind.DIGEST_HISTORY, manifest.indexes[index].namespace, project)
        record = await records.get(name)
        seen = decode_digest_history(record) if record else {}
        for file in files:
            if file.filename not in seen or file.key in changed:
                sibling = (file.index, file.project, file.filename + METADATA, file.digest)
                listed = metadata.get(sibling, False)
                seen[file.filename] = FirstSeenFile(file.digest, file.uploaded, file.size, listed)
        await records.put(name, encode_digest_history(seen))


def _unambiguous_files(manifest: Manifest, found: Comparison) -> list[BundledFile]:
    """New distributions with one digest per name; for names with two, the page decides later."""
    count: dict[tuple[int, str, str], int] = {}
    for each in manifest.files:
        count[each.key[:3]] = count.get(each.key[:3], 0) + 1
    new = [*found.new_files, *found.conflicting]
    plain = [
        each for each in new if not each.filename.endswith(SIBLING_SUFFIXES) and each.digest != "-"
    ]
    return sorted((each for each in plain if count[each.key[:3]] == 1), key=lambda each: each.key)
