"""What has been found to be needed so far, each thing once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from proxy.bundle.needs import LockedVersion, Missing, NeededFile
from proxy.bundle.targets import Target
from proxy.model import METADATA, PROVENANCE, File, ProjectName, ProjectPage

Install = tuple[ProjectName, str, Target]
"""A version that is to be installed somewhere."""

_NOTHING: Mapping[str, str] = {}


@dataclass(slots=True)
class GatheredFiles:
    installs: dict[Install, list[File]] = field(default_factory=dict)
    """The files that each can be installed from."""
    _files: dict[tuple[ProjectName, str, str], NeededFile] = field(default_factory=dict)
    _missing: dict[str, str] = field(default_factory=dict)
    _locked: dict[Install, frozenset[str]] = field(default_factory=dict)

    @property
    def files(self) -> tuple[NeededFile, ...]:
        return tuple(sorted(self._files.values(), key=lambda each: each.line))

    @property
    def missing(self) -> tuple[Missing, ...]:
        return tuple(Missing(*each) for each in self._missing.items())

    @property
    def locked(self) -> tuple[LockedVersion, ...]:
        return tuple(LockedVersion(*key, found) for key, found in self._locked.items())

    def take(self, page: ProjectPage, file: File, proofs: Mapping[str, str] = _NOTHING) -> None:
        """A file of the page with what the page says lies beside it."""
        self.add(
            NeededFile(
                page.project, file.filename, file.address_digest, file.size, page.source, proofs
            )
        )
        for suffix, there in ((METADATA, file.metadata), (PROVENANCE, file.provenance)):
            if there:
                filename = file.filename + suffix
                self.add(NeededFile(page.project, filename, file.address_digest, None, page.source))

    def add(self, need: NeededFile) -> None:
        self._files.setdefault((need.project, need.filename, need.digest), need)

    def miss(self, line: str, reason: str) -> None:
        self._missing.setdefault(line, reason)

    def install(self, install: Install, files: Iterable[File]) -> None:
        self.installs.setdefault(install, []).extend(files)

    def lock(self, install: Install, digests: frozenset[str]) -> None:
        """``digests`` as in ``LockedVersion``; targets share what is one."""
        known = self._locked.setdefault(install, digests)
        if not digests <= known:
            self._locked[install] = known | digests
