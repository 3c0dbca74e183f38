"""Which files of a chosen version are wanted: by target and by kind of file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from proxy.bundle.targets import Target

SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")


@dataclass(frozen=True, slots=True)
class FileFilter:
    targets: tuple[Target, ...]
    sdists: Literal["also", "none", "only"] = "also"
    """``none`` is ``--no-sdists``, ``only`` is ``--only-sdists``."""
    all_files: bool = False
    """Files for every platform and Python, and of every kind that ``sdists`` lets through."""

    def takes(self, filename: str, targets: Iterable[Target] | None = None) -> bool:
        """Whether the file is wanted for any of these targets; None: for any of the choice's."""
        if filename.endswith(SDIST_SUFFIXES):
            return self.sdists != "none"
        if self.sdists == "only":
            return False
        if self.all_files:
            return True
        wanted = self.targets if targets is None else targets
        return filename.endswith(".whl") and any(target.fits(filename) for target in wanted)
