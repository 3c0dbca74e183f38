"""Verifies that bytes are those that an index names: length and digest, while they arrive."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping

import msgspec

from proxy.errors import DigestMismatch
from proxy.model import HASHES_BY_STRENGTH, new_hash


class Expected(msgspec.Struct, frozen=True):
    """The length and digest that a file must have, as known before it arrives."""

    index: str
    """The name of the index, for errors."""
    what: str
    """The file in words, beginning with its filename."""
    hashes: Mapping[str, str]
    """Algorithm to lowercase hex, as in ``File``."""
    size: int | None
    """Bytes; exact."""
    limit: int
    """Bytes that are accepted at most if the size is unknown."""


class DigestCheck:
    """Counts and hashes bytes; not for two threads at a time.

    The strongest hash decides. The sha256 is always computed: it is the key in the store, and
    later downloads of a file without a known hash are compared with it.
    """

    def __init__(self, expected: Expected) -> None:
        self.expected = expected
        self.length = 0
        self._bound = expected.limit if expected.size is None else expected.size
        self._name = next((name for name in HASHES_BY_STRENGTH if name in expected.hashes), "")
        self._sha256 = hashlib.sha256()
        other = self._name not in ("", "sha256")
        self._strongest = new_hash(self._name) if other else self._sha256

    def update(self, data: bytes) -> None:
        """Raises ``DigestMismatch`` once there are too many bytes."""
        self.length += len(data)
        if self.length > self._bound:
            raise self.mismatch(f"is longer than {self._bound} bytes")
        self._sha256.update(data)
        if self._strongest is not self._sha256:
            self._strongest.update(data)

    def check_announced_length(self, total: int | None) -> None:
        """Raises ``DigestMismatch`` if upstream announces a length that cannot be right."""
        exact = self.expected.size is not None
        if total is not None and (total != self._bound if exact else total > self._bound):
            raise self.mismatch(f"is announced with {total} bytes instead of {self._bound}")

    @property
    def has_digest(self) -> bool:
        """Whether the index names a hash that can be checked."""
        return bool(self._name)

    @property
    def sha256(self) -> str:
        """The digest of all bytes so far, lowercase hex."""
        return self._sha256.hexdigest()

    @property
    def proven(self) -> bool:
        """Whether the index names a hash, and the bytes so far have it."""
        return self.has_digest and self._strongest.hexdigest() == self.expected.hashes[self._name]

    def finish(self) -> str:
        """The sha256 of all bytes. Raises ``DigestMismatch`` if length or digest are wrong."""
        if self._bound != self.length and self.expected.size is not None:
            raise self.mismatch(f"has {self.length} bytes instead of {self._bound}")
        if self.has_digest and not self.proven:
            raise self.mismatch(f"does not have the {self._name} that the index names")
        return self.sha256

    def mismatch(self, problem: str) -> DigestMismatch:
        return DigestMismatch(self.expected.index, f"{self.expected.what} {problem}")


async def computed(pieces: AsyncIterator[bytes], algorithms: Iterable[str]) -> dict[str, str]:
    """The digests of the bytes, in lowercase hex; unknown algorithms are left out."""
    running = {name: new_hash(name) for name in algorithms if name in HASHES_BY_STRENGTH}
    async for piece in pieces:
        for each_hash in running.values():
            each_hash.update(piece)
    return {name: each_hash.hexdigest() for name, each_hash in running.items()}
