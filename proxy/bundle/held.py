"""Whether what is needed is held, whole, and what it should be."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

from proxy.bundle.needs import Missing, Need
from proxy.bundle.parallel import each
from proxy.errors import NoSuchFile, ProxyError, StoreDamaged
from proxy.indexes.base import Index
from proxy.model import METADATA, PROVENANCE, STRENGTH, Artifact
from proxy.storage.base import Blob, BlobStore
from proxy.storage.disk import BytesBlob, DiskBlob

_AT_ONCE = 4
_BLAKE2B = 32
"""Bytes of the digests that indexes call ``blake2b``."""


class Wrong(ProxyError):
    """Bytes that are not those a lock names."""

    def __init__(self, filename: str, algorithm: str) -> None:
        super().__init__(filename, algorithm)
        self.filename = filename
        self.algorithm = algorithm

    def __str__(self) -> str:
        return f"{self.filename} does not have the {self.algorithm} that the lock names"


def is_here(blob: Blob) -> bool:
    """Whether its bytes are on this machine already."""
    return isinstance(blob, DiskBlob | BytesBlob)


async def proven(need: Need, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, and an error at the end unless they are what the lock names."""
    checks = {name: _hash(name) for name in need.proofs if name in STRENGTH}
    async for piece in pieces:
        for check in checks.values():
            check.update(piece)
        yield piece
    for name, check in checks.items():
        if check.hexdigest() != need.proofs[name]:
            raise Wrong(need.filename, name)


async def missing(
    index: Index, store: BlobStore, needs: Iterable[Need], *, verify: bool = False
) -> list[Missing]:
    """Those that are not held or not whole; with ``verify`` every byte is hashed again.

    What is damaged is dropped from the store, so that it can be fetched anew.
    """
    found = []

    async def look(need: Need) -> None:
        try:
            artifact = await index.file(need.project, need.filename, need.digest)
            if not is_here(artifact.blob):
                raise NoSuchFile(need.project, need.filename, "it is not held")
            await _check(need, artifact, store, verify=verify or bool(need.proofs))
        except ProxyError as error:
            found.append(Missing(need.line, str(error)))

    await each(needs, look, _AT_ONCE)
    return sorted(found)


async def _check(need: Need, artifact: Artifact, store: BlobStore, *, verify: bool) -> None:
    blob = artifact.blob
    size = artifact.file.size if need.size is None else need.size
    whole = size is None or blob.size == size
    if not isinstance(blob, DiskBlob) or (whole and not verify):
        return
    beside = need.filename.endswith((METADATA, PROVENANCE))
    hashes = dict(artifact.file.hashes) | ({} if beside else dict(need.proofs))
    stored = store.has(blob.path.name) if _is_key(blob.path) else False
    if stored:
        hashes.setdefault("sha256", blob.path.name)
    if whole and await asyncio.to_thread(_has, blob.path, hashes):
        return
    if stored:
        await store.delete(blob.path.name)
    raise StoreDamaged(need.filename)


def _is_key(path: Path) -> bool:
    return len(path.name) == 64 and path.parent.name == path.name[:2]


def _has(path: Path, hashes: Mapping[str, str]) -> bool:
    """Whether the file has all of these that can be checked."""
    for name in hashes.keys() & set(STRENGTH):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda name=name: _hash(name))  # type: ignore[misc]
        if found.hexdigest() != hashes[name]:
            return False
    return True


def _hash(name: str) -> hashlib._Hash:
    if name == "blake2b":
        return hashlib.blake2b(digest_size=_BLAKE2B)  # type: ignore[return-value]
    return hashlib.new(name, usedforsecurity=False)
