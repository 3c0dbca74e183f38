"""One ``[[keep]]`` table of the settings: sources, targets, and filters of their files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
from packaging.specifiers import SpecifierSet

from proxy.distributions import version_of
from proxy.model import ProjectName, distribution_of
from proxy.policies import matcher
from proxy.requirements import (
    FileFilter,
    LatestVersions,
    NeededFile,
    ResolvedFiles,
    SourceRequirements,
    merge_requirements,
    read_source,
)


@dataclass(frozen=True)
class Keep:
    sources: tuple[str, ...]
    file_filter: FileFilter
    every: float = 3600.0
    """Seconds between two runs."""
    names: tuple[str, ...] = ()
    """Projects, or patterns with ``*`` and ``?``; empty: all."""
    versions: str = ""
    """A specifier (PEP 440) that versions must match; empty: all."""
    latest: int | None = None
    """Keep also this many newest versions of each project that is named as a source."""
    max_file_size: int | None = None
    """Bytes; larger distributions are not kept."""

    def __str__(self) -> str:
        return ", ".join(self.sources)

    @property
    def owner(self) -> str:
        """Identifies the table in stored pins and states: equal tables have the same owner."""
        kept = self.file_filter
        targets = [str(target) for target in kept.targets]
        limits = (self.names, self.versions, self.latest, self.max_file_size)
        parts = (self.sources, targets, kept.sdists, kept.all_files, *limits)
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]

    def read_sources(self, environ: Mapping[str, str]) -> SourceRequirements:
        """The requirements of the sources. ``environ`` has the values of ``${NAME}`` in sources.

        Raises ``UnreadableSource``.
        """
        wanted = merge_requirements(
            read_source(each, self.file_filter, environ=environ, latest=self.latest)
            for each in self.sources
        )
        return replace(wanted, latest=tuple(map(self._narrowed, wanted.latest)))

    def select(self, needs: ResolvedFiles) -> ResolvedFiles:
        """The distributions that pass the filters, with their metadata and provenance."""
        large = {
            (need.project, need.filename)
            for need in needs.files
            if self.max_file_size is not None and (need.size or 0) > self.max_file_size
        }
        wanted = self._wanted
        return replace(
            needs,
            files=tuple(
                need
                for need in needs.files
                if (need.project, distribution_name(need)) not in large and wanted(need)
            ),
        )

    def _wanted(self, need: NeededFile) -> bool:
        if self.names and not matcher(self.names)(need.project):
            return False
        if not self.versions:
            return True
        version = version_of(distribution_name(need), need.project)
        return version is not None and self._specifier.contains(version, prereleases=True)

    def _narrowed(self, named: LatestVersions) -> LatestVersions:
        """The newest versions are counted among those that match ``versions``."""
        return replace(named, specifier=named.specifier & self._specifier)

    @property
    def _specifier(self) -> SpecifierSet:
        return SpecifierSet(self.versions)


def distribution_name(need: NeededFile) -> str:
    """The filename of the distribution itself, also for its metadata or provenance."""
    return distribution_of(need.filename)


def is_distribution(need: NeededFile) -> bool:
    return distribution_name(need) == need.filename


KeptFileKey = tuple[ProjectName, str, str]
"""Project, filename, digest as ``File.address_digest``."""
