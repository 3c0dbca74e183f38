"""Values that the parts of a mirror share: its behaviour, and its stores of pages and files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from proxy.indexes.mirror.history import OnChange
from proxy.indexes.mirror.page_cache import Lifetimes
from proxy.storage import (
    NO_LEASES,
    BlobStore,
    CachedFiles,
    Leases,
    Records,
    Room,
    StoredPages,
    no_limit,
)


class MirrorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a mirror behaves, as the settings say. Times in seconds."""

    lifetimes: Lifetimes = Lifetimes()
    soft_deadline: float = 3.0
    """A stale page is answered if upstream takes longer; its revalidation goes on."""
    honour_no_store: bool = False
    """Do not store a page that upstream forbids to be stored."""
    outlives_upstream: bool = False
    """Pages are answered while upstream is away, although it has them revalidated each time."""
    on_changed_file: OnChange = "refuse"
    show_removed_files: bool = False
    """List stored files that upstream no longer lists, as yanked."""
    refuse_removed_files: bool = False
    """Refuse stored files that upstream no longer lists."""
    keep_first_seen: bool = False
    """Pages say when each file was first listed, which policies need."""
    trust_dates: bool = True
    """False: the upload time of a file is the time at which it was first listed here."""
    extra_files: bool = False
    """Serve also signatures and other files beside distributions."""
    stores_files: bool = True
    """False: files pass through, verified, and are not kept."""
    redirects: bool = False
    """Clients are sent to the addresses of files that are not stored."""
    list_all_offline: bool = False
    """Offline, list also files that are not stored."""
    lists_refused_hosts: bool = False
    """List also files at addresses from which none may be fetched, so that reading them fails."""
    max_file_size: int = 5 * 2**30
    """Bytes of a file whose size its index does not say."""


class MirrorStorage(msgspec.Struct, frozen=True, kw_only=True):
    """The stores of one mirror."""

    namespace: str
    """Part of the key of every record; another one for another upstream or other credentials."""
    blobs: BlobStore
    records: Records
    pages: StoredPages
    files: CachedFiles
    spool: Path
    """A folder on the file system of the blobs, for files that are arriving."""
    room: Room = no_limit
    page_leases: Leases = NO_LEASES
    """By which replicas that share the pages fetch each page once."""
    file_leases: Leases = NO_LEASES
    """By which replicas that share the blobs fetch each file once."""
    used: Callable[[str], None]
    """Called with the key of each blob that is stored or asked for."""
