"""Projects, pages and files as frozen values. No I/O.

These are msgspec structs and not dataclasses: a page of 10,000 files is built in a third of
the time and outside the garbage collector's sight, which large projects need.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NewType, Protocol

import msgspec

from proxy.errors import NoSuchFile
from proxy.model.hashes import HASHES_BY_STRENGTH, Sha256
from proxy.model.siblings import EXTRA_SUFFIXES, METADATA, PROVENANCE

ProjectName = NewType("ProjectName", str)
"""A normalized project name (PEP 503); only ``normalize`` makes one."""

_NOTHING: Mapping[str, Any] = {}


class File(msgspec.Struct, frozen=True, gc=False):
    """A distribution file as the page of its project describes it."""

    filename: str
    url: str
    """Absolute, where the owner of the page gets it; for a local file its ``file:`` address."""
    hashes: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Algorithm to lowercase hex."""
    size: int | None = None
    """Bytes."""
    requires_python: str | None = None
    uploaded: str | None = None
    """``upload-time`` (PEP 700) as text, ``yyyy-mm-ddThh:mm:ss[.ffffff]Z``: few are compared."""
    yanked: bool | str = False
    """PEP 592: False, True, or the reason."""
    metadata: bool | Mapping[str, str] = False
    """PEP 714: whether the ``.metadata`` sibling exists, or its hashes."""
    provenance: str | None = None
    """Absolute address of the PEP 740 object."""
    extra: Mapping[str, Any] = _NOTHING
    """Keys of the file that this program does not know; repeated in JSON."""
    beside: tuple[str, ...] = ()
    """Suffixes of further files beside it, of ``EXTRA_SUFFIXES``."""

    @property
    def sha256(self) -> str | None:
        hashes = self.hashes
        return hashes.sha256 if type(hashes) is Sha256 else hashes.get("sha256")

    @property
    def address_digest(self) -> str:
        """The digest in addresses of the file: sha256, else ``<algorithm>-<hex>``, else ``-``."""
        hashes = self.hashes
        if type(hashes) is Sha256:  # no further call: this runs for every file of a page
            return hashes.sha256
        if found := hashes.get("sha256"):
            return found
        name = next((name for name in HASHES_BY_STRENGTH if name in self.hashes), None)
        return f"{name}-{self.hashes[name]}" if name else "-"

    @property
    def uploaded_at(self) -> datetime | None:
        return datetime.fromisoformat(self.uploaded).astimezone(UTC) if self.uploaded else None


PROJECT_STATUSES = ("active", "archived", "quarantined", "deprecated")
"""PEP 792."""


class ProjectStatus(msgspec.Struct, frozen=True):
    """One of ``PROJECT_STATUSES``, and why."""

    status: str
    reason: str | None = None


class ProjectPage(msgspec.Struct, frozen=True, dict=True):
    """The page of a project: the only authority on its files."""

    project: ProjectName
    files: tuple[File, ...]
    versions: tuple[str, ...] = ()
    """PEP 700; every file belongs to one of them."""
    status: ProjectStatus | None = None
    source: str = ""
    """The name of the index that answered; see ``sources_of``."""
    fresh_until: float | None = None
    """Unix time in seconds until which the page is fresh, so that it may be answered without the
    index; None: until the index announces ``PageChanged``. In the past for a stale page."""
    stale_until: float = 0.0
    """Unix time in seconds until which the stale page may be answered while it is revalidated in
    the background (``stale-while-revalidate``, RFC 5861)."""
    checked: float | None = None
    """Unix time in seconds at which the origin last sent or revalidated the page; None: always."""
    not_after: float | None = None
    """Unix time in seconds at which a policy's verdict on the page may change: no answer made
    from the page is given then or later. None: never."""
    may_change: bool = False
    """A policy may refuse a file of it at any time, so clients may reuse it for a short time."""
    refused: int = 0
    """How many files of the page policies refuse, hidden or shown as yanked."""
    version: str = ""
    """Opaque: pages of one project and source with the same version have the same content."""
    first_seen: Mapping[str, float] = _NOTHING
    """When each file was first listed, in Unix time; empty where no policy needs it."""
    meta: Mapping[str, Any] = _NOTHING
    """Keys of ``meta`` beside ``api-version``, such as ``_last-serial``."""
    extra: Mapping[str, Any] = _NOTHING
    """Top-level keys that this program does not know; repeated in JSON."""

    @cached_property
    def _by_name(self) -> dict[str, File]:
        return {file.filename: file for file in self.files}

    def file(self, filename: str, digest: str | None = None) -> File:
        """The file of that name, or the ``.metadata`` or ``.provenance`` sibling of one.

        With ``digest``, as in ``File.address_digest``, only if the bytes are the same.
        Raises ``NoSuchFile``.
        """
        for suffix, make in (("", _itself), (METADATA, _metadata), (PROVENANCE, _provenance)):
            owner = (
                self._by_name.get(filename.removesuffix(suffix))
                if filename.endswith(suffix)
                else None
            )
            found = make(owner) if owner else None
            if owner and found:
                if digest is not None and digest != owner.address_digest:
                    raise NoSuchFile(self.project, filename, "the index now lists other bytes")
                return found
        if owner := self.owner_of_extra(filename):
            if digest is not None and digest != owner.address_digest:
                raise NoSuchFile(self.project, filename, "the index now lists other bytes")
            return File(filename, _bare(owner.url) + filename.removeprefix(owner.filename))
        raise NoSuchFile(self.project, filename)

    def owner_of_extra(self, filename: str) -> File | None:
        """The distribution beside which the further file is; None if it is not one."""
        if filename.endswith(EXTRA_SUFFIXES) and filename not in self._by_name:
            for suffix in EXTRA_SUFFIXES:
                owner = self._by_name.get(filename.removesuffix(suffix))
                if owner and filename.endswith(suffix) and suffix in owner.beside:
                    return owner
        return None

    def keep(self, test: Callable[[File], bool]) -> ProjectPage:
        """The page with only the files that pass the test; the same object if all pass."""
        kept = tuple(file for file in self.files if test(file))
        if len(kept) == len(self.files):
            return self
        names = "/".join((self.version, *(file.filename for file in kept)))
        version = hashlib.sha256(names.encode()).hexdigest()
        return msgspec.structs.replace(self, files=kept, version=version)


def sources_of(page: ProjectPage) -> list[str]:
    """The names of the indexes that answered: several for a merged page."""
    return page.source.split("+")


def _itself(file: File) -> File:
    return file


def _metadata(file: File) -> File | None:
    if not file.metadata:
        return None
    hashes = {} if file.metadata is True else file.metadata
    url = _bare(file.url) + METADATA
    return File(file.filename + METADATA, url, hashes, uploaded=file.uploaded)


def _bare(url: str) -> str:
    return url.partition("#")[0].partition("?")[0]


def _provenance(file: File) -> File | None:
    return File(file.filename + PROVENANCE, file.provenance) if file.provenance else None


class Artifact(msgspec.Struct, frozen=True):
    """A file together with its bytes."""

    file: File
    """The entry on the page."""
    blob: Blob
    not_after: float | None = None
    """As in ``ProjectPage``: no answer made from this artifact is given then or later."""
    private: bool = False
    """A policy may refuse the file later, so shared caches may not store it."""
    location: str = ""
    """The address at which clients fetch the file, if this server is not to send it."""
    observed: tuple[tuple[str, str], ...] = ()
    """Rules in mode ``observe`` that would refuse the file, each with its reason."""


class Span(msgspec.Struct, frozen=True):
    """Bytes of an open file, from ``start`` up to, not including, ``stop``."""

    fd: int
    """Stays open until the next span is requested."""
    start: int
    stop: int
    lasting: bool = False
    """The range is immutable, so it may go to ``sendfile`` uncopied. (A later write would change
    bytes that are queued already.)"""


class Blob(Protocol):
    """Bytes to read, as often as needed. No open handle: nothing to close, safe to drop unread.

    Implementations inherit from this class; the optional parts have defaults that mean "none".
    """

    @property
    def size(self) -> int | None:
        """Bytes, if known without a request to an upstream."""

    @property
    def key(self) -> str | None:
        """The key of the blob in the ``BlobStore`` that it comes from; None: from elsewhere."""
        return None

    @property
    def needs_download(self) -> bool:
        """Whether reading it requests bytes from an upstream, or waits for a download."""
        return False

    async def length(self) -> int | None:
        """Bytes that ``chunks`` will give, for an answer with the bytes; may start a download.

        None if the length is unknown until the end.
        """

    async def size_without_download(self) -> int | None:
        """Bytes, for an answer without the bytes; None if unknown. Raises as ``chunks`` does."""
        return await self.length()

    def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` up to, not including, ``stop``.

        The last chunk is given only after all bytes are verified. Raises ``UpstreamError`` if
        they are wrong or cannot be fetched, ``StoreDamaged`` if the stored file is damaged.
        """

    def local_path(self) -> Path | None:
        """The complete file on a disk of this machine; None: the bytes are not in such a file."""
        return None

    @asynccontextmanager
    async def as_file(self) -> AsyncIterator[Path | None]:
        """A complete file with the bytes while this is entered; None: to have one would take long.

        Raises as ``chunks``, and ``OSError``.
        """
        yield self.local_path()

    def backed_by(self, other: Blob) -> Blob:
        """This blob, continued with the same bytes of ``other`` if the store of this one fails."""
        return self

    async def address(self) -> str:
        """An address at which clients get the bytes for some minutes without this server; empty
        without one."""
        return ""

    def spans(
        self, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[Span | bytes, None] | None:
        """The bytes of ``chunks`` as ranges of open files, so that the kernel can send them.

        Bytes outside files are given as they are. None if no bytes are in a file.
        """
        return None


RESERVED_SEGMENTS = frozenset(
    ("simple", "files", "packages", "metrics", "healthz", "readyz", "legacy", "static")
)
"""First segments of addresses that cannot be names of indexes."""

_VALID = re.compile(r"[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?\Z", re.IGNORECASE | re.ASCII)
_SEPARATORS = re.compile(r"[-_.]+")


def normalize(name: str) -> ProjectName:
    """The normalized form of a project name. Raises ``ValueError`` if it is not one."""
    if not _VALID.match(name):
        raise ValueError(f"not a project name: {name!r}")
    return ProjectName(_SEPARATORS.sub("-", name).lower())
