"""Limits for reading hostile archives, and the error for archives that cannot be used."""

from __future__ import annotations

METADATA_LIMIT = 8 * 1024 * 1024
"""Bytes of one METADATA or PKG-INFO."""

MEMBER_LIMIT = 100_000
"""Members of one archive."""

DIRECTORY_LIMIT = 64 * 1024 * 1024
"""Bytes of a zip archive's central directory."""

BOMB_RATIO = 50
"""Times that the unpacked size may exceed the packed size, beyond a harmless size."""


class UnusableArchive(ValueError):
    """The archive is broken, ambiguous or hostile. ``reason`` names no path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_ratio(packed: int, unpacked: int, harmless: int) -> None:
    """Raises ``UnusableArchive`` if few bytes unpack to more than ``harmless`` bytes."""
    if unpacked > harmless and unpacked > BOMB_RATIO * packed:
        raise UnusableArchive("it unpacks to suspiciously many bytes")
