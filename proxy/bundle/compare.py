"""Compare a manifest with a cache: what is new, what the cache has, and what conflicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import msgspec

from proxy.bundle.format import BundledFile, BundledPage, Manifest, is_sha256, sha256
from proxy.composition import Cache
from proxy.model import SIBLING_SUFFIXES
from proxy.storage import CachedFileRecord, FirstSeenFile, Key, RecordKind, decode_digest_history


class Comparison:
    """The changes that an import will make. Pages that are newer in the cache stay."""

    def __init__(self) -> None:
        self.new_files: list[BundledFile] = []
        self.same_files: list[BundledFile] = []
        self.conflicting: list[BundledFile] = []
        """The cache knows the name with another digest."""
        self.new_provenance: list[BundledFile] = []
        self.new_pages: list[BundledPage] = []
        self.changed_pages: list[BundledPage] = []
        self.confirmed_pages: list[BundledPage] = []
        """The same document, revalidated later."""
        self.same_pages: list[BundledPage] = []
        self.older_pages: list[BundledPage] = []
        self.missing: list[str] = []
        """Pages and files that are neither in the archive nor in the cache, in words."""
        self.completed: Sequence[str] = ()
        """The sha256 of manifests of bundles whose interrupted import was completed first."""

    @property
    def is_complete(self) -> bool:
        """Whether the cache has all of the bundle."""
        files = self.new_files or self.conflicting or self.new_provenance
        return not (files or self.new_pages or self.changed_pages or self.confirmed_pages)


async def compare(cache: Cache, manifest: Manifest) -> Comparison:
    """``manifest``: with the namespaces of this cache, see ``with_local_namespaces``."""
    found = Comparison()
    for index, entries in groupby(manifest.files, lambda each: each.index):
        namespace = manifest.indexes[index].namespace
        files = list(entries)
        known = await _known_digests(
            cache, namespace, {(each.project, each.filename) for each in files}
        )
        for project, of_project in groupby(files, lambda each: each.project):
            record = await cache.records.get(Key(RecordKind.DIGEST_HISTORY, namespace, project))
            seen = decode_digest_history(record) if record else {}
            for file in of_project:
                names = known.get((project, file.filename), {})
                await _compare_file(cache, manifest, file, names, seen.get(file.filename), found)
    for page in manifest.pages:
        await _compare_page(cache, manifest, page, found)
    for proof in manifest.provenance:
        await _compare_provenance(cache, manifest, proof, found)
    return found


async def _compare_file(
    cache: Cache,
    manifest: Manifest,
    file: BundledFile,
    names: Mapping[str, str],
    seen: FirstSeenFile | None,
    to: Comparison,
) -> None:
    """``names``: the known digests of this file name, see ``_known_digests``."""
    blob = await cache.store.get(file.sha256)
    here = blob is not None and blob.size == file.size
    if not here and file.sha256 not in manifest.carried_files:
        to.missing.append(f"{file.filename} of {file.project}")
    if file.sha256 not in names.values() and (names or _is_changed(seen, file)):
        to.conflicting.append(file)
    elif here and names.get(file.digest) == file.sha256:
        to.same_files.append(file)
    else:
        to.new_files.append(file)


def _is_changed(seen: FirstSeenFile | None, file: BundledFile) -> bool:
    """Whether a page listed another digest before; only digests of one algorithm are comparable."""
    if seen is None or seen.digest == file.digest:
        return False
    return seen.digest.rpartition("-")[0] == file.digest.rpartition("-")[0]


async def _known_digests(
    cache: Cache, namespace: str, wanted: set[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, str]]:
    """By project and file name: the sha256 of cached files by their digest in addresses."""
    known: dict[tuple[str, str], dict[str, str]] = {}
    for key in await cache.records.keys(RecordKind.CACHED_FILE, namespace):
        project, digest, filename = key.project, key.digest, key.filename
        if (project, filename) not in wanted:
            continue
        content: str | None = digest
        if not is_sha256(digest) or filename.endswith(SIBLING_SUFFIXES):
            record = await cache.records.get(key)
            content = msgspec.json.decode(record, type=CachedFileRecord).sha256 if record else None
        if content:
            known.setdefault((project, filename), {})[digest] = content
    return known


async def _compare_page(
    cache: Cache, manifest: Manifest, page: BundledPage, to: Comparison
) -> None:
    at = manifest.indexes[page.index].namespace, page.project
    head = await cache.pages.head(*at)
    whole = head and await cache.pages.document(*at, head.digest) is not None
    if head is None or not whole:
        kind = to.new_pages
    elif head.digest == page.sha256:
        kind = to.confirmed_pages if page.checked > head.checked else to.same_pages
    else:
        kind = to.changed_pages if page.checked > head.checked else to.older_pages
    kind.append(page)
    needed = kind is to.new_pages or kind is to.changed_pages
    if needed and page.sha256 not in manifest.carried_documents:
        to.missing.append(f"the page of {page.project}")


def provenance_key(manifest: Manifest, proof: BundledFile) -> Key:
    namespace = manifest.indexes[proof.index].namespace
    return Key(RecordKind.PROVENANCE, namespace, proof.project, proof.digest, proof.filename)


async def _compare_provenance(
    cache: Cache, manifest: Manifest, proof: BundledFile, to: Comparison
) -> None:
    record = await cache.records.get(provenance_key(manifest, proof))
    stored, _, data = (record or b"").partition(b"\n")
    if record and (sha256(data) == proof.sha256 or float(stored) >= proof.stored):
        return
    to.new_provenance.append(proof)
    if proof.sha256 not in manifest.carried_documents:
        to.missing.append(f"{proof.filename} of {proof.project}")
