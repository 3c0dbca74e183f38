"""The record of a running server in its cache folder, by which ``waystation reload`` finds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

FOLDER = "servers"
"""In the cache folder: a file for each running server, locked by it, named by its process."""


class ServerState(msgspec.Struct, frozen=True):
    """The description of a running server that it writes itself."""

    pid: int
    """The process that takes signals: with workers, that of their supervisor."""
    config: str | None
    """The absolute path of its settings file."""
    reloaded: float = 0.0
    """When the last reload that has ended began, as ``time.monotonic`` has it for all processes."""
    error: str = ""
    """Why the last reload was refused; empty: it succeeded."""
    notes: tuple[str, ...] = ()
    """The settings that the last reload could not change."""


class ServerRecord:
    """Written by the server itself. It disappears with the lock when the process ends."""

    def __init__(self, cache_folder: Path, config: Path | None) -> None:
        """A folder that cannot be written is no error: the server is then not found."""
        self._state = ServerState(os.getpid(), str(config.absolute()) if config else None)
        self._path = cache_folder / FOLDER / f"{os.getpid()}.json"
        self._file: IO[bytes] | None = None
        with contextlib.suppress(OSError):
            cache_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._file = self._path.open("wb")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._write()

    def reloaded(self, began: float, error: str = "", notes: tuple[str, ...] = ()) -> None:
        """A reload has ended. ``began`` as in ``ServerState.reloaded``."""
        self._state = msgspec.structs.replace(self._state, reloaded=began, error=error, notes=notes)
        self._write()

    def close(self) -> None:
        if self._file:
            self._path.unlink(missing_ok=True)
            self._file.close()

    def _write(self) -> None:
        if self._file is None:
            return
        data = msgspec.json.encode(self._state)
        with contextlib.suppress(OSError):
            os.pwrite(self._file.fileno(), data.ljust(4096), 0)  # one write: never seen in part
            os.ftruncate(self._file.fileno(), max(4096, len(data)))


def running_servers(cache_folder: Path) -> Iterator[ServerState]:
    """The servers that run on this cache folder; records of dead ones are removed."""
    for path in sorted((cache_folder / FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, msgspec.MsgspecError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # the server lives
                yield msgspec.json.decode(file.read().rstrip(), type=ServerState)
            else:
                path.unlink(missing_ok=True)
