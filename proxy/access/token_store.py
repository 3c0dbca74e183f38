"""Tokens at rest, which commands and people create, and the numbers of their changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from proxy.access.token_file import TokenFile
from proxy.errors import ConfigurationError

_RECORD_TABLES = """
CREATE TABLE IF NOT EXISTS tokens (
  id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL, owner TEXT NOT NULL,
  scopes TEXT NOT NULL, created REAL NOT NULL, expires REAL, used REAL, revoked REAL
);
CREATE TABLE IF NOT EXISTS changes (number INTEGER NOT NULL);
INSERT INTO changes SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM changes);
"""
_RECORD_COLUMNS = "id, digest, name, owner, scopes, created, expires, used, revoked"


class Token(msgspec.Struct, frozen=True):
    """The record of a token, without its secret. Times are Unix times in seconds."""

    id: str
    """Public: the first characters of the digest."""
    digest: bytes
    """SHA-256 of the token, which has 32 random bytes: so it needs no slow hash."""
    name: str
    owner: str
    scopes: str
    """Grants, separated by spaces."""
    created: float
    expires: float | None = None
    used: float | None = None
    revoked: float | None = None

    def is_valid(self, now: float) -> bool:
        return (self.expires is None or now < self.expires) and (
            self.revoked is None or now < self.revoked
        )

    @property
    def ends(self) -> float | None:
        """The instant at which it ceases to be valid; None: never."""
        return min((at for at in (self.expires, self.revoked) if at is not None), default=None)


class TokenStore:
    """Methods block for a moment; on the event loop, call them in a thread.

    Every method raises ``ConfigurationError`` if the file cannot be used.
    """

    notes_uses = True

    def __init__(self, path: Path) -> None:
        """A file that does not exist is created, readable by its user alone."""
        self._file = TokenFile(path, _RECORD_TABLES)

    def close(self) -> None:
        self._file.close()

    def add(self, token: Token, replaced: Sequence[str] = (), ends: float = 0.0) -> None:
        """Add a token; those that it replaces, by their ids, end at ``ends``.

        Raises ``ConfigurationError`` too if another valid token has the same name.
        """
        marks = ", ".join("?" * len(Token.__struct_fields__))
        with self._change() as database:
            _revoke(database, replaced, ends)
            named = f"SELECT {_RECORD_COLUMNS} FROM tokens WHERE name = ?"  # noqa: S608
            rows = database.execute(named, [token.name])
            check_name(token, (Token(*row) for row in rows), replaced)
            database.execute(
                f"INSERT INTO tokens ({_RECORD_COLUMNS}) VALUES ({marks})",  # noqa: S608 (constants)
                msgspec.structs.astuple(token),
            )

    def revoke(self, ids: Sequence[str], at: float) -> None:
        """End tokens at that instant, if they do not end before."""
        with self._change() as database:
            _revoke(database, ids, at)

    def note_used(self, times: Mapping[str, float]) -> None:
        """``times``: when each token was used last, by its id."""
        with self._file.opened() as database:
            database.executemany(
                "UPDATE tokens SET used = max(?, ifnull(used, 0)) WHERE id = ?",
                [(used, each) for each, used in times.items()],
            )

    def all(self) -> list[Token]:
        """Every token that there ever was, the oldest first."""
        with self._file.opened() as database, closing(database.cursor()) as cursor:
            cursor.execute(f"SELECT {_RECORD_COLUMNS} FROM tokens ORDER BY created")  # noqa: S608
            return [Token(*row) for row in cursor]

    def number(self) -> int:
        """Grows with every token that is added or revoked, by whatever process."""
        with self._file.opened() as database:
            ((number,),) = database.execute("SELECT number FROM changes")
            return int(number)

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._file.transaction() as database:
            yield database
            database.execute("UPDATE changes SET number = number + 1")


def check_name(token: Token, others: Iterable[Token], replaced: Sequence[str]) -> None:
    """Raises ``ConfigurationError`` if another token has the name, is valid, and not replaced."""
    for other in others:
        is_other = other.name == token.name and other.id not in replaced
        if is_other and other.is_valid(token.created):
            problem = f"there is a valid token {token.name!r} already, {other.id}"
            remedy = "rotate or revoke that, or choose another name"
            raise ConfigurationError("name", problem, remedy)


def _revoke(database: sqlite3.Connection, ids: Sequence[str], at: float) -> None:
    database.executemany(
        "UPDATE tokens SET revoked = min(?, ifnull(revoked, ?)) WHERE id = ?",
        [(at, at, each) for each in ids],
    )
