"""Files below a folder that another program wrote: nothing outside of the folder is ever read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from proxy.distributions import DistributionKind, kind_of, looks_like_distribution
from proxy.errors import UploadRefused, reason
from proxy.indexes import yank_reason
from proxy.migration.offers import LeftOut, Offer
from proxy.model import (
    PROVENANCE,
    SIBLING_SUFFIXES,
    SIGNATURE,
    YANKED_SUFFIX,
    Blob,
    ProjectName,
    distribution_of,
)
from proxy.runtime import printable_text
from proxy.storage import DiskBlob, identity_of

_MAX_REASON = 64 * 1024
"""Bytes of a file with the reason of a yank."""
_MAX_DEPTH = 32
"""Folders within folders."""
NOT_PUBLISHED = "only wheels and sdists (.tar.gz, .zip) can be published"
_NO_DISTRIBUTION = "it is no distribution"
DETAILS = ".meta"
"""Suffix of a file with details about a distribution, as pypicloud writes them."""


class FolderFiles:
    """The files below one folder, by their paths in it."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))

    def label(self, kind: str) -> str:
        """The kind and the place of a source in this folder."""
        return printable_text(f"{kind} {self.root}")

    def find(self, relative: str) -> tuple[Path, os.stat_result]:
        """A regular file in the folder. Raises ``UploadRefused``, also for a way out of it."""
        try:
            path = Path(os.path.realpath(self.root / relative))
            if not path.is_relative_to(self.root):
                raise UploadRefused("its path leads out of the folder")
            found = path.lstat()
        except (OSError, ValueError) as error:  # ValueError: a null byte
            raise UploadRefused(f"it cannot be read: {reason(error)}") from None
        if not stat.S_ISREG(found.st_mode):
            raise UploadRefused("it is no regular file")
        return path, found

    def read(self, relative: str, limit: int) -> bytes:
        """The bytes of a file. Raises ``UploadRefused``, also if there are more than ``limit``."""
        path, found = self.find(relative)
        if found.st_size > limit:
            raise UploadRefused(f"it has more than {limit} bytes")
        try:
            with path.open("rb") as file:
                return file.read(limit)
        except OSError as error:
            raise UploadRefused(f"it cannot be read: {reason(error)}") from None

    def blob(self, relative: str) -> Blob:
        """The bytes of a file, to read later. Raises ``UploadRefused``."""
        path, found = self.find(relative)
        return DiskBlob(path, found.st_size, identity=identity_of(found), changed=_changed)

    def offer(
        self,
        relative: str,
        *,
        project: ProjectName | None = None,
        hashes: Mapping[str, str] = {},
        uploaded: float | None = None,
        yanked: bool | str = False,
    ) -> Offer | LeftOut:
        """A distribution in the folder, with what a list in the folder says about it.

        Without ``uploaded``, the time of the file counts.
        """
        try:
            _, found = self.find(relative)
        except UploadRefused as error:
            return LeftOut(relative, str(error))

        async def opened(suffix: str) -> Blob:
            return self.blob(relative + suffix)

        return Offer(
            relative.rpartition("/")[2],
            relative,
            opened,
            project,
            hashes,
            found.st_size,
            found.st_mtime if uploaded is None else uploaded,
            yanked or self._yanked(relative),
            tuple(each for each in (SIGNATURE, PROVENANCE) if self._has(relative + each)),
        )

    def walk(self) -> Iterator[str | LeftOut]:
        """The paths of all files, sorted; without hidden files and folders."""
        yield from self._below("", 0)

    def unlisted(self, relative: str) -> LeftOut | None:
        """Why a file is not offered, as far as its name says that; None: it may be.

        An empty reason: the file belongs to another one.
        """
        name = relative.rpartition("/")[2]
        if kind_of(name) in (DistributionKind.WHEEL, DistributionKind.SDIST):
            return None
        if name.endswith((*SIBLING_SUFFIXES, YANKED_SUFFIX, DETAILS)) and self._belongs(relative):
            return LeftOut(relative, "", is_expected=True)
        if kind_of(name) or looks_like_distribution(name):
            return LeftOut(relative, NOT_PUBLISHED)
        return LeftOut(relative, _NO_DISTRIBUTION, is_expected=True)

    def _below(self, folder: str, depth: int) -> Iterator[str | LeftOut]:
        try:
            with os.scandir(self.root / folder) as items:
                found = sorted(items, key=lambda item: item.name)
        except OSError as error:
            yield LeftOut(folder or ".", f"the folder cannot be read: {reason(error)}")
            return
        for item in found:
            relative = f"{folder}/{item.name}" if folder else item.name
            if item.name.startswith("."):
                continue
            if item.is_dir(follow_symlinks=False):
                if depth >= _MAX_DEPTH:
                    yield LeftOut(relative, f"it lies below more than {_MAX_DEPTH} folders")
                else:
                    yield from self._below(relative, depth + 1)
            elif item.is_symlink() and Path(item.path).is_dir():
                yield LeftOut(relative, "it is a link to a folder, which is not followed")
            else:
                yield relative

    def _belongs(self, relative: str) -> bool:
        """Whether there is a distribution that a file with this suffix is beside."""
        owner = distribution_of(relative).removesuffix(YANKED_SUFFIX).removesuffix(DETAILS)
        return self._has(owner)

    def _has(self, relative: str) -> bool:
        try:
            self.find(relative)
        except UploadRefused:
            return False
        return True

    def _yanked(self, relative: str) -> bool | str:
        """The mark of a Waystation beside the file."""
        if not self._has(relative + YANKED_SUFFIX):
            return False
        try:
            return yank_reason(self.read(relative + YANKED_SUFFIX, _MAX_REASON))
        except UploadRefused:
            return True


def _changed(filename: str) -> UploadRefused:
    return UploadRefused(f"{filename} cannot be read, or changes while it is read")
