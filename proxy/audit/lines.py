"""The audit as JSON lines, one for each answer, for the tools that collect logs.

```text
<folder>/audit-<n>.jsonl                     of one process at a time, as the databases
<folder>/audit-<n>.<day>.<number>.jsonl.gz   complete ones
```
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from proxy.audit.entries import Entry, Result
from proxy.audit.privacy import ClientNames
from proxy.distributions import version_of
from proxy.model import ProjectName, distribution_of
from proxy.runtime import timestamp_text

MAX_SIZE = 256 * 10**6
"""Bytes of a file of lines."""
MAX_PROCESSES = 256
COMPRESSED = "audit-*.jsonl.gz"

_encode = msgspec.json.Encoder().encode


class JsonLines:
    """Appends lines, and starts a file each day and whenever one is full.

    For one thread at a time. The methods raise ``OSError``.
    """

    name = "lines"

    def __init__(
        self, folder: Path, names: ClientNames, keep: float, max_size: int = MAX_SIZE
    ) -> None:
        """``keep``: seconds for which complete files stay. ``max_size``: bytes of a file."""
        self._folder = folder
        self._names = names
        self._keep = keep
        self._max_size = max_size
        self._path = folder
        self._fd = -1
        self._day = ""

    def write(self, entries: Sequence[Entry], now: float) -> None:
        """Append the lines of all entries, or none. ``now``: Unix time in seconds."""
        self._open()
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        size = os.fstat(self._fd).st_size
        if size and (day != self._day or size > self._max_size):
            self._rotate(now)
            size = 0
        self._day = day
        data = b"".join(line for entry in entries for line in self._lines(entry, now))
        written = _write(self._fd, data)
        if written < len(data):
            os.ftruncate(self._fd, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _open(self) -> None:
        """Take the first file that no other process has; it may have lines of a former one."""
        if self._fd >= 0:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(MAX_PROCESSES):
            path = self._folder / f"audit-{number}.jsonl"
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            self._fd, self._path = fd, path
            self._day = time.strftime("%Y-%m-%d", time.gmtime(os.fstat(fd).st_mtime))
            return
        raise OSError(errno.EUSERS, f"more than {MAX_PROCESSES} processes use {self._folder}")

    def _rotate(self, now: float) -> None:
        """Rename the file, compress it, and start another one."""
        head = self._path.name.removesuffix(".jsonl")
        used = len(list(self._folder.glob(f"{head}.{self._day}.*")))
        self._path.rename(self._path.with_name(f"{head}.{self._day}.{used}.jsonl"))
        self.close()
        self._open()
        for path in self._folder.glob(f"{head}.*.jsonl"):
            _compress(path)
        for path in self._folder.glob(COMPRESSED):
            if path.stat().st_mtime < now - self._keep:
                path.unlink(missing_ok=True)

    def _lines(self, entry: Entry, now: float) -> Iterator[bytes]:
        event = entry.event
        who = (event.client, event.principal or "", event.user_agent)
        who = who if entry.with_requester else ("", "", "")
        client, principal, tool = self._names.known(*who, now)
        fields = {
            "client": client,
            "principal": principal,
            **msgspec.to_builtins(tool),
            "index": event.index,
            "kind": entry.kind,
            "project": event.project,
            "version": _version(event.project or "", event.filename),
            "filename": event.filename,
            "digest": event.digest,
            "result": entry.result,
            "outcome": event.outcome or "",
            "status": event.status,
            "bytes": entry.sent,
            "complete": entry.result is not Result.INCOMPLETE,
            "rule": entry.rule,
            "reason": entry.reason,
        }
        rest = _encode({key: value for key, value in fields.items() if value != ""})[1:]
        for ended, milliseconds in event.timings:
            began = timestamp_text(ended - milliseconds / 1000)
            yield b'{"time":"%s","ms":%.2f,%s\n' % (began.encode(), milliseconds, rest)


@lru_cache(maxsize=4096)
def _version(project: str, filename: str) -> str:
    return version_of(distribution_of(filename), ProjectName(project)) or ""


def _write(fd: int, data: bytes) -> int:
    """The number of bytes that the disk took."""
    written = 0
    try:
        while written < len(data):
            written += os.write(fd, memoryview(data)[written:])
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
    return written


def _compress(path: Path) -> None:
    """Replace the file by a compressed one of the same age."""
    packed, part = path.with_name(f"{path.name}.gz"), path.with_name(f"{path.name}.part")
    found = path.stat()
    with path.open("rb") as source, gzip.open(part, "wb", compresslevel=5) as target:
        shutil.copyfileobj(source, target, 2**20)
    part.chmod(0o600)
    os.utime(part, ns=(found.st_atime_ns, found.st_mtime_ns))
    part.replace(packed)
    path.unlink()
