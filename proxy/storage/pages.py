"""Upstream pages at rest: the document as upstream sent it, and what is known of its freshness."""

from __future__ import annotations

import msgspec

from proxy.compression import compress, decompress
from proxy.storage.base import Records

PAGE_SCHEMA = 1


class StoredPage(msgspec.Struct, frozen=True, kw_only=True):
    """A raw page. Pages are derived from it anew when they are needed, never stored rewritten."""

    url: str
    """Where it was found after redirects; its links are relative to this."""
    content_type: str
    checked: float
    """Unix time in seconds at which upstream last vouched for it."""
    lifetime: float | None
    """Seconds upstream granted from then on; None: it did not say."""
    must_revalidate: bool = False
    etag: str | None = None
    last_modified: str | None = None
    serial: int | None = None
    gone_since: float | None = None
    """When (Unix time) upstream first answered that there is no such project any more."""
    older_since: float | None = None
    """When (Unix time) upstream first answered with an older page than this one."""
    digest: str
    """sha256 of the document."""

    @property
    def document(self) -> tuple[str, str, str]:
        """All that the page is read from: heads that agree in this are of the same page."""
        return self.digest, self.url, self.content_type

    @property
    def doubtful(self) -> bool:
        """Whether upstream's newest answer was another one, which is not believed yet."""
        return self.gone_since is not None or self.older_since is not None


class StoredPages:
    """Stored pages by key: the head in one record, the gzipped document in another.

    Two records, since most refreshes change the head alone. The document carries its digest,
    so that a head and the document of another version are never taken for a pair.
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    async def head(self, key: str) -> StoredPage | None:
        record = await self._records.get(f"page/{key}")
        return _decode(record) if record else None

    async def document(self, key: str, digest: str) -> bytes | None:
        """The document with that sha256, still compressed: see ``unpack_page``."""
        record = await self._records.get(f"document/{key}")
        mark = bytes.fromhex(digest)
        return record[len(mark) :] if record and record.startswith(mark) else None

    async def put(self, key: str, head: StoredPage, packed: bytes) -> None:
        await self._records.put(f"document/{key}", bytes.fromhex(head.digest) + packed)
        await self.touch(key, head)

    async def touch(self, key: str, head: StoredPage) -> None:
        """A new head for the document that is stored."""
        record = msgspec.json.encode(_PageRecord(schema=PAGE_SCHEMA, page=head))
        await self._records.put(f"page/{key}", record)

    async def forget(self, key: str) -> None:
        await self._records.forget(f"page/{key}")
        await self._records.forget(f"document/{key}")

    async def keys(self, prefix: str) -> list[str]:
        found = await self._records.keys(f"page/{prefix}")
        return [key.removeprefix("page/") for key in found]


def pack_page(document: bytes) -> bytes:
    return compress(document)


def unpack_page(packed: bytes) -> bytes:
    return decompress(packed)


class _PageRecord(msgspec.Struct, frozen=True):
    schema: int
    page: StoredPage


def _decode(record: bytes) -> StoredPage | None:
    """None for records of another schema: they are as good as absent."""
    try:
        found = msgspec.json.decode(record, type=_PageRecord)
    except msgspec.MsgspecError:
        return None
    return found.page if found.schema == PAGE_SCHEMA else None
