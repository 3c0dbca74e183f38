"""The vocabulary of an index: projects, pages, files, and siblings of files. No I/O."""

from proxy.model.hashes import HASHES_BY_STRENGTH, Sha256, new_hash
from proxy.model.moment import Moment
from proxy.model.project_page import (
    PROJECT_STATUSES,
    RESERVED_SEGMENTS,
    Artifact,
    Blob,
    File,
    ProjectName,
    ProjectPage,
    ProjectStatus,
    Span,
    normalize,
    sources_of,
)
from proxy.model.siblings import (
    EXTRA_SUFFIXES,
    MAX_EXTRA_FILE,
    METADATA,
    PROVENANCE,
    SIBLING_SUFFIXES,
    SIGNATURE,
    STATUS_FILE,
    YANKED_SUFFIX,
    distribution_of,
    with_distributions,
)

__all__ = [
    "EXTRA_SUFFIXES",
    "HASHES_BY_STRENGTH",
    "MAX_EXTRA_FILE",
    "METADATA",
    "PROJECT_STATUSES",
    "PROVENANCE",
    "RESERVED_SEGMENTS",
    "SIBLING_SUFFIXES",
    "SIGNATURE",
    "STATUS_FILE",
    "YANKED_SUFFIX",
    "Artifact",
    "Blob",
    "File",
    "Moment",
    "ProjectName",
    "ProjectPage",
    "ProjectStatus",
    "Sha256",
    "Span",
    "distribution_of",
    "new_hash",
    "normalize",
    "sources_of",
    "with_distributions",
]
