"""Reads ``pdm.lock``: digests beside each version, or in ``metadata`` as older PDM put them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from proxy.distributions import Target
from proxy.model import ProjectName
from proxy.requirements.model import FileFilter, SourceRequirements, joined
from proxy.requirements.sources.document import SourceDocument
from proxy.requirements.sources.local_projects import exists, local_build
from proxy.requirements.sources.lock_files import Locked, LockedFile, wants


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
    """Of older formats: by project and version, with a space between."""


class PdmLock(Struct):
    metadata: PdmMetadata
    entries: list[PdmPackage] = field(name="package", default_factory=list)


def read_pdm_lock(document: SourceDocument, choice: FileFilter) -> SourceRequirements:
    """All groups. Raises ``UnreadableSource``."""
    lock = document.shaped(PdmLock, document.toml())
    older = {_spelled(document, key): files for key, files in lock.metadata.files.items()}
    local = {n for n, each in enumerate(lock.entries) if _is_local(document, each)}
    locked = (
        Locked(
            entry.name,
            entry.version,
            tuple(
                LockedFile(file.file, (file.hash,), file.url)
                for file in entry.files
                or older.get(_spelled(document, f"{entry.name} {entry.version}"), [])
            ),
            _admitting(document, choice.targets, entry),
            entry.elsewhere,
            # Otherwise most markers are only beside who depends on a version.
            certain="inherit_metadata" in lock.metadata.strategy,
        )
        for n, entry in enumerate(lock.entries)
        if n not in local
    )
    builds = (
        local_build(document, lock.entries[n].path or "", lock.entries[n].name) for n in local
    )
    return joined((wants(document, choice, locked), *builds))


def _is_local(document: SourceDocument, entry: PdmPackage) -> bool:
    return entry.path is not None and exists((document.folder / entry.path).is_dir)


def _spelled(document: SourceDocument, key: str) -> tuple[ProjectName, str]:
    """Project and version; the name may be spelled in any way, and have extras."""
    name, _, number = key.rpartition(" ")
    return document.project(name.partition("[")[0]), number


def _admitting(
    document: SourceDocument, targets: Iterable[Target], entry: PdmPackage
) -> tuple[Target, ...]:
    marker = document.marker(entry.marker)
    return tuple(each for each in targets if each.admits(marker))
