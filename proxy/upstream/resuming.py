"""What the answers that bring one file have to agree on, where a connection broke."""

from __future__ import annotations

import hashlib

from proxy.errors import DigestMismatch, UpstreamError
from proxy.upstream.body import Body
from proxy.upstream.verify import Expected

PART = 16 * 1024
"""Bytes that a part has to bring, if the next one is to be asked for."""


class ResumeState:
    """Follows the answers of one download, the first and those that go on with it.

    Its methods raise ``UpstreamError`` where an answer is none to go on with.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self.begun = False
        """There was an answer."""
        self.encoding: str | None = None
        """Of the answers: such cannot be resumed, they begin anew."""
        self._total: int | None = None
        self._etag: str | None = None
        self._seen: _Seen | None = None

    def next_range(self, have: int) -> tuple[int, str | None]:
        """As ``Fetch`` takes it, where so many bytes are here."""
        return (have, self._etag) if have and self._etag else (0, None)

    def begin(self, body: Body) -> None:
        """Nobody has seen a byte yet."""
        if body.start:
            raise self.error("answered with another part of it")
        self.begun = True
        self.encoding, self._total = body.encoding, body.total
        self._etag = None if body.encoding else body.etag
        self._seen = None

    def accept(self, body: Body, have: int, sha256: str) -> None:
        """Readers have seen so many bytes with that sha256, which must stay right."""
        asked, self._etag, self._seen = self._etag, None, None
        if body.encoding or (None not in (self._total, body.total) and body.total != self._total):
            raise self.error("was answered otherwise than before")
        if body.start == 0:
            self._seen = _Seen(have, sha256, body.etag)
        elif self._total is None and body.total is None:
            raise self.error("was resumed without its length")
        elif body.start == have and body.etag in (asked, None):
            self._etag = asked
        else:
            raise self.error("was not resumed where it broke off")
        self._total = self._total if body.total is None else body.total

    @property
    def repeats(self) -> bool:
        """What comes next has come before."""
        return self._seen is not None and self._seen.left > 0

    def new(self, data: bytes) -> bytes:
        """What is new in ``data``. Raises ``DigestMismatch`` if the rest is not what it was."""
        seen = self._seen
        if seen is None:
            return data
        data = seen.skip(data)
        if not seen.left:
            if not seen.same:
                what = f"{self._expected.what} changed while it was fetched"
                raise DigestMismatch(self._expected.index, what)
            self._etag = seen.etag
        return data

    def is_whole(self, body: Body, have: int, length: int) -> bool:
        """Whether the file has ended with this answer, which brought the bytes from ``have`` on.

        False: it was a part, and the next one can be asked for.
        """
        total = self._total
        if total is None and not self.encoding:
            total = self._expected.size
        if not self.repeats and (total is None or length >= total):
            return True
        if body.stop != length:
            raise self.error("ended early")
        if length - have < PART:
            self._etag = None  # such parts lead nowhere: the next request has no range
            raise self.error("came in very small parts")
        return False

    def error(self, problem: str) -> UpstreamError:
        return UpstreamError(self._expected.index, f"{self._expected.what} {problem}")


class _Seen:
    """Bytes that came before a break, recognised when they all come again."""

    def __init__(self, length: int, sha256: str, etag: str | None) -> None:
        self.left = length
        self.etag = etag
        """Of the answer they come in; worth something once they are the same."""
        self._sha256 = sha256
        self._again = hashlib.sha256()

    @property
    def same(self) -> bool:
        return self._again.hexdigest() == self._sha256

    def skip(self, data: bytes) -> bytes:
        old, new = data[: self.left], data[self.left :]
        self._again.update(old)
        self.left -= len(old)
        return new
