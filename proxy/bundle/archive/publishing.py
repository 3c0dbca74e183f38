"""The last step of an import: what was staged, checked and sealed becomes part of the cache.

Files come first, then what remembers them, then pages: no page can be seen before all that
the bundle has of its project is there. Each step can be done again, so being killed between
any two of them costs nothing but doing so.
"""

from __future__ import annotations

import asyncio

from proxy.bundle.archive.manifest import BundledFile, BundledPage, Manifest
from proxy.bundle.archive.refused import NotWritten
from proxy.bundle.archive.staging import Staged
from proxy.bundle.archive.standing import record_first_seen
from proxy.bundle.archive.survey import Comparison, compare
from proxy.bundle.archive.zst import zstd_decompress
from proxy.cache import Cache
from proxy.purges import EVERYTHING
from proxy.storage.held import CachedFileRecord, CachedFiles
from proxy.storage.pages import pack_page


async def publish(cache: Cache, staged: Staged, manifest: Manifest, found: Comparison) -> None:
    """``found``: the survey of the manifest. Raises ``NotWritten`` and ``OSError``."""
    if found.missing:  # it was there when this was sealed, and has been purged since
        raise NotWritten
    for blob in manifest.blobs:
        if staged.bytes.has(blob.sha256):
            await cache.store.put(blob.sha256, staged.bytes.path(blob.sha256))
    await record_first_seen(
        cache.records, manifest, found
    )  # first: it goes by what is not held yet
    await _remember(cache, manifest, found)
    for proof in found.new_provenance:
        document = await asyncio.to_thread(_document, staged, manifest, proof)
        key = f"provenance/{manifest.indexes[proof.index].namespace}/{proof.record}"
        await cache.records.put(key, f"{proof.stored}\n".encode() + document)
    for page in (*found.new_pages, *found.changed_pages):
        document = await asyncio.to_thread(_document, staged, manifest, page)
        packed = await asyncio.to_thread(pack_page, document)
        await cache.pages.put(_key(manifest, page), page.stored(), packed)
    for page in found.confirmed_pages:
        await cache.pages.touch(_key(manifest, page), page.stored())
    # Not by their names: whoever is told that a project was purged also takes back that its
    # name is private.
    cache.purges.append([EVERYTHING])
    if not (await compare(cache, manifest)).done:
        raise NotWritten
    await asyncio.to_thread(staged.remove)


async def _remember(cache: Cache, manifest: Manifest, found: Comparison) -> None:
    held = [CachedFiles(cache.records, origin.namespace) for origin in manifest.indexes]
    for file in (*found.new_files, *found.conflicting):
        known = CachedFileRecord(file.sha256, file.size, file.stored, file.uploaded)
        await held[file.index].put(file.project, file.digest, file.filename, known)


def _document(staged: Staged, manifest: Manifest, entry: BundledPage | BundledFile) -> bytes:
    document = manifest.documented[entry.sha256]
    return zstd_decompress(staged.bytes.path(document.packed.sha256).read_bytes(), document.size)


def _key(manifest: Manifest, page: BundledPage) -> str:
    return f"{manifest.indexes[page.index].namespace}/{page.project}"
