"""A bundle made out of a cache. Servers may be running on it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from proxy.bundle.archive.delta import Base
from proxy.bundle.archive.inventory import Inventory
from proxy.bundle.archive.manifest import Manifest, encode, sha256
from proxy.bundle.archive.refused import BundleFailed, Incomplete
from proxy.bundle.archive.selection import BundleSelection
from proxy.bundle.archive.signing import Signer
from proxy.bundle.archive.steps import run_steps
from proxy.bundle.archive.writing import Writer, output, write_bundle
from proxy.cache import Cache
from proxy.storage.leftovers import open_spool
from proxy.upstream.documents import UpstreamOrigin

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
            steps = write_bundle(writer, manifest, inventory, documents, cache.store, signer)
            await run_steps(steps, tell)
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
