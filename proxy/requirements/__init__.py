"""Requirements: requirement files, projects and lock files in; exact files out."""

from proxy.requirements.gather import (
    DEFAULT_JOBS,
    needed,
)
from proxy.requirements.model import (
    FileFilter,
    LatestVersions,
    LockedVersion,
    Missing,
    NeededFile,
    Requirements,
    ResolvedFiles,
    SkippedRequirement,
    SourceRequirements,
    UnreadableSource,
    joined,
)
from proxy.requirements.recording_index import RecordingIndex
from proxy.requirements.resolver import (
    Resolver,
    UvFailed,
)
from proxy.requirements.sources import read_source
from proxy.requirements.sources.access_log import read_access_log
from proxy.requirements.sources.missing_list import missing_lines
from proxy.requirements.sources.pyproject import GroupSelection

__all__ = [
    "DEFAULT_JOBS",
    "FileFilter",
    "GroupSelection",
    "LatestVersions",
    "LockedVersion",
    "Missing",
    "NeededFile",
    "RecordingIndex",
    "Requirements",
    "ResolvedFiles",
    "Resolver",
    "SkippedRequirement",
    "SourceRequirements",
    "UnreadableSource",
    "UvFailed",
    "joined",
    "missing_lines",
    "needed",
    "read_access_log",
    "read_source",
]
