"""Reads ``pdm.lock``; older versions of PDM wrote the digests into the table ``metadata``."""

from __future__ import annotations

from msgspec import Struct, field

from proxy.model import ProjectName
from proxy.requirements.model import FileFilter, SourceRequirements
from proxy.requirements.sources.document import SourceDocument
from proxy.requirements.sources.local_projects import exists
from proxy.requirements.sources.lock_files import (
    LockedFile,
    LockedProject,
    admitting_targets,
    locked_requirements,
)


class PdmFile(Struct):
    hash: str
    file: str | None = None
    url: str | None = None


class PdmPackage(Struct):
    """One version with some of its extras; ``package`` in the file."""

    name: str
    version: str | None = None
    marker: str | None = None
    files: list[PdmFile] = []
    git: str | None = None
    hg: str | None = None
    svn: str | None = None
    bzr: str | None = None
    url: str | None = None
    path: str | None = None

    @property
    def elsewhere(self) -> str | None:
        if self.url:
            return "an address"
        systems = ("git", "hg", "svn", "bzr")
        found = next((name for name in systems if getattr(self, name)), None)
        return found or ("a local file" if self.path else None)


class PdmMetadata(Struct):
    lock_version: str
    strategy: list[str] = []
    files: dict[str, list[PdmFile]] = {}
    """In older formats; the key is ``name version``."""


class PdmLock(Struct):
    metadata: PdmMetadata
    entries: list[PdmPackage] = field(name="package", default_factory=list)


def read_pdm_lock(document: SourceDocument, file_filter: FileFilter) -> SourceRequirements:
    """All groups. Raises ``UnreadableSource``."""
    lock = document.convert(PdmLock, document.toml())
    older = {
        _project_and_version(document, key): files for key, files in lock.metadata.files.items()
    }
    local: list[PdmPackage] = []
    others: list[PdmPackage] = []
    for entry in lock.entries:
        (local if _is_local(document, entry) else others).append(entry)
    locked = (
        LockedProject(
            entry.name,
            entry.version,
            tuple(
                LockedFile(file.file, (file.hash,), file.url)
                for file in entry.files
                or older.get(_project_and_version(document, f"{entry.name} {entry.version}"), [])
            ),
            admitting_targets(document, file_filter.targets, [entry.marker]),
            entry.elsewhere,
            # Without this strategy most markers are only in the dependency lists.
            certain="inherit_metadata" in lock.metadata.strategy,
        )
        for entry in others
    )
    paths = ((entry.path or "", entry.name) for entry in local)
    return locked_requirements(document, file_filter, locked, paths)


def _is_local(document: SourceDocument, entry: PdmPackage) -> bool:
    return entry.path is not None and exists((document.folder / entry.path).is_dir)


def _project_and_version(document: SourceDocument, key: str) -> tuple[ProjectName, str]:
    """The normalized project and the version; the name in the key may have extras."""
    name, _, number = key.rpartition(" ")
    return document.project(name.partition("[")[0]), number
