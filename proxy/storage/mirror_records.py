"""Upstream pages at rest: the document as upstream sent it, and what is known of its freshness.

What is held of a mirror's files: which stored bytes once stood behind which address.

How it is written down which files were once listed, and with which bytes; see ``Ledger``.

Which files upstream has listed with other bytes than before: counted, across restarts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import msgspec

from proxy.runtime import compress, decompress
from proxy.storage.base import Records
from proxy.storage.keys import Key, RecordKind

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
    """Stored pages: the head in one record, the gzipped document in another.

    Two records, since most refreshes change the head alone. The document carries its digest,
    so that a head and the document of another version are never taken for a pair.

    Processes that share the records write in any order: a page that was checked later is never
    replaced by one that was checked earlier.
    """

    def __init__(self, records: Records, clock: Callable[[], float] = time.time) -> None:
        self._records = records
        self._clock = clock

    async def head(self, namespace: str, project: str) -> StoredPage | None:
        return _decode(await self._records.get(Key(RecordKind.PAGE, namespace, project)))

    async def document(self, namespace: str, project: str, digest: str) -> bytes | None:
        """The document with that sha256, still compressed: see ``unpack_page``."""
        record = await self._records.get(_keys(namespace, project)[1])
        mark = bytes.fromhex(digest)
        return record[len(mark) :] if record and record.startswith(mark) else None

    async def put(self, namespace: str, project: str, head: StoredPage, packed: bytes) -> bool:
        """Store the page, unless a page is stored that was checked later."""
        key, document = _keys(namespace, project)
        values = {key: _encode(head), document: bytes.fromhex(head.digest) + packed}
        return await self._records.put_if(key, self._is_newer(head.checked), values)

    async def touch(self, namespace: str, project: str, head: StoredPage) -> bool:
        """Store a new head, unless the stored document is another one or was checked later."""
        key, _ = _keys(namespace, project)
        test = self._is_newer(head.checked, digest=head.digest)
        return await self._records.put_if(key, test, {key: _encode(head)})

    async def forget(self, namespace: str, project: str, checked: float = math.inf) -> bool:
        """Forget the page, unless it was checked later."""
        keys = _keys(namespace, project)
        return await self._records.put_if(
            keys[0], self._is_newer(checked), dict.fromkeys(keys, None)
        )

    def _is_newer(
        self, checked: float, *, digest: str | None = None
    ) -> Callable[[bytes | None], bool]:
        """Whether what was checked then may replace a stored head, of that digest if given."""
        now = self._clock()

        def test(record: bytes | None) -> bool:
            stored = _decode(record)
            if digest is not None and (stored is None or stored.digest != digest):
                return False
            # A later time than now comes from a clock that was wrong: it must not last.
            return stored is None or not checked < stored.checked <= now

        return test

    async def projects(self, namespace: str) -> set[str]:
        return {key.project for key in await self._records.keys(RecordKind.PAGE, namespace)}


def pack_page(document: bytes) -> bytes:
    return compress(document)


def unpack_page(packed: bytes) -> bytes:
    return decompress(packed)


class _PageRecord(msgspec.Struct, frozen=True):
    schema: int
    page: StoredPage


def _keys(namespace: str, project: str) -> tuple[Key, Key]:
    """Of the head, and of the document."""
    return Key(RecordKind.PAGE, namespace, project), Key(RecordKind.DOCUMENT, namespace, project)


def _encode(head: StoredPage) -> bytes:
    return msgspec.json.encode(_PageRecord(schema=PAGE_SCHEMA, page=head))


def _decode(record: bytes | None) -> StoredPage | None:
    """None for a record of another schema, which counts as absent."""
    try:
        found = msgspec.json.decode(record, type=_PageRecord) if record else None
    except msgspec.MsgspecError:
        return None
    return found.page if found and found.schema == PAGE_SCHEMA else None


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
        self._namespace = namespace

    async def get(self, project: str, digest: str, filename: str) -> CachedFileRecord | None:
        record = await self._records.get(self._key(project, digest, filename))
        try:
            return msgspec.json.decode(record, type=CachedFileRecord) if record else None
        except msgspec.MsgspecError:
            return None

    async def put(self, project: str, digest: str, filename: str, held: CachedFileRecord) -> None:
        await self._records.put(self._key(project, digest, filename), msgspec.json.encode(held))

    async def names(self, project: str) -> set[tuple[str, str]]:
        """All (digest, filename) remembered of a project."""
        keys = await self._records.keys(RecordKind.CACHED_FILE, self._namespace, project)
        return {(key.digest, key.filename) for key in keys}

    def _key(self, project: str, digest: str, filename: str) -> Key:
        return Key(RecordKind.CACHED_FILE, self._namespace, project, digest, filename)


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


def decode_digest_history(record: bytes) -> DigestHistoryRecord:
    """Nothing for a record that is of another version, or damaged."""
    try:
        return msgspec.json.decode(decompress(record), type=DigestHistoryRecord)
    except (msgspec.MsgspecError, OSError, EOFError):
        return {}


def encode_digest_history(seen: DigestHistoryRecord) -> bytes:
    return compress(msgspec.json.encode(seen))


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
        key = Key(RecordKind.CHANGED_FILE, namespace, project, change.now, filename)
        if await self._records.get(key) is None:
            await self._records.put(key, msgspec.json.encode(change))

    async def count(self) -> int:
        return len(await self._records.keys(RecordKind.CHANGED_FILE))

    async def all(self) -> list[tuple[str, str, ChangedFile]]:
        """By project and file name."""
        found = []
        for key in await self._records.keys(RecordKind.CHANGED_FILE):
            if change := _decoded(await self._records.get(key)):
                found.append((key.project, key.filename, change))
        return sorted(found, key=lambda each: (*each[:2], each[2].noticed))


def _decoded(record: bytes | None) -> ChangedFile | None:
    try:
        return msgspec.json.decode(record, type=ChangedFile) if record else None
    except msgspec.MsgspecError:
        return None
