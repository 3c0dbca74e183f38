"""The names of clients and principals as the audit may remember them: in full, hashed, or not.

A hash is an HMAC with a random key of the month, which is replaced when the month ends: within a
month the answers to one client can be counted, and nothing leads from a hash back to an address.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from proxy.audit.tools import Tool, tool_of

Clients = Literal["full", "hashed", "none"]
HASH_LENGTH = 16
"""Hexadecimal digits: 64 bits distinguish any number of clients."""
KEY_FILE = "hash-key"


class ClientNames:
    """Turns addresses and principals into what the audit remembers of them."""

    def __init__(self, mode: Clients, folder: Path) -> None:
        """``folder``: for the key of the month, which all processes of a server share."""
        self.mode = mode
        self._folder = folder
        self._month = ""
        self._hash = lru_cache(65_536)(self._hashed)
        self._key = b""

    def known(
        self, client: str, principal: str, user_agent: str, now: float
    ) -> tuple[str, str, Tool]:
        """Client, principal and tool, as they may be remembered. Raises ``OSError``.

        The free text of a client is left out with its name: many put their host name into it.
        """
        tool = tool_of(user_agent)
        if self.mode != "full" and tool.user_data:
            tool = msgspec.structs.replace(tool, user_data="")
        return self.of(client, now), self.of(principal, now), tool

    def of(self, name: str, now: float) -> str:
        """Empty if it may not be remembered. ``now``: Unix time in seconds. Raises ``OSError``."""
        if self.mode == "full" or not name:
            return name
        if self.mode == "none":
            return ""
        month = time.strftime("%Y-%m", time.gmtime(now))
        if month != self._month:
            self._key = _key_of(self._folder, month)
            self._month = month
            self._hash.cache_clear()
        return self._hash(name)

    def _hashed(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()[:HASH_LENGTH]


def _key_of(folder: Path, month: str) -> bytes:
    """The key of the month, made by the first process that needs it; keys of others are deleted."""
    path = folder / f"{KEY_FILE}-{month}"
    if not path.exists():
        draft = folder / f"new-{KEY_FILE}.{secrets.token_hex(8)}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
        for former in folder.glob(f"{KEY_FILE}-*"):
            if former != path:
                former.unlink(missing_ok=True)
    return bytes.fromhex(path.read_text())
