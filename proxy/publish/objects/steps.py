"""Steps: changes that one writer makes together to packages in an object store, as one object.

A step holds changes with consecutive numbers, and its key is the first of them. The object is
created and never replaced, so that of all writers who want a number, one gets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from proxy.model import PROVENANCE
from proxy.publish.package_changes import PackageChange
from proxy.runtime import compress, decompress

CHANGES = "v1/change/"
"""Before the keys of steps."""
SEGMENTS = "v1/segment/"
"""Before the keys of segments, which repeat steps so that a start reads few objects."""
SEGMENT_SIZE = 1000
"""Numbers of changes whose steps are in one segment."""
FILES = "v1/own/"
"""Before the keys of files. No cache cleans up there."""


class StoredFile(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The place of a published file, and the values of its page that are not in its change."""

    folder: str
    """Below ``FILES``: of this upload alone, so that no other upload needs what is in it."""
    uploaded: str
    """As ``File.uploaded``."""
    requires_python: str | None = None
    metadata: str = ""
    """The sha256 of the METADATA of a wheel, if that can be served."""
    beside: tuple[str, ...] = ()
    """The suffixes of the other objects in the folder."""
    attested: str = ""
    """The folder of a provenance that was added later."""

    def key(self, filename: str, suffix: str = "") -> str:
        later = suffix == PROVENANCE and self.attested
        return f"{FILES}{self.attested if later else self.folder}/{filename}{suffix}"

    def with_attested(self, other: StoredFile) -> StoredFile:
        """The file with the provenance of the other one, which has nothing else."""
        beside = tuple(sorted({*self.beside, *other.beside}))
        return msgspec.structs.replace(self, beside=beside, attested=other.folder)


class ChangeStep(msgspec.Struct, frozen=True, omit_defaults=True):
    writer: str
    """Random: a writer who does not know whether its step was stored recognizes it."""
    changes: tuple[PackageChange, ...]
    file: StoredFile | None = None
    """That the first change publishes, replaces another one with, or adds a provenance from."""
    owners: tuple[str, ...] | None = None
    """Those after a change of owners, or of a project that had none before a file was published;
    None: the actor."""

    @property
    def first(self) -> int:
        return self.changes[0].number

    @property
    def last(self) -> int:
        return self.changes[-1].number


def numbered(changes: Iterable[PackageChange], first: int) -> tuple[PackageChange, ...]:
    """The changes with consecutive numbers."""
    pairs = enumerate(changes, first)
    return tuple(msgspec.structs.replace(change, number=number) for number, change in pairs)


def key_of(number: int) -> str:
    """The key of the step that begins with the number; keys sort as numbers do."""
    return f"{CHANGES}{number:012d}.json"


def number_in(key: str) -> int:
    """The number that ``key_of`` has put into a key. Raises ``ValueError`` for other keys."""
    return int(key.removeprefix(CHANGES).removesuffix(".json"))


def encode_step(step: ChangeStep) -> bytes:
    return msgspec.json.encode(step)


def decode_step(data: bytes, number: int) -> ChangeStep:
    """Raises ``ValueError`` if it is not the step that begins with the number."""
    step = msgspec.json.decode(data, type=ChangeStep)
    numbers = [change.number for change in step.changes]
    if not numbers or numbers != list(range(number, number + len(numbers))):
        raise ValueError(f"the object {key_of(number)} has the changes {numbers}")
    return step


def segment_of(number: int) -> int:
    """The segment that has the step which begins with the number."""
    return (number - 1) // SEGMENT_SIZE


def segment_key(segment: int) -> str:
    return f"{SEGMENTS}{segment:09d}.json.gz"


def encode_segment(steps: Sequence[ChangeStep]) -> bytes:
    """The same bytes on every machine: it does not matter which one stores them last."""
    return compress(msgspec.json.encode(steps))


def decode_segment(data: bytes) -> list[ChangeStep]:
    """Raises ``ValueError`` if its steps are not consecutive."""
    steps = msgspec.json.decode(decompress(data), type=list[ChangeStep])
    for step, following in pairwise(steps):
        if following.first != step.last + 1:
            raise ValueError(f"the number {following.first} comes after {step.last}")
    return steps
