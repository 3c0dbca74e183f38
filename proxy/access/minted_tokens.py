"""Upload tokens that were minted for identity tokens of CI, beside the other tokens.

A row is both: the token, and the mark that its identity token was used. It stays until neither
can be used any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from proxy.access.token_file import TokenFile

_MINTED_TABLES = """
CREATE TABLE IF NOT EXISTS minted (
  digest BLOB PRIMARY KEY, issuer TEXT NOT NULL, used BLOB NOT NULL, claims TEXT NOT NULL,
  expires REAL NOT NULL, kept_until REAL NOT NULL, UNIQUE (issuer, used)
);
"""


class MintedToken(msgspec.Struct, frozen=True):
    """Times are Unix times in seconds."""

    digest: bytes
    """SHA-256 of the token."""
    issuer: str
    """The address of the issuer of the identity token."""
    used: bytes
    """A digest of what is unique in that identity token."""
    claims: Mapping[str, Any]
    """Those of the identity token."""
    expires: float


class MintedTokens:
    """Methods block for a moment; on the event loop, call them in a thread.

    Every method raises ``ConfigurationError`` if the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        """``path`` as for ``TokenStore``."""
        self._file = TokenFile(path, _MINTED_TABLES)

    def close(self) -> None:
        self._file.close()

    def add(self, token: MintedToken, kept_until: float, now: float) -> bool:
        """Add a token; False, and no token, if its identity token was used before.

        ``kept_until``: when the identity token cannot be used any more.
        """
        row = (token.digest, token.issuer, token.used, json.dumps(token.claims))
        times = (token.expires, max(kept_until, token.expires))
        with self._file.transaction() as database:
            database.execute("DELETE FROM minted WHERE kept_until < ?", [now])
            done = database.execute(
                "INSERT OR IGNORE INTO minted VALUES (?, ?, ?, ?, ?, ?)", row + times
            )
            return done.rowcount == 1

    def find(self, digest: bytes, now: float) -> MintedToken | None:
        """The token of that digest, if it is valid."""
        query = "SELECT issuer, used, claims, expires FROM minted WHERE digest = ? AND expires > ?"
        with self._file.opened() as database:
            row = database.execute(query, [digest, now]).fetchone()
        if row is None:
            return None
        issuer, used, claims, expires = row
        return MintedToken(digest, issuer, used, json.loads(claims), expires)

    def burn(self, digest: bytes, now: float) -> None:
        """End a token; its identity token stays used."""
        if self.find(digest, now):
            with self._file.transaction() as database:
                database.execute("UPDATE minted SET expires = 0 WHERE digest = ?", [digest])
