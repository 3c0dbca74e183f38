"""The last step of an import: what was staged, checked and sealed becomes part of the cache.

Files come first, then what remembers them, then pages: no page can be seen before all that
the bundle has of its project is there. Each step can be done again, so being killed between
any two of them costs nothing but doing so.

The bytes that stand for a file name: those that were seen first, whatever a page lists now.

A page is carried as upstream sent it. Where upstream has changed a file, and the near side went
on with the bytes it held, the far side has to do so too: what a bundle brings counts as seen.
"""

from __future__ import annotations

import asyncio
from itertools import groupby

from proxy.bundle.compare import Comparison, compare, provenance_key
from proxy.bundle.errors import NotWritten
from proxy.bundle.format import BundledFile, BundledPage, Manifest, zstd_decompress
from proxy.bundle.staging import Staged
from proxy.composition import Cache
from proxy.model import METADATA
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


async def publish(cache: Cache, staged: Staged, manifest: Manifest, found: Comparison) -> None:
    """``found``: the survey of the manifest. Raises ``NotWritten`` and ``OSError``."""
    if found.missing:  # it was there when this was sealed, and has been purged since
        raise NotWritten
    for blob in manifest.blobs:
        if (path := staged.path(blob.sha256)).exists():
            await cache.store.put(blob.sha256, path)
    await record_first_seen(
        cache.records, manifest, found
    )  # first: it goes by what is not held yet
    await _remember(cache, manifest, found)
    for proof in found.new_provenance:
        document = await asyncio.to_thread(_document, staged, manifest, proof)
        key = provenance_key(manifest, proof)
        await cache.records.put(key, f"{proof.stored}\n".encode() + document)
    for (
        page
    ) in found.new_pages:  # what is there of a page is no whole page, whenever it was checked
        await cache.pages.forget(*_place(manifest, page))
    for page in (*found.new_pages, *found.changed_pages):
        document = await asyncio.to_thread(_document, staged, manifest, page)
        packed = await asyncio.to_thread(pack_page, document)
        await cache.pages.put(*_place(manifest, page), page.stored(), packed)
    for page in found.confirmed_pages:
        await cache.pages.touch(*_place(manifest, page), page.stored())
    # Not by their names: whoever is told that a project was purged also takes back that its
    # name is private.
    await cache.purges.append([EVERYTHING])
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
    return zstd_decompress(staged.path(document.packed.sha256).read_bytes(), document.size)


def _place(manifest: Manifest, page: BundledPage) -> tuple[str, str]:
    return manifest.indexes[page.index].namespace, page.project


async def record_first_seen(records: Records, manifest: Manifest, found: Comparison) -> None:
    """Note the files that are new; those that were conflicting and are taken replace others."""
    metadata = {
        (each.index, each.project, each.filename, each.digest): {"sha256": each.sha256}
        for each in manifest.files
        if each.filename.endswith(METADATA)
    }
    changed = {each.key for each in found.conflicting}
    new = _unambiguous(manifest, found)
    for (index, project), files in groupby(new, lambda each: each.key[:2]):
        name = Key(RecordKind.DIGEST_HISTORY, manifest.indexes[index].namespace, project)
        record = await records.get(name)
        seen = decode_digest_history(record) if record else {}
        for file in files:
            if file.filename not in seen or file.key in changed:
                beside = (file.index, file.project, file.filename + METADATA, file.digest)
                told = metadata.get(beside, False)
                seen[file.filename] = FirstSeenFile(file.digest, file.uploaded, file.size, told)
        await records.put(name, encode_digest_history(seen))


def _unambiguous(manifest: Manifest, found: Comparison) -> list[BundledFile]:
    """New distributions whose names stand for one file in the bundle; of two, the page tells."""
    count: dict[tuple[int, str, str], int] = {}
    for each in manifest.files:
        count[each.key[:3]] = count.get(each.key[:3], 0) + 1
    new = [*found.new_files, *found.conflicting]
    plain = [each for each in new if not each.filename.endswith(METADATA) and each.digest != "-"]
    return sorted((each for each in plain if count[each.key[:3]] == 1), key=lambda each: each.key)
