"""Why a bundle is not made or not taken. Each error says what can be done, if anything can."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proxy.errors import ProxyError
from proxy.runtime import count_text

_SHOWN = 20


class BadBundle(ProxyError):
    """An archive that is no bundle, not whole, not what it was, or not to be trusted."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"this bundle is refused: {self.problem}"


class BaseMissing(ProxyError):
    """A delta without what it builds on."""

    def __init__(self, base: str, missing: Sequence[str]) -> None:
        super().__init__(base, missing)
        self.base = base
        """The sha256 of the manifest of the bundle that has to be imported first."""
        self.missing = missing

    def __str__(self) -> str:
        return (
            f"this bundle holds only what changed since the one with manifest sha256:{self.base},"
            f" and {len(self.missing)} of what that one holds is not here; import that one first:"
            + listed(self.missing)
        )


class ConflictingBundle(ProxyError):
    """Other bytes under file names that are known here."""

    def __init__(self, conflicts: Sequence[str]) -> None:
        super().__init__(conflicts)
        self.conflicts = conflicts

    def __str__(self) -> str:
        return (
            f"{count_text(len(self.conflicts), 'file')} here with other bytes than in the bundle"
            " under the same name; nothing was imported; if the bundle is right, give"
            " --accept-changed:" + listed(self.conflicts)
        )


class Incomplete(ProxyError):
    """Files that should go into a bundle and are not in the cache."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(missing)
        self.missing = missing

    def __str__(self) -> str:
        return f"not in the cache: {count_text(len(self.missing), 'file')}:" + listed(self.missing)


class ImportRunning(ProxyError):
    """Two imports into one cache at a time."""

    def __str__(self) -> str:
        return "another import into this cache is running"


class NotWritten(ProxyError):
    """The cache does not have what was put into it."""

    def __str__(self) -> str:
        return (
            "not all of it is in the cache: is its disk full, or max_size too small? What is"
            " there is right; run the import again when there is room"
        )


class NothingCached(ProxyError):
    """An empty bundle would look like a transfer that went well."""

    def __init__(self, folder: Path, upstreams: Sequence[str]) -> None:
        super().__init__(folder, upstreams)
        self.folder = folder
        self.upstreams = upstreams

    def __str__(self) -> str:
        return (
            f"the cache {self.folder} has nothing of {', '.join(self.upstreams)};"
            " `waystation warm` fills it"
        )


class BundleFailed(ProxyError):
    """The disk did not do its part."""

    def __init__(self, what: str, error: OSError) -> None:
        super().__init__(what, error)
        self.what = what
        self.error = error

    def __str__(self) -> str:
        return f"{self.what}: {self.error.strerror or self.error}"


def listed(lines: Sequence[str]) -> str:
    """As further lines of a message, not too many."""
    more = len(lines) - _SHOWN
    rest = [f"and {more} more"] if more > 0 else []
    return "".join(f"\n  {line}" for line in [*lines[:_SHOWN], *rest])
