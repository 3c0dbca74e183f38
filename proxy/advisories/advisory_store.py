"""The collection of advisories of a cache folder, shared by all processes that use the cache.

```text
<cache>/advisories/index     the compact collection
<cache>/advisories/state     when the source was last checked, and what it then said
<cache>/advisories/lock      locked by the one process that checks the source
```
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from proxy.advisories.collection import Advisories
from proxy.errors import reason
from proxy.model import ProjectName

log = logging.getLogger(__name__)


class SourceState(msgspec.Struct, frozen=True):
    """The state of the source; it does not count for another source."""

    source: str = ""
    """The address, without credentials."""
    etag: str = ""
    last_modified: str = ""
    """The header, or a text that differs with each change of a local source."""
    checked: float = 0.0
    """Unix time in seconds of the last check that succeeded."""
    tried: float = 0.0
    """Of the last check, whatever came of it."""
    failure: str = ""
    """Why the last check failed."""


Identity = tuple[int, int, int]


class AdvisoryStore:
    """The present collection; ``refresh`` takes over what another process has written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.advisories = Advisories()
        self.generation = 0
        """Grows with every new collection."""
        self.state = SourceState()
        self._index_identity: Identity | None = None
        self._state_identity: Identity | None = None

    @property
    def lock(self) -> Path:
        """The file that locks the check of the source; its folder exists if it can be made."""
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.folder / "lock"

    @property
    def exists(self) -> bool:
        """Whether there is a collection."""
        return self._index_identity is not None

    @property
    def has_news(self) -> bool:
        """Whether another process has published a collection; takes microseconds."""
        return (
            _identity(self.folder / "index") != self._index_identity
            or _identity(self.folder / "state") != self._state_identity
        )

    def refresh(self) -> list[ProjectName]:
        """The projects whose advisories differ from those of the former collection."""
        state = _identity(self.folder / "state")
        if state != self._state_identity:
            self._state_identity = state
            self.state = self._read_state()
        index = _identity(self.folder / "index")
        if index is None or index == self._index_identity:
            return []
        try:
            new = Advisories.decode((self.folder / "index").read_bytes())
        except (OSError, ValueError, msgspec.DecodeError) as error:
            log.warning("the advisories in the cache cannot be read, and are made again: %s", error)
            with suppress(OSError):
                (self.folder / "index").unlink()
            return []
        self._index_identity = index
        former, self.advisories = self.advisories, new
        self.generation += 1
        return new.differences(former)

    def new_index(self) -> Path:
        """The path of a collection before it is published. Raises ``OSError``."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.folder / "index.new"

    def publish(self, index: Path | None, state: SourceState) -> None:
        """Replace the collection, if there is a new one, and the state. Raises ``OSError``."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if index:
            index.replace(self.folder / "index")
        written = self.folder / "state.new"
        written.write_bytes(msgspec.json.encode(state))
        written.replace(self.folder / "state")

    def _read_state(self) -> SourceState:
        try:
            data = (self.folder / "state").read_bytes()
            return msgspec.json.decode(data, type=SourceState)
        except (OSError, msgspec.DecodeError) as error:
            log.info("the state of the advisories cannot be read: %s", reason_of(error))
            return SourceState()


def reason_of(error: Exception) -> str:
    return reason(error) if isinstance(error, OSError) else str(error)


def _identity(path: Path) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (each second)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
