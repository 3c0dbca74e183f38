"""Storage: bytes and records at rest."""

from proxy.storage.base import (
    BlobEntry,
    BlobStore,
    Eviction,
    Records,
    Room,
    no_limit,
)
from proxy.storage.claims import (
    Claims,
    first_names,
)
from proxy.storage.disk_store import (
    DiskBlob,
    DiskStore,
    FileIdentity,
    as_local_file,
    digests_of,
    identity_of,
)
from proxy.storage.eviction import (
    Evictor,
    Lifetime,
)
from proxy.storage.folder_checks import (
    private_folder,
    require_local,
)
from proxy.storage.in_memory import BytesBlob, MemoryRecords
from proxy.storage.keys import Key, RecordKind, prefix_of
from proxy.storage.last_used import LastUsed
from proxy.storage.leases import NO_LEASES, Leases, NoLeases, Turn
from proxy.storage.mirror_records import (
    NO_LONGER_LISTED,
    Announce,
    CachedFileRecord,
    CachedFiles,
    ChangedFile,
    ChangedFiles,
    DigestHistoryRecord,
    FirstSeenFile,
    StoredPage,
    StoredPages,
    decode_cached_file,
    decode_digest_history,
    decode_page_head,
    encode_digest_history,
    pack_page,
    unpack_page,
)
from proxy.storage.name_list import NameList, write_name_list
from proxy.storage.pins import Pins
from proxy.storage.purge_log import EVERYTHING, MISSED, FilePurgeLog, PurgeLog
from proxy.storage.records import DiskRecords, with_checksum, without_checksum
from proxy.storage.search_file import (
    HELD,
    KNOWN,
    PRIVATE,
    Listing,
    SearchBusy,
    SearchFile,
    SearchResult,
)

__all__ = [
    "EVERYTHING",
    "HELD",
    "KNOWN",
    "MISSED",
    "NO_LEASES",
    "NO_LONGER_LISTED",
    "PRIVATE",
    "Announce",
    "BlobEntry",
    "BlobStore",
    "BytesBlob",
    "CachedFileRecord",
    "CachedFiles",
    "ChangedFile",
    "ChangedFiles",
    "Claims",
    "DigestHistoryRecord",
    "DiskBlob",
    "DiskRecords",
    "DiskStore",
    "Eviction",
    "Evictor",
    "FileIdentity",
    "FilePurgeLog",
    "FirstSeenFile",
    "Key",
    "LastUsed",
    "Leases",
    "Lifetime",
    "Listing",
    "MemoryRecords",
    "NameList",
    "NeedsBelow",
    "NoLeases",
    "Pins",
    "PurgeLog",
    "RecordKind",
    "Records",
    "Room",
    "SearchBusy",
    "SearchFile",
    "SearchResult",
    "StoredPage",
    "StoredPages",
    "Turn",
    "as_local_file",
    "decode_cached_file",
    "decode_digest_history",
    "decode_page_head",
    "digests_of",
    "encode_digest_history",
    "first_names",
    "identity_of",
    "no_limit",
    "pack_page",
    "prefix_of",
    "private_folder",
    "require_local",
    "unpack_page",
    "with_checksum",
    "without_checksum",
    "write_name_list",
]
