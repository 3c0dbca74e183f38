"""Upstream pages at rest: the document as upstream sent it, and what is known of its freshness.

What is held of a mirror's files: which stored bytes once stood behind which address.

How it is written down which files were once listed, and with which bytes; see ``Ledger``.

Which files upstream has listed with other bytes than before: counted, across restarts.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from proxy.runtime import compress, decompress
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


class CachedFileRecord(msgspec.Struct, frozen=True):
    sha256: str
    """The key of its bytes in the store."""
    size: int
    """Bytes."""
    stored: float
    """Unix time in seconds."""
    uploaded: str | None = None


class CachedFiles:
    """Remembers files by project, filename and the digest in their address.

    So a file that upstream no longer lists, or lists with other bytes now, can still be had by
    whoever names its digest, and files without a sha256 in their index are found in the store.
    """

    def __init__(self, records: Records, namespace: str) -> None:
        self._records = records
        self._prefix = f"held/{namespace}"

    async def get(self, project: str, digest: str, filename: str) -> CachedFileRecord | None:
        record = await self._records.get(f"{self._prefix}/{project}/{digest}/{filename}")
        try:
            return msgspec.json.decode(record, type=CachedFileRecord) if record else None
        except msgspec.MsgspecError:
            return None

    async def put(self, project: str, digest: str, filename: str, held: CachedFileRecord) -> None:
        key = f"{self._prefix}/{project}/{digest}/{filename}"
        await self._records.put(key, msgspec.json.encode(held))

    async def names(self, project: str) -> set[tuple[str, str]]:
        """All (digest, filename) remembered of a project."""
        prefix = f"{self._prefix}/{project}/"
        keys = await self._records.keys(prefix)
        return {_pair(key.removeprefix(prefix)) for key in keys}


def _pair(rest: str) -> tuple[str, str]:
    digest, _, filename = rest.partition("/")
    return digest, filename


NO_LONGER_LISTED = "no longer listed upstream"
"""The reason by which a file is shown as yanked that upstream's page does not show any more."""


class FirstSeenFile(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was listed first."""

    digest: str
    """As ``File.digest``."""
    uploaded: str | None = None
    size: int | None = None
    metadata: bool | Mapping[str, str] = False


DigestHistoryRecord = dict[str, FirstSeenFile]
"""By file name."""


def digest_history_key(namespace: str, project: str) -> str:
    """Of the record of a project."""
    return f"seen/{namespace}/{project}"


def decode_digest_history(record: bytes) -> DigestHistoryRecord:
    """Nothing for a record that is of another version, or damaged."""
    try:
        return msgspec.json.decode(decompress(record), type=DigestHistoryRecord)
    except (msgspec.MsgspecError, OSError, EOFError):
        return {}


def encode_digest_history(seen: DigestHistoryRecord) -> bytes:
    return compress(msgspec.json.encode(seen))


_CHANGED_PREFIX = "changed/"


class ChangedFile(msgspec.Struct, frozen=True):
    seen: str
    """The digest it had before, as in ``File.digest``."""
    now: str
    noticed: float
    """Unix time in seconds at which it was noticed first."""


class ChangedFiles:
    """Each change counts once, however often and by whomever it is noticed."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def note(self, namespace: str, project: str, filename: str, change: ChangedFile) -> None:
        key = f"{_CHANGED_PREFIX}{namespace}/{project}/{change.now}/{filename}"
        if await self._records.get(key) is None:
            await self._records.put(key, msgspec.json.encode(change))

    async def count(self) -> int:
        return len(await self._records.keys(_CHANGED_PREFIX))

    async def all(self) -> list[tuple[str, str, ChangedFile]]:
        """By project and file name."""
        found = []
        for key in await self._records.keys(_CHANGED_PREFIX):
            _, _, project, _, filename = key.split("/", 4)
            if change := _decoded(await self._records.get(key)):
                found.append((project, filename, change))
        return sorted(found, key=lambda each: (*each[:2], each[2].noticed))


def _decoded(record: bytes | None) -> ChangedFile | None:
    try:
        return msgspec.json.decode(record, type=ChangedFile) if record else None
    except msgspec.MsgspecError:
        return None
