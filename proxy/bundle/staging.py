"""Staged members of a bundle, which no server reads, until all of the bundle is checked.

```text
<cache>/import/lock                 locked by the import that runs
<cache>/import/<digest>/bytes/      members of the archive, by their sha256
<cache>/import/<digest>/checked     the manifest; written when all members are there and right
```

Nothing of an archive gets into the cache before ``checked`` exists; after that the import can be
completed from the staged members alone. So an import that is killed has either changed nothing,
or is completed by the next import without the archive. All steps can be repeated.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from proxy.bundle.errors import ImportRunning
from proxy.bundle.format import Manifest, Member, encode
from proxy.bundle.reader import Steps, discard
from proxy.composition import Cache
from proxy.runtime import open_spool
from proxy.storage import DiskStore

_CHECKED_FILE = "checked"


class StagedBundle:
    """The staged members of one bundle. All methods block on the disk and raise ``OSError``."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        self.folder = folder
        self._store = DiskStore(folder / "bytes", cache.spool)
        self._spool = cache.spool

    def path(self, sha256: str) -> Path:
        """The path of a member, staged or not."""
        return self._store.path(sha256)

    def store_member(
        self, cached: Container[str], member: Member, pieces: Iterable[bytes]
    ) -> Steps:
        """Stage a member, see ``MemberConsumer``; if it is staged or ``cached``, only check it."""
        if member.sha256 in cached or self.path(member.sha256).exists():
            yield from discard(member, pieces)
            return
        fd, path = open_spool(self._spool)
        try:
            with os.fdopen(fd, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                    yield len(piece)
                file.flush()
                self._store.adopt(member.sha256, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def mark_checked(self, manifest: Manifest) -> None:
        """Record that all members are staged and right, so that they may be published."""
        fd, path = open_spool(self._spool)
        with os.fdopen(fd, "wb") as file:
            file.write(encode(manifest))
            file.flush()
            os.fsync(fd)
            path.replace(self.folder / _CHECKED_FILE)

    def checked_manifest(self) -> Manifest | None:
        """The manifest, if all members may be published."""
        try:
            content = (self.folder / _CHECKED_FILE).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(content, type=Manifest)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class StagingFolder:
    """The folder of staged bundles of one cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._folder = cache.folder / "import"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Allow one import at a time. Raises ``ImportRunning`` and ``OSError``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ImportRunning from None
            yield

    def for_bundle(self, digest: str) -> StagedBundle:
        """``digest``: the sha256 of the manifest."""
        staged = StagedBundle(self._folder / digest, self._cache)
        staged.folder.mkdir(mode=0o700, exist_ok=True)
        return staged

    def unfinished(self) -> list[StagedBundle]:
        """Bundles whose import was killed."""
        folders = sorted(path for path in self._folder.iterdir() if path.is_dir())
        return [StagedBundle(path, self._cache) for path in folders]
