"""Errors of creating and importing bundles. Messages say what to do, where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proxy.errors import ProxyError
from proxy.runtime import count_text

_MAX_LISTED = 20


class BadBundle(ProxyError):
    """An archive is not a bundle, is incomplete or altered, or is not signed by a trusted key."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"this bundle is refused: {self.problem}"


class BaseMissing(ProxyError):
    """The cache does not have the files of the bundle on which a delta is based."""

    def __init__(self, base: str, missing: Sequence[str]) -> None:
        super().__init__(base, missing)
        self.base = base
        """The sha256 of the manifest of the bundle to import first."""
        self.missing = missing

    def __str__(self) -> str:
        return (
            f"this bundle contains only the changes since the one with manifest sha256:{self.base},"
            f" and {len(self.missing)} pages or files of that one are not in the cache;"
            " import that one first:" + indented_list(self.missing)
        )


class ConflictingBundle(ProxyError):
    """The cache knows other digests for file names in the bundle."""

    def __init__(self, conflicts: Sequence[str]) -> None:
        super().__init__(conflicts)
        self.conflicts = conflicts

    def __str__(self) -> str:
        return (
            f"{count_text(len(self.conflicts), 'file')} with other bytes in the cache than in the"
            " bundle; nothing was imported; if the bundle is right, give --accept-changed:"
            + indented_list(self.conflicts)
        )


class FilesNotCached(ProxyError):
    """Files that were selected for a bundle are not in the cache."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(missing)
        self.missing = missing

    def __str__(self) -> str:
        return f"not in the cache: {count_text(len(self.missing), 'file')}:" + indented_list(
            self.missing
        )


class ImportRunning(ProxyError):
    """Only one import into a cache can run at a time."""

    def __str__(self) -> str:
        return "another import into this cache is running"


class ImportIncomplete(ProxyError):
    """The cache lost a part of the bundle while it was imported."""

    def __str__(self) -> str:
        return (
            "not all of the bundle is in the cache: is the disk full, or max_size too small?"
            " Make room and run the import again; what is in the cache is right"
        )


class NothingCached(ProxyError):
    """There is nothing to put into a bundle; an empty one would look like a success."""

    def __init__(self, folder: Path, index: str) -> None:
        super().__init__(folder, index)
        self.folder = folder
        self.index = index

    def __str__(self) -> str:
        return (
            f"the cache {self.folder} has no page or file that the index {self.index} serves from"
            " an upstream; `waystation warm` fills it"
        )


class BundleIOError(ProxyError):
    """Reading or writing failed. ``what`` says which, in words."""

    def __init__(self, what: str, error: OSError) -> None:
        super().__init__(what, error)
        self.what = what
        self.error = error

    def __str__(self) -> str:
        return f"{self.what}: {self.error.strerror or self.error}"


def indented_list(lines: Sequence[str]) -> str:
    """The first lines, each as an indented line of a message."""
    more = len(lines) - _MAX_LISTED
    rest = [f"and {more} more"] if more > 0 else []
    return "".join(f"\n  {line}" for line in [*lines[:_MAX_LISTED], *rest])
