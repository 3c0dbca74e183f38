"""A bundle written: the same bytes for the same content, without a copy of it on the way.

A bundle made out of a cache. Servers may be running on it.
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

from proxy.bundle.errors import BundleFailed, Incomplete
from proxy.bundle.format import (
    END,
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
from proxy.bundle.selection import Base, BundleSelection
from proxy.bundle.signing import Signer
from proxy.composition import Cache
from proxy.errors import StoreDamaged
from proxy.runtime import in_thread, open_spool
from proxy.storage import BlobStore
from proxy.upstream import UpstreamOrigin


class Writer:
    """Appends to a stream, and knows the digest of all that was written. Blocks on the disk."""

    def __init__(self, to: BinaryIO) -> None:
        self._to = to
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """How many bytes that were: all. Raises ``OSError``."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._to.write(rest) :]
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def member(self, name: str, data: bytes) -> int:
        return self.write(tar_header(name, len(data)) + data + bytes(tar_padding(len(data))))


def write_bundle(
    writer: Writer,
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
    yield writer.member(HEAD_NAME, head)
    if signer:
        yield writer.member(SIGNATURE_NAME, signer.sign(head))
    yield writer.member(MANIFEST_NAME, packed)
    for document in manifest.documents:
        documents.seek(inventory.offsets[document.sha256])
        data = documents.read(document.packed.size)
        yield writer.member(document_name(document), data)


@contextmanager
def output(path: Path | None) -> Iterator[BinaryIO]:
    """A stream that becomes the file at its end, whole and on the disk, or never.

    Until then it is beside it, as ``<name>.part``; a pipe or device is written as it comes, and
    so is standard output, which None stands for. Raises ``BundleFailed``.
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
        with _opened_alone(part) as file:
            try:
                yield file
            except BaseException:
                part.unlink()
                raise
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        raise BundleFailed(f"{path or 'standard output'} cannot be written", error) from error


def _opened_alone(part: Path) -> BinaryIO:
    """Empty, and locked until it is closed: a run that was killed leaves nothing in the way."""
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
    writer: Writer, member: Member, store: BlobStore, tell: Callable[[int], None]
) -> None:
    """Raises ``StoreDamaged`` if the stored file is deleted or not what it has to be."""
    blob = await store.get(member.sha256)
    if blob is None or blob.size != member.size:
        raise StoreDamaged(member.sha256)
    found = hashlib.sha256()

    def write(piece: bytes) -> int:
        found.update(piece)
        return writer.write(piece)

    tell(await in_thread(writer.write, tar_header(blob_name(member), member.size)))
    async for piece in blob.chunks():
        tell(await in_thread(write, piece))
    if found.hexdigest() != member.sha256:
        raise StoreDamaged(member.sha256)
    tell(await in_thread(writer.write, bytes(tar_padding(member.size))))


Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Given the bytes there will be, what is told of bytes as they are dealt with."""


class Created(msgspec.Struct, frozen=True):
    manifest: Manifest
    digest: str
    """The sha256 of the manifest."""
    archive_digest: str
    size: int
    """Bytes of the archive."""
    left_out: Sequence[str]
    """What was remembered and is not there any more, in words."""


async def create_bundle(
    cache: Cache,
    origins: Sequence[UpstreamOrigin],
    selection: BundleSelection,
    path: Path | None,
    progress: Progress,
    *,
    base: Base | None = None,
    signer: Signer | None = None,
) -> Created:
    """With ``base``, a delta. ``path`` as in ``output``: a file replaces one of its name.

    Raises ``Incomplete`` where a file that was named is not held, ``StoreDamaged`` and
    ``BundleFailed``.
    """
    with _nameless(cache.spool) as documents:
        inventory = Inventory(cache, documents, base)
        for origin in sorted(origins, key=lambda each: (each.url, each.namespace)):
            if selected := selection.files.get(origin.namespace):
                await inventory.add(origin, selected)
        if inventory.missing:
            raise Incomplete(inventory.missing)
        manifest = inventory.manifest()
        with output(path) as stream, progress(manifest.load) as tell:
            writer = Writer(stream)
            steps = write_bundle(writer, manifest, inventory, documents, signer)
            await run_steps(steps, tell)
            for member in manifest.blobs:
                await _write_blob(writer, member, cache.store, tell)
            tell(await in_thread(writer.write, END))
        digest = sha256(encode(manifest))
        return Created(manifest, digest, writer.digest, writer.size, inventory.left_out)


@contextmanager
def _nameless(folder: Path) -> Iterator[BinaryIO]:
    """A file that is gone when it is closed, whatever happens. Raises ``BundleFailed``."""
    try:
        with _opened(folder) as file:
            yield file
    except OSError as error:
        raise BundleFailed(
            "the cache cannot be read, or there is no room beside it", error
        ) from error


def _opened(folder: Path) -> BinaryIO:
    try:
        fd, path = open_spool(folder)
        path.unlink()
    except OSError:  # a cache that can only be read
        return tempfile.TemporaryFile()
    return os.fdopen(fd, "w+b")
