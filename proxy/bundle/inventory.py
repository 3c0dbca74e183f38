"""Look up a selection in a cache: results are the manifest and the compressed documents.

Files are not opened here; ``writer`` reads them. Servers may replace pages meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Set
from typing import BinaryIO

import msgspec

from proxy.bundle.bundle_selection import BaseContent, DeltaBase, SelectedFiles
from proxy.bundle.format import (
    BundledDocument,
    BundledFile,
    BundledPage,
    Manifest,
    Member,
    is_sha256,
    sha256,
    zstd_compress,
)
from proxy.composition import Cache
from proxy.errors import StoreDamaged
from proxy.model import PROVENANCE, ProjectName, distribution_of, with_distributions
from proxy.storage import CachedFileRecord, Key, RecordKind, StoredPage, StoredPages, unpack_page
from proxy.upstream import UpstreamOrigin, without_userinfo


class Inventory:
    """Collects the content of one bundle."""

    def __init__(self, cache: Cache, to: BinaryIO, base: DeltaBase | None = None) -> None:
        """``to``: receives the compressed documents, one after the other."""
        self._cache = cache
        self._to = to
        self._base = base
        self._known = BaseContent(base)
        self._origins: list[UpstreamOrigin] = []
        self.pages: list[BundledPage] = []
        self.provenance: list[BundledFile] = []
        self.files: list[BundledFile] = []
        self.documents: dict[str, BundledDocument] = {}
        self.offsets: dict[str, int] = {}
        """The position of each document in ``to``, by its sha256."""
        self.missing: list[str] = []
        """Selected files that are not in the cache."""
        self.omitted: list[str] = []
        """Pages and files with a record whose content is gone."""

    async def add(
        self,
        origin: UpstreamOrigin,
        selected: Mapping[ProjectName, SelectedFiles],
        refused: Set[tuple[str, ...]] = frozenset(),
    ) -> None:
        """Add the selected projects of one index, without the files that are ``refused``.

        Raises ``StoreDamaged``.
        """
        index, namespace = len(self._origins), origin.namespace
        self._origins.append(origin)
        files = await self._keys(RecordKind.CACHED_FILE, namespace, refused)
        proofs = await self._keys(RecordKind.PROVENANCE, namespace, refused)
        for project, wanted in sorted(selected.items()):
            await self._add_page(index, project)
            await self._add_files(index, project, wanted, files.get(project, ()))
            for key in proofs.get(project, ()):
                await self._add_provenance(index, key, wanted)

    def manifest(self) -> Manifest:
        files = {each.sha256: each.size for each in self.files}
        carried = sorted(files.keys() - self._known.files)
        return Manifest(
            base=self._base.digest if self._base else None,
            indexes=tuple(self._origins),
            pages=tuple(self.pages),
            provenance=tuple(sorted(self.provenance, key=lambda each: each.key)),
            files=tuple(sorted(self.files, key=lambda each: each.key)),
            documents=tuple(document for _, document in sorted(self.documents.items())),
            blobs=tuple(Member(each, files[each]) for each in carried),
        )

    async def _keys(
        self, kind: RecordKind, namespace: str, refused: Set[tuple[str, ...]]
    ) -> dict[str, list[Key]]:
        found: dict[str, list[Key]] = {}
        for key in await self._cache.records.keys(kind, namespace):
            names = with_distributions(key.filename)
            if not any((namespace, key.project, each, key.digest) in refused for each in names):
                found.setdefault(key.project, []).append(key)
        return found

    async def _add_page(self, index: int, project: ProjectName) -> None:
        origin = self._origins[index]
        head, packed = await read_consistent_page(self._cache.pages, origin.namespace, project)
        if head is None or packed is None:
            self.omitted.append(f"the page of {project}")
            return
        document = await asyncio.to_thread(unpack_page, packed)
        page = BundledPage(
            index=index,
            project=project,
            sha256=sha256(document),
            size=len(document),
            url=without_userinfo(head.url).partition("?")[0],
            content_type=head.content_type,
            checked=head.checked,
            lifetime=head.lifetime,
            must_revalidate=head.must_revalidate,
            etag=head.etag,
            last_modified=head.last_modified,
            serial=head.serial,
        )
        if page.sha256 != head.digest:
            raise StoreDamaged(f"the page of {project}")
        self.pages.append(page)
        await self._add_document(origin, page, document)

    async def _add_files(
        self, index: int, project: ProjectName, wanted: SelectedFiles, keys: Iterable[Key]
    ) -> None:
        found = set()
        for key in keys:
            if not _is_selected(key, wanted):
                continue
            digest, filename = key.digest, key.filename
            record = await self._cache.records.get(key)
            cached = msgspec.json.decode(record, type=CachedFileRecord) if record else None
            blob = await self._cache.store.get(cached.sha256) if cached else None
            if cached is None or blob is None:
                self.omitted.append(f"{filename} of {project}")
                continue
            if blob.size != cached.size:
                raise StoreDamaged(cached.sha256)
            self.files.append(
                _bundled_file(
                    index, key, cached.sha256, cached.size, cached.stored, cached.uploaded
                )
            )
            found.add((filename, digest))
        for filename, digest in sorted((wanted or set()) - found):
            await self._add_unrecorded_file(index, project, filename, digest)

    async def _add_unrecorded_file(
        self, index: int, project: str, filename: str, digest: str
    ) -> None:
        """The store may have the file from another index or project, without a record for this."""
        if filename.endswith(PROVENANCE):
            return
        is_sibling = distribution_of(filename) != filename or not is_sha256(digest)
        blob = None if is_sibling else await self._cache.store.get(digest)
        if blob is None:
            self.missing.append(f"{filename} of {project}")
        else:
            key = Key(RecordKind.CACHED_FILE, "-", project, digest, filename)
            self.files.append(_bundled_file(index, key, digest, blob.size or 0, 0.0))

    async def _add_provenance(self, index: int, key: Key, wanted: SelectedFiles) -> None:
        record = await self._cache.records.get(key) if _is_selected(key, wanted) else None
        if record:
            stored, _, document = record.partition(b"\n")
            entry = _bundled_file(index, key, sha256(document), len(document), float(stored))
            self.provenance.append(entry)
            await self._add_document(self._origins[index], entry, document)

    async def _add_document(
        self, origin: UpstreamOrigin, entry: BundledPage | BundledFile, content: bytes
    ) -> None:
        if self._known.has(origin.url, entry) or entry.sha256 in self.documents:
            return
        packed = await asyncio.to_thread(zstd_compress, content)
        member = Member(sha256(packed), len(packed))
        self.documents[entry.sha256] = BundledDocument(entry.sha256, entry.size, member)
        self.offsets[entry.sha256] = self._to.tell()
        await asyncio.to_thread(self._to.write, packed)


def _is_selected(key: Key, wanted: SelectedFiles) -> bool:
    """Whether a record is of a selected file or of its sibling."""
    digest, filename = key.digest, key.filename
    owner = distribution_of(filename)
    return wanted is None or (filename, digest) in wanted or (owner, digest) in wanted


def _bundled_file(
    index: int, key: Key, sha256: str, size: int, stored: float, uploaded: str | None = None
) -> BundledFile:
    """The entry of the manifest for a record."""
    return BundledFile(
        index=index,
        project=key.project,
        filename=key.filename,
        digest=key.digest,
        sha256=sha256,
        size=size,
        uploaded=uploaded,
        stored=stored,
    )


_RETRY_DELAYS = (0.0, 0.05, 0.5)
"""Seconds before each attempt."""


async def read_consistent_page(
    pages: StoredPages, namespace: str, project: str
) -> tuple[StoredPage | None, bytes | None]:
    """Head and document of a page. While a server replaces it, they do not match for a moment."""
    for pause in _RETRY_DELAYS:
        await asyncio.sleep(pause)
        head = await pages.head(namespace, project)
        packed = await pages.document(namespace, project, head.digest) if head else None
        if head is None or packed is not None:
            break
    return head, packed
