"""A source of distributions: the files that it offers, and those that cannot be taken.

A source is a folder that another server left, or another index. Its content is hostile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxy.errors import UploadRefused
from proxy.model import Blob, ProjectName, ProjectStatus


@dataclass(frozen=True, slots=True)
class Offer:
    """A distribution, as the source describes it."""

    filename: str
    place: str
    """The place in the source, for people."""
    open: Callable[[str], Awaitable[Blob]]
    """The bytes of the distribution (for an empty text), or of the file beside it with that
    suffix. Nothing is fetched before they are read. Raises ``ProxyError``."""
    project: ProjectName | None = None
    """None: the name of the file, and else its metadata, say which."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Algorithm to lowercase hex, as in ``File``; empty where the source names none."""
    size: int | None = None
    """Bytes."""
    uploaded: float | None = None
    """Unix time in seconds; None where the source does not say."""
    yanked: bool | str = False
    """As in ``File``."""
    beside: tuple[str, ...] = ()
    """Suffixes of the files beside it that can be taken too: a signature, the provenance."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of the source that is not offered."""

    place: str
    reason: str
    is_expected: bool = False
    """It is no distribution, so that nothing of the packages is missing."""


@dataclass(frozen=True, slots=True)
class StatusOffer:
    """The status of a project that the source has as a whole (PEP 792)."""

    project: ProjectName
    status: ProjectStatus


class PackageSource(Protocol):
    """A source of distributions."""

    @property
    def label(self) -> str:
        """For the journal and for people: the kind and the place of the source."""

    def found(self) -> AsyncIterator[Offer | StatusOffer | LeftOut]:
        """All that the source has, in an order that is the same each time.

        Something that cannot be read is left out, and never stops the rest. Raises
        ``ConfigurationError`` if the source as a whole is not what it has to be.
        """


async def read_small(blob: Blob, limit: int) -> bytes:
    """All bytes of a small file. Raises ``UploadRefused`` if it has more than ``limit``."""
    data = bytearray()
    async for piece in blob.chunks():
        data += piece
        if len(data) > limit:
            raise UploadRefused(f"a file beside it has more than {limit} bytes")
    return bytes(data)
