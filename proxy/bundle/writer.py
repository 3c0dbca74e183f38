"""Create a bundle of a cache that servers may be using: same content, same bytes.

Files are written from the store into the archive, without a copy in between.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from proxy.bundle.bundle_selection import BundleSelection, DeltaBase
from proxy.bundle.errors import BundleIOError, FilesNotCached
from proxy.bundle.format import (
    ARCHIVE_END,
    BundledDocument,
    Head,
    Manifest,
    Member,
    encode,
    sha256,
    tar_header,
    tar_padding,
    zstd_compress,
)
from proxy.bundle.inventory import Inventory
from proxy.bundle.reader import (
    HEAD_NAME,
    MANIFEST_NAME,
    SIGNATURE_NAME,
    Steps,
    blob_name,
    document_name,
    run_steps,
)
from proxy.bundle.signing import Signer
from proxy.composition import Cache
from proxy.errors import StoreDamaged
from proxy.runtime import in_thread, open_spool
from proxy.storage import BlobStore
from proxy.upstream import UpstreamOrigin


class HashingWriter:
    """Writes to a stream and hashes what was written. Blocks on the disk; raises ``OSError``."""

    def __init__(self, to: BinaryIO) -> None:
        self._to = to
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Write all of ``data``; returns its length."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._to.write(rest) :]
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def write_member(self, name: str, data: bytes) -> int:
        return self.write(tar_header(name, len(data)) + data + bytes(tar_padding(len(data))))


def write_bundle(
    writer: HashingWriter,
    manifest: Manifest,
    inventory: Inventory,
    documents: BinaryIO,
    signer: Signer | None = None,
) -> Steps:
    """Writes all but the files, member by member, and yields the bytes of each step.

    ``documents`` is what ``inventory`` was written to. Raises ``OSError``.
    """
    content = encode(manifest)
    packed = zstd_compress(content)
    described = BundledDocument(sha256(content), len(content), Member(sha256(packed), len(packed)))
    head = encode(Head(manifest=described, signer=signer.public if signer else None))
    yield writer.write_member(HEAD_NAME, head)
    if signer:
        yield writer.write_member(SIGNATURE_NAME, signer.sign(head))
    yield writer.write_member(MANIFEST_NAME, packed)
    for document in manifest.documents:
        documents.seek(inventory.offsets[document.sha256])
        data = documents.read(document.packed.size)
        yield writer.write_member(document_name(document), data)


@contextmanager
def open_output(path: Path | None) -> Iterator[BinaryIO]:
    """A stream that becomes the file at the end, complete and synced, or not at all.

    Until then the file has the name ``<name>.part``. Pipes, devices and standard output (None)
    are written directly. Raises ``BundleIOError``.
    """
    try:
        if path is None:
            with open(1, "wb", buffering=0, closefd=False) as stream:
                yield stream
            return
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            with path.open("wb", buffering=0) as stream:
                yield stream
            return
        part = path.with_name(path.name + ".part")
        with _open_locked(part) as file:
            try:
                yield file
            except BaseException:
                part.unlink()
                raise
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        raise BundleIOError(f"{path or 'standard output'} cannot be written", error) from error


def _open_locked(part: Path) -> BinaryIO:
    """An empty file, locked until it is closed. The file of a killed run is overwritten."""
    file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not part.exists() or not os.path.samestat(os.fstat(file.fileno()), part.stat()):
            raise BlockingIOError
        file.truncate()
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise BlockingIOError(errno.EAGAIN, "another run is writing it") from None
        raise
    return file


async def _write_blob(
    writer: HashingWriter, member: Member, store: BlobStore, report: Callable[[int], None]
) -> None:
    """Raises ``StoreDamaged`` if the stored file is deleted or not what it has to be."""
    blob = await store.get(member.sha256)
    if blob is None or blob.size != member.size:
        raise StoreDamaged(member.sha256)
    found = hashlib.sha256()

    def write(piece: bytes) -> int:
        found.update(piece)
        return writer.write(piece)

    report(await in_thread(writer.write, tar_header(blob_name(member), member.size)))
    async for piece in blob.chunks():
        report(await in_thread(write, piece))
    if found.hexdigest() != member.sha256:
        raise StoreDamaged(member.sha256)
    report(await in_thread(writer.write, bytes(tar_padding(member.size))))


Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Takes the total bytes; the context is a function to call with the bytes of each step."""


class CreatedBundle(msgspec.Struct, frozen=True):
    manifest: Manifest
    digest: str
    """The sha256 of the manifest."""
    archive_digest: str
    size: int
    """Bytes of the archive."""
    omitted: Sequence[str]
    """Pages and files with a record whose content is gone, in words."""


async def create_bundle(
    cache: Cache,
    origins: Sequence[UpstreamOrigin],
    selection: BundleSelection,
    path: Path | None,
    progress: Progress,
    *,
    base: DeltaBase | None = None,
    signer: Signer | None = None,
) -> CreatedBundle:
    """Write a bundle, or with ``base`` a delta. ``path`` as in ``open_output``.

    Raises ``FilesNotCached`` if a selected file is not in the cache, ``StoreDamaged`` and
    ``BundleIOError``.
    """
    with _temporary_file(cache.spool) as documents:
        inventory = Inventory(cache, documents, base)
        for origin in sorted(origins, key=lambda each: (each.url, each.namespace)):
            if selected := selection.files.get(origin.namespace):
                await inventory.add(origin, selected, selection.refused)
        if inventory.missing:
            raise FilesNotCached(inventory.missing)
        manifest = msgspec.structs.replace(inventory.manifest(), rules=selection.rules)
        with open_output(path) as stream, progress(manifest.carried_size) as report:
            writer = HashingWriter(stream)
            steps = write_bundle(writer, manifest, inventory, documents, signer)
            await run_steps(steps, report)
            for member in manifest.blobs:
                await _write_blob(writer, member, cache.store, report)
            report(await in_thread(writer.write, ARCHIVE_END))
        digest = sha256(encode(manifest))
        return CreatedBundle(manifest, digest, writer.digest, writer.size, inventory.omitted)


@contextmanager
def _temporary_file(folder: Path) -> Iterator[BinaryIO]:
    """A file without a name, deleted when it is closed. Raises ``BundleIOError``."""
    try:
        with _open_temporary(folder) as file:
            yield file
    except OSError as error:
        raise BundleIOError(
            "the cache cannot be read, or there is no room for temporary files", error
        ) from error


def _open_temporary(folder: Path) -> BinaryIO:
    try:
        fd, path = open_spool(folder)
        path.unlink()
    except OSError:  # the cache is read-only
        return tempfile.TemporaryFile()
    return os.fdopen(fd, "w+b")
