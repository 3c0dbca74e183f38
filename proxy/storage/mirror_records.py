"""Records of a mirror: its pages, its cached files, and the history of the digests of files."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress

import msgspec

from proxy.runtime import compress, decompress
from proxy.storage.base import Records
from proxy.storage.keys import Key, RecordKind

PAGE_SCHEMA = 1
Announce = Callable[[Iterable[str]], Awaitable[None]]
"""Has other processes read the pages of these projects again. Raises ``OSError``."""


class StoredPage(msgspec.Struct, frozen=True, kw_only=True):
    """Head of a page as upstream sent it; pages that clients get are made from the raw document."""

    url: str
    """The address after redirects; links of the document are relative to this."""
    content_type: str
    checked: float
    """Unix time in seconds at which upstream last sent or revalidated the page."""
    lifetime: float | None
    """Seconds from then on that upstream declared the page fresh; None: nothing declared."""
    must_revalidate: bool = False
    etag: str | None = None
    last_modified: str | None = None
    serial: int | None = None
    gone_since: float | None = None
    """Unix time at which upstream first answered that the project does not exist any more."""
    older_since: float | None = None
    """Unix time at which upstream first answered with an older page than this one."""
    fence: int = 0
    """Of the turn in which it was fetched, where replicas share leases: see ``Turn``."""
    digest: str
    """sha256 of the document."""

    def is_newer_than(self, other: StoredPage) -> bool:
        """By the fences; else by the clocks of the processes that asked upstream."""
        if self.fence and other.fence and self.fence != other.fence:
            return self.fence > other.fence
        return self.checked > other.checked

    @property
    def document(self) -> tuple[str, str, str]:
        """All that a page is parsed from; equal values mean equal pages."""
        return self.digest, self.url, self.content_type

    @property
    def doubtful(self) -> bool:
        """Whether upstream's last answer contradicts this page, and is not accepted yet."""
        return self.gone_since is not None or self.older_since is not None


class StoredPages:
    """Stored pages: the head in one record, the gzipped document in another.

    Two records, since most refreshes change only the head. The document record begins with its
    digest, so that a head is never combined with the document of another version.

    Processes that share the records write in any order, and a page that was checked earlier
    never replaces a page that was checked later.
    """

    def __init__(
        self,
        records: Records,
        clock: Callable[[], float] = time.time,
        announce: Announce | None = None,
    ) -> None:
        """``announce`` is called when another document of a project was stored."""
        self._records = records
        self._clock = clock
        self._announce = announce

    async def head(self, namespace: str, project: str) -> StoredPage | None:
        return decode_page_head(await self._records.get(Key(RecordKind.PAGE, namespace, project)))

    async def document(self, namespace: str, project: str, digest: str) -> bytes | None:
        """The document with that sha256, compressed: see ``unpack_page``."""
        record = await self._records.get(_keys(namespace, project)[1])
        mark = bytes.fromhex(digest)
        return record[len(mark) :] if record and record.startswith(mark) else None

    async def put(self, namespace: str, project: str, head: StoredPage, packed: bytes) -> bool:
        """Store the page, unless the stored page was checked later; return whether it is stored."""
        key, document = _keys(namespace, project)
        values = {key: _encode(head), document: bytes.fromhex(head.digest) + packed}
        stored = await self._records.put_if(key, self._may_replace(head), values)
        if stored and self._announce:
            with suppress(OSError):
                await self._announce([project])
        return stored

    async def touch(self, namespace: str, project: str, head: StoredPage) -> bool:
        """Store a new head, unless the stored page has another document or was checked later."""
        key, _ = _keys(namespace, project)
        newer = self._may_replace(head)

        def test(record: bytes | None) -> bool:
            stored = decode_page_head(record)
            return stored is not None and stored.digest == head.digest and newer(record)

        return await self._records.put_if(key, test, {key: _encode(head)})

    async def forget(self, namespace: str, project: str, checked: float = math.inf) -> bool:
        """Forget the page, unless it was checked later."""
        keys, now = _keys(namespace, project), self._clock()

        def test(record: bytes | None) -> bool:
            stored = decode_page_head(record)
            return stored is None or not checked < stored.checked <= now

        return await self._records.put_if(keys[0], test, dict.fromkeys(keys, None))

    def _may_replace(self, head: StoredPage) -> Callable[[bytes | None], bool]:
        """A test of the stored head: may the page with this head replace it?"""
        now = self._clock()

        def test(record: bytes | None) -> bool:
            stored = decode_page_head(record)
            if stored is None or not stored.is_newer_than(head):
                return True
            # A time in the future is from a wrong clock: such a page must not stay until then.
            return stored.checked > now and not (stored.fence and head.fence)

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


def decode_page_head(record: bytes | None) -> StoredPage | None:
    """None for a record of another schema, which counts as absent."""
    try:
        found = msgspec.json.decode(record, type=_PageRecord) if record else None
    except msgspec.MsgspecError:
        return None
    return found.page if found and found.schema == PAGE_SCHEMA else None


class CachedFileRecord(msgspec.Struct, frozen=True):
    """The blob that has the bytes of a file."""

    sha256: str
    """The key of the blob in the store."""
    size: int
    """Bytes."""
    stored: float
    """Unix time in seconds."""
    uploaded: str | None = None


class CachedFiles:
    """Cached files by project, filename and the digest in their address.

    So clients that name the digest get a file that upstream no longer lists, or now lists with
    other bytes; and files whose index gives no sha256 are found in the store.
    """

    def __init__(self, records: Records, namespace: str) -> None:
        self._records = records
        self._namespace = namespace

    async def get(self, project: str, digest: str, filename: str) -> CachedFileRecord | None:
        return decode_cached_file(await self._records.get(self._key(project, digest, filename)))

    async def put(self, project: str, digest: str, filename: str, file: CachedFileRecord) -> None:
        await self._records.put(self._key(project, digest, filename), msgspec.json.encode(file))

    async def names(self, project: str) -> set[tuple[str, str]]:
        """Digest and filename of all cached files of a project."""
        keys = await self._records.keys(RecordKind.CACHED_FILE, self._namespace, project)
        return {(key.digest, key.filename) for key in keys}

    def _key(self, project: str, digest: str, filename: str) -> Key:
        return Key(RecordKind.CACHED_FILE, self._namespace, project, digest, filename)


def decode_cached_file(record: bytes | None) -> CachedFileRecord | None:
    """None for a damaged record."""
    try:
        return msgspec.json.decode(record, type=CachedFileRecord) if record else None
    except msgspec.MsgspecError:
        return None


NO_LONGER_LISTED = "no longer listed upstream"
"""Why a cached file is listed as yanked (PEP 592) that is gone from upstream's page."""


class FirstSeenFile(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was listed first."""

    digest: str
    """As ``File.address_digest``."""
    uploaded: str | None = None
    size: int | None = None
    metadata: bool | Mapping[str, str] = False
    first_seen: float | None = None
    """Unix time in seconds."""


DigestHistoryRecord = dict[str, FirstSeenFile]
"""By file name."""


def decode_digest_history(record: bytes) -> DigestHistoryRecord:
    """Empty for a damaged record, or one of another version of the program."""
    try:
        return msgspec.json.decode(decompress(record), type=DigestHistoryRecord)
    except (msgspec.MsgspecError, OSError, EOFError):
        return {}


def encode_digest_history(seen: DigestHistoryRecord) -> bytes:
    return compress(msgspec.json.encode(seen))


class ChangedFile(msgspec.Struct, frozen=True):
    """Upstream lists a file with another digest than before."""

    seen: str
    """The digest before, as ``File.address_digest``."""
    now: str
    noticed: float
    """Unix time in seconds at which the change was first noticed."""


class ChangedFiles:
    """Counts each change once, however often and by whichever process it is noticed."""

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
