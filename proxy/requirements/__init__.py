"""Requirements: which pages and files a build needs, for any Python and platform.

``read_source`` reads requirements files, projects and lock files; ``needed_files`` turns what
they ask for into exact files, with uv as the resolver.
"""

from proxy.requirements.gather import (
    DEFAULT_JOBS,
    needed_files,
)
from proxy.requirements.model import (
    FileFilter,
    LatestVersions,
    LockedVersion,
    Missing,
    NeededFile,
    ResolvedFiles,
    ResolverInput,
    SkippedRequirement,
    SourceRequirements,
    UnreadableSource,
    merge_requirements,
)
from proxy.requirements.recording_index import RecordingIndex
from proxy.requirements.relocking import NewIndex, open_document, relock
from proxy.requirements.resolver import (
    Resolver,
    UvFailed,
)
from proxy.requirements.sources import read_source
from proxy.requirements.sources.logged_requests import read_access_log
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
    "NewIndex",
    "RecordingIndex",
    "ResolvedFiles",
    "Resolver",
    "ResolverInput",
    "SkippedRequirement",
    "SourceRequirements",
    "UnreadableSource",
    "UvFailed",
    "merge_requirements",
    "missing_lines",
    "needed_files",
    "open_document",
    "read_access_log",
    "read_source",
    "relock",
]
