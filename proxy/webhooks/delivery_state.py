"""How far the changes of an index are delivered to a receiver: a small file beside the journal.

It belongs to the packages and not to the cache, which may be deleted at any time: a receiver would
miss changes, or get all of them again. All methods block, and raise ``OSError``.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from proxy.publish import write_durably


class DeliveryState(msgspec.Struct, frozen=True, omit_defaults=True):
    delivered: int
    """The number of the last change that is delivered, or of which the receiver wants nothing."""
    failures: int = 0
    """Attempts in a row that have failed to deliver the next one."""
    failing_since: float = 0.0
    """Unix time in seconds of the first of these."""
    problem: str = ""
    """Why the last attempt failed."""


class StateFile:
    """Of one webhook and one index."""

    def __init__(self, folder: Path, webhook: str) -> None:
        """``folder``: that of the journal."""
        folder = folder / "webhooks"
        self._path = folder / f"{webhook}.json"
        self.lock = folder / f"{webhook}.lock"
        """The file of the lock that the delivering process has."""

    def begin(self, number: int) -> None:
        """A webhook that is new begins after the change of that number."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.load() is None:
            self.save(DeliveryState(number))

    def load(self) -> DeliveryState | None:
        """None: the webhook is new."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=DeliveryState)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            problem = f"{os.fspath(self._path)} is damaged ({error}): delete it to begin with now"
            raise OSError(problem) from None

    def save(self, state: DeliveryState) -> None:
        """Durable when this returns."""
        write_durably(self._path, msgspec.json.encode(state))
