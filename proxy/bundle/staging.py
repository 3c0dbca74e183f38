"""Where an import keeps what has come so far, out of everybody's sight.

```text
<cache>/import/lock                 held by the one import that runs
<cache>/import/<digest>/bytes/      members of the archive, by their sha256
<cache>/import/<digest>/checked     the manifest; written when all has come and all is right
```

Nothing of an archive gets into the cache before ``checked`` is there, and then only what is
staged is needed to finish. So after a kill there is either nothing to be seen of an import,
or it can be completed without the archive: what is to be done is done again, to the same end.
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
from proxy.bundle.reader import Steps, drop
from proxy.composition import Cache
from proxy.runtime import open_spool
from proxy.storage import DiskStore

_CHECKED = "checked"


class Staged:
    """What has come of one bundle. Blocks on the disk and raises ``OSError``, all of it."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        self.folder = folder
        self._store = DiskStore(folder / "bytes")
        self._spool = cache.spool

    def path(self, sha256: str) -> Path:
        """Where a member is, or would be."""
        return self._store.path(sha256)

    def take(self, cached: Container[str], member: Member, pieces: Iterable[bytes]) -> Steps:
        """Keep a member, see ``reading.Take``; one that is staged or ``cached`` is only checked."""
        if member.sha256 in cached or self.path(member.sha256).exists():
            yield from drop(member, pieces)
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

    def seal(self, manifest: Manifest) -> None:
        """All has come, is right, and may be published."""
        fd, path = open_spool(self._spool)
        with os.fdopen(fd, "wb") as file:
            file.write(encode(manifest))
            file.flush()
            os.fsync(fd)
            path.replace(self.folder / _CHECKED)

    def sealed(self) -> Manifest | None:
        """What may be published."""
        try:
            content = (self.folder / _CHECKED).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(content, type=Manifest)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Staging:
    """The folder of all imports into one cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._folder = cache.folder / "import"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Raises ``ImportRunning`` while another import runs, and ``OSError``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ImportRunning from None
            yield

    def of(self, digest: str) -> Staged:
        """For the bundle whose manifest has this sha256."""
        staged = Staged(self._folder / digest, self._cache)
        staged.folder.mkdir(mode=0o700, exist_ok=True)
        return staged

    def left(self) -> list[Staged]:
        """What imports that were killed have left."""
        folders = sorted(path for path in self._folder.iterdir() if path.is_dir())
        return [Staged(path, self._cache) for path in folders]
