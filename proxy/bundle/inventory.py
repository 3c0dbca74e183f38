"""A selection looked up in a cache: the manifest, and the documents to be carried, compressed.

Files are not opened here: they are read when the bundle is written.

A page read out of a cache in which servers may be replacing it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import BinaryIO

import msgspec

from proxy.bundle.format import (
    BundledDocument,
    BundledFile,
    BundledPage,
    Manifest,
    Member,
    sha256,
    zstd_compress,
)
from proxy.bundle.selection import Base, KnownContent, WantedFiles
from proxy.composition import Cache
from proxy.errors import StoreDamaged
from proxy.model import METADATA, PROVENANCE, ProjectName
from proxy.storage import CachedFileRecord, Key, RecordKind, StoredPage, StoredPages, unpack_page
from proxy.upstream import UpstreamOrigin, without_userinfo

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Inventory:
    """Collects what goes into one bundle."""

    def __init__(self, cache: Cache, to: BinaryIO, base: Base | None = None) -> None:
        """``to`` takes the compressed documents, one behind the other."""
        self._cache = cache
        self._to = to
        self._base = base
        self._known = KnownContent(base)
        self._origins: list[UpstreamOrigin] = []
        self.pages: list[BundledPage] = []
        self.provenance: list[BundledFile] = []
        self.files: list[BundledFile] = []
        self.documents: dict[str, BundledDocument] = {}
        self.offsets: dict[str, int] = {}
        """Where each document begins in ``to``, by its sha256."""
        self.missing: list[str] = []
        """Files that were named and are not held."""
        self.left_out: list[str] = []
        """What is remembered but not there any more."""

    async def add(
        self, origin: UpstreamOrigin, selected: Mapping[ProjectName, WantedFiles]
    ) -> None:
        """What is selected of one index. Raises ``StoreDamaged``."""
        index, namespace = len(self._origins), origin.namespace
        self._origins.append(origin)
        held = await self._keys(RecordKind.CACHED_FILE, namespace)
        proofs = await self._keys(RecordKind.PROVENANCE, namespace)
        for project, wanted in sorted(selected.items()):
            await self._page(index, project)
            await self._held(index, project, wanted, held.get(project, ()))
            for key in proofs.get(project, ()):
                await self._provenance(index, key, wanted)

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

    async def _keys(self, kind: RecordKind, namespace: str) -> dict[str, list[Key]]:
        found: dict[str, list[Key]] = {}
        for key in await self._cache.records.keys(kind, namespace):
            found.setdefault(key.project, []).append(key)
        return found

    async def _page(self, index: int, project: ProjectName) -> None:
        origin = self._origins[index]
        head, packed = await read_consistent_page(self._cache.pages, origin.namespace, project)
        if head is None or packed is None:
            self.left_out.append(f"the page of {project}")
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
        await self._carry(origin, page, document)

    async def _held(
        self, index: int, project: ProjectName, wanted: WantedFiles, keys: Iterable[Key]
    ) -> None:
        found = set()
        for key in keys:
            if not _is_wanted(key, wanted):
                continue
            digest, filename = key.digest, key.filename
            record = await self._cache.records.get(key)
            held = msgspec.json.decode(record, type=CachedFileRecord) if record else None
            blob = await self._cache.store.get(held.sha256) if held else None
            if held is None or blob is None:
                self.left_out.append(f"{filename} of {project}")
                continue
            if blob.size != held.size:
                raise StoreDamaged(held.sha256)
            self.files.append(
                _entry(index, key, held.sha256, held.size, held.stored, held.uploaded)
            )
            found.add((filename, digest))
        for filename, digest in sorted((wanted or set()) - found):
            await self._without_record(index, project, filename, digest)

    async def _without_record(self, index: int, project: str, filename: str, digest: str) -> None:
        """A file that another index or project brought into the store is as good."""
        if filename.endswith(PROVENANCE):
            return
        beside = filename.endswith(METADATA) or not _SHA256.match(digest)
        blob = None if beside else await self._cache.store.get(digest)
        if blob is None:
            self.missing.append(f"{filename} of {project}")
        else:
            key = Key(RecordKind.CACHED_FILE, "-", project, digest, filename)
            self.files.append(_entry(index, key, digest, blob.size or 0, 0.0))

    async def _provenance(self, index: int, key: Key, wanted: WantedFiles) -> None:
        record = await self._cache.records.get(key) if _is_wanted(key, wanted) else None
        if record:
            stored, _, document = record.partition(b"\n")
            entry = _entry(index, key, sha256(document), len(document), float(stored))
            self.provenance.append(entry)
            await self._carry(self._origins[index], entry, document)

    async def _carry(
        self, origin: UpstreamOrigin, entry: BundledPage | BundledFile, content: bytes
    ) -> None:
        if self._known.has(origin.url, entry) or entry.sha256 in self.documents:
            return
        packed = await asyncio.to_thread(zstd_compress, content)
        member = Member(sha256(packed), len(packed))
        self.documents[entry.sha256] = BundledDocument(entry.sha256, entry.size, member)
        self.offsets[entry.sha256] = self._to.tell()
        await asyncio.to_thread(self._to.write, packed)


def _is_wanted(key: Key, wanted: WantedFiles) -> bool:
    """Whether a record is of a file that is wanted, or of what lies beside one."""
    digest, filename = key.digest, key.filename
    owner = filename.removesuffix(METADATA).removesuffix(PROVENANCE)
    return wanted is None or (filename, digest) in wanted or (owner, digest) in wanted


def _entry(
    index: int, key: Key, sha256: str, size: int, stored: float, uploaded: str | None = None
) -> BundledFile:
    """``key``: of the record."""
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


_PAUSES = (0.0, 0.05, 0.5)
"""Seconds before each look."""


async def read_consistent_page(
    pages: StoredPages, namespace: str, project: str
) -> tuple[StoredPage | None, bytes | None]:
    """Head and document of one page: while it is replaced, for a moment none has the other."""
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        head = await pages.head(namespace, project)
        packed = await pages.document(namespace, project, head.digest) if head else None
        if head is None or packed is not None:
            break
    return head, packed
