"""Folders of distributions: which program made one, and the source that reads its layout.

Those of pypiserver, pypicloud and pip download have no list: the file names, and else the metadata
in the archives, say what the files are. pypicloud has a folder for each project, and perhaps each
version; beside a file it may keep details of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from proxy.distributions import DistributionKind, kind_of, parse_filename
from proxy.errors import ConfigurationError, UploadRefused
from proxy.migration.bandersnatch_mirror import BandersnatchMirror, web_folder
from proxy.migration.devpi_export import DATA_INDEX, DevpiExport
from proxy.migration.folder_files import DETAILS, FolderFiles
from proxy.migration.offers import LeftOut, Offer, PackageSource
from proxy.model import ProjectName, normalize
from proxy.publish import PRIVATE_FOLDER
from proxy.simple import clean_hashes

DEVPI, BANDERSNATCH = "devpi", "bandersnatch"
LAYOUTS = {
    DEVPI: "an export of devpi-server",
    BANDERSNATCH: "a mirror of bandersnatch",
    "pypicloud": "a storage folder of pypicloud: a folder for each project",
    "pypiserver": "a package folder of pypiserver",
    "waystation": "the directory of a local index of Waystation",
    "files": "any other folder with wheels and sdists, such as those of pip download",
}
"""The kinds of folders, each with its meaning."""
_MAX_DETAILS = 2**20
"""Bytes of a file with details."""


class FlatFolder:
    """Offers every wheel and sdist below a folder."""

    def __init__(self, root: Path, kind: str) -> None:
        """``kind``: the program that made the folder, for people."""
        self._files = FolderFiles(root)
        self.label = self._files.label(f"{kind} folder")

    async def found(self) -> AsyncIterator[Offer | LeftOut]:
        for each in self._files.walk():
            if isinstance(each, LeftOut):
                yield each
            elif unlisted := self._files.unlisted(each):
                if unlisted.reason:
                    yield unlisted
            else:
                yield self._files.offer(each, hashes=self._hashes(each))

    def _hashes(self, relative: str) -> Mapping[str, str]:
        """The digests that pypicloud notes beside a file, if there are any."""
        try:
            found: Any = msgspec.json.decode(self._files.read(relative + DETAILS, _MAX_DETAILS))
        except (UploadRefused, msgspec.DecodeError, RecursionError):
            return {}
        if not isinstance(found, dict):
            return {}
        return clean_hashes({name: found.get(f"hash_{name}") for name in ("sha256", "md5")})


def open_folder(
    root: Path,
    kind: str | None,
    devpi_indexes: Sequence[str] = (),
    wants: Callable[[ProjectName], bool] = lambda project: True,
) -> PackageSource:
    """The source in a folder. ``kind``: one of ``LAYOUTS``; None: what the folder looks like.

    ``devpi_indexes`` as in ``DevpiExport``. ``wants``: whether a project has to be offered; others
    may be, too. Raises ``ConfigurationError``.
    """
    if not root.is_dir():
        raise ConfigurationError("SOURCE", f"{root} is no folder", "name a folder, or an address")
    kind = kind or _kind_of(root)
    if devpi_indexes and kind != DEVPI:
        problem = f"{root} is read as {kind}, which has no indexes"
        raise ConfigurationError("--devpi-index", problem, "leave the option out")
    if kind == DEVPI:
        return DevpiExport(root, devpi_indexes)
    if kind == BANDERSNATCH:
        return BandersnatchMirror(root, wants)
    return FlatFolder(root, kind)


def _kind_of(root: Path) -> str:
    if (root / DATA_INDEX).is_file():
        return DEVPI
    if web_folder(root):
        return BANDERSNATCH
    if (root / PRIVATE_FOLDER).is_dir():
        return "waystation"
    if _has_project_folders(root):
        return "pypicloud"
    if _has_distributions(root):
        return "files"
    problem = f"{root} has no wheel, no sdist and no list of any"
    raise ConfigurationError("SOURCE", problem, "name the folder that has the packages")


def _has_project_folders(root: Path) -> bool:
    """Whether folders are named for the projects of the files in them, as those of pypicloud."""
    seen = False
    for each in FolderFiles(root).walk():
        if isinstance(each, LeftOut) or kind_of(each) is None:
            continue
        folder, _, filename = each.partition("/")
        said = parse_filename(filename.rpartition("/")[2])
        if not filename or not said or (said.certain and not _is_name(folder, said.project)):
            return False
        seen = True
    return seen


def _is_name(folder: str, project: str) -> bool:
    try:
        return normalize(folder) == project
    except ValueError:
        return False


def _has_distributions(root: Path) -> bool:
    kinds = (DistributionKind.WHEEL, DistributionKind.SDIST)
    paths = (each for each in FolderFiles(root).walk() if isinstance(each, str))
    return any(kind_of(each) in kinds for each in paths)
