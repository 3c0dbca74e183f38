"""The hashes of files: algorithms by strength, and a compact form of the usual single one."""

from __future__ import annotations

import hashlib
from abc import ABCMeta
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, StructMeta

if TYPE_CHECKING:
    from hashlib import _Hash

HASHES_BY_STRENGTH = ("sha512", "sha384", "sha256", "sha224", "blake2b", "sha1", "md5")
"""Hash algorithms that can be checked, strongest first; ``blake2b`` means 32-byte digests."""

BLAKE2B_BYTES = 32  # of a digest that indexes call ``blake2b``


def new_hash(algorithm: str) -> _Hash | hashlib.blake2b:
    """A hash object for one of ``HASHES_BY_STRENGTH``."""
    if algorithm == "blake2b":
        return hashlib.blake2b(digest_size=BLAKE2B_BYTES)
    return hashlib.new(algorithm, usedforsecurity=False)


class _StructAndMapping(StructMeta, ABCMeta):
    """Metaclass of ``Sha256``, which is a struct and a mapping."""


class Sha256(
    msgspec.Struct,
    Mapping[str, str],
    frozen=True,
    gc=False,
    forbid_unknown_fields=True,
    metaclass=_StructAndMapping,
):
    """The hashes of a file that has this one only, as most have.

    Two dictionaries for each file would take most of the memory and time that a page takes.
    """

    sha256: Annotated[str, Meta(min_length=64, max_length=64)]

    def __getitem__(self, algorithm: str) -> str:
        if algorithm != "sha256":
            raise KeyError(algorithm)
        return self.sha256

    def __iter__(self) -> Iterator[str]:
        return iter(("sha256",))

    def __len__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sha256):
            return self.sha256 == other.sha256
        return isinstance(other, Mapping) and {"sha256": self.sha256} == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # as dictionaries have none
