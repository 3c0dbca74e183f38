"""A manifest held against a cache: what is new to it, what it has, and what contradicts it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

import msgspec

from proxy.bundle.format import BundledFile, BundledPage, Manifest, sha256
from proxy.composition import Cache
from proxy.model import METADATA
from proxy.storage import CachedFileRecord, FirstSeenFile, Key, RecordKind, decode_digest_history

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Comparison:
    """What importing a manifest means for a cache. A page that is newer here stays."""

    def __init__(self) -> None:
        self.new_files: list[BundledFile] = []
        self.same_files: list[BundledFile] = []
        self.conflicting: list[BundledFile] = []
        """Known by this name, with other bytes."""
        self.new_provenance: list[BundledFile] = []
        self.new_pages: list[BundledPage] = []
        self.changed_pages: list[BundledPage] = []
        self.confirmed_pages: list[BundledPage] = []
        """The same document, later vouched for."""
        self.same_pages: list[BundledPage] = []
        self.older_pages: list[BundledPage] = []
        self.missing: list[str] = []
        """What the archive does not carry, and the cache does not have either."""
        self.completed: Sequence[str] = ()
        """Bundles whose import had been cut off and was finished first: sha256 of manifests."""

    @property
    def done(self) -> bool:
        """Whether the cache has all of it already."""
        files = self.new_files or self.conflicting or self.new_provenance
        return not (files or self.new_pages or self.changed_pages or self.confirmed_pages)


async def compare(cache: Cache, manifest: Manifest) -> Comparison:
    """The indexes of the manifest have the namespaces that they have in this cache."""
    found = Comparison()
    for index, entries in groupby(manifest.files, lambda each: each.index):
        namespace = manifest.indexes[index].namespace
        files = list(entries)
        known = await _known(cache, namespace, {(each.project, each.filename) for each in files})
        for project, of_project in groupby(files, lambda each: each.project):
            record = await cache.records.get(Key(RecordKind.DIGEST_HISTORY, namespace, project))
            seen = decode_digest_history(record) if record else {}
            for file in of_project:
                names = known.get((project, file.filename), {})
                await _file(cache, manifest, file, names, seen.get(file.filename), found)
    for page in manifest.pages:
        await _page(cache, manifest, page, found)
    for proof in manifest.provenance:
        await _provenance(cache, manifest, proof, found)
    return found


async def _file(
    cache: Cache,
    manifest: Manifest,
    file: BundledFile,
    names: Mapping[str, str],
    seen: FirstSeenFile | None,
    to: Comparison,
) -> None:
    """``names``: what is remembered of files of this name, see ``_known``."""
    blob = await cache.store.get(file.sha256)
    here = blob is not None and blob.size == file.size
    if not here and file.sha256 not in manifest.carried:
        to.missing.append(f"{file.filename} of {file.project}")
    if file.sha256 not in names.values() and (names or _is_other(seen, file)):
        to.conflicting.append(file)
    elif here and names.get(file.digest) == file.sha256:
        to.same_files.append(file)
    else:
        to.new_files.append(file)


def _is_other(seen: FirstSeenFile | None, file: BundledFile) -> bool:
    """Whether a page once listed other bytes, going by the algorithm that both tell."""
    if seen is None or seen.digest == file.digest:
        return False
    return seen.digest.rpartition("-")[0] == file.digest.rpartition("-")[0]


async def _known(
    cache: Cache, namespace: str, wanted: set[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, str]]:
    """The sha256 by the digest in the address, of what is remembered of these files."""
    known: dict[tuple[str, str], dict[str, str]] = {}
    for key in await cache.records.keys(RecordKind.CACHED_FILE, namespace):
        project, digest, filename = key.project, key.digest, key.filename
        if (project, filename) not in wanted:
            continue
        content: str | None = digest
        if not _SHA256.match(digest) or filename.endswith(METADATA):
            record = await cache.records.get(key)
            content = msgspec.json.decode(record, type=CachedFileRecord).sha256 if record else None
        if content:
            known.setdefault((project, filename), {})[digest] = content
    return known


async def _page(cache: Cache, manifest: Manifest, page: BundledPage, to: Comparison) -> None:
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
    if needed and page.sha256 not in manifest.documented:
        to.missing.append(f"the page of {page.project}")


def provenance_key(manifest: Manifest, proof: BundledFile) -> Key:
    namespace = manifest.indexes[proof.index].namespace
    return Key(RecordKind.PROVENANCE, namespace, proof.project, proof.digest, proof.filename)


async def _provenance(cache: Cache, manifest: Manifest, proof: BundledFile, to: Comparison) -> None:
    record = await cache.records.get(provenance_key(manifest, proof))
    stored, _, data = (record or b"").partition(b"\n")
    if record and (sha256(data) == proof.sha256 or float(stored) >= proof.stored):
        return
    to.new_provenance.append(proof)
    if proof.sha256 not in manifest.documented:
        to.missing.append(f"{proof.filename} of {proof.project}")
