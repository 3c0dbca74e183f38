"""Distributions: file names, archives, core metadata, platforms and targets. No network."""

from typing import TYPE_CHECKING

from proxy import late_names
from proxy.distributions.archive import (
    UnusableArchive,
    ZipMember,
    check_whole,
    list_zip_members,
    read_sdist_file,
    read_sdist_metadata,
    read_wheel_metadata,
    unpack_zip_member,
)
from proxy.distributions.core_metadata import (
    Description,
    RequiredProject,
    core_fields,
    describe,
    parse_metadata,
    required_projects,
    requires_python_of,
)
from proxy.distributions.filenames import (
    MAX_NAME,
    DistributionKind,
    DistributionName,
    belongs_to,
    is_plain_filename,
    kind_of,
    normalize_version,
    parse_filename,
    plain_filename_pattern,
    safe_filename,
    same_version,
    split_readings,
    version_for,
    version_of,
)
from proxy.distributions.platforms import (
    PLATFORM_ALIASES,
    describe_platform,
    parse_platform,
)
from proxy.distributions.possible_projects import (
    looks_like_distribution,
    possible_projects,
    possible_projects_of_folder,
)
from proxy.distributions.targets import (
    Target,
    parse_targets,
)

if TYPE_CHECKING:
    from proxy.distributions.spdx import (
        BSD,
        canonical_expression,
        evaluate_expression,
        licence_of_metadata,
    )
else:  # what a start without such settings does not need
    __getattr__ = late_names(__name__, "spdx")

__all__ = [
    "BSD",
    "MAX_NAME",
    "PLATFORM_ALIASES",
    "Description",
    "DistributionKind",
    "DistributionName",
    "RequiredProject",
    "Target",
    "UnusableArchive",
    "ZipMember",
    "belongs_to",
    "canonical_expression",
    "check_whole",
    "core_fields",
    "describe",
    "describe_platform",
    "evaluate_expression",
    "is_plain_filename",
    "kind_of",
    "licence_of_metadata",
    "list_zip_members",
    "looks_like_distribution",
    "normalize_version",
    "parse_filename",
    "parse_metadata",
    "parse_platform",
    "parse_targets",
    "plain_filename_pattern",
    "possible_projects",
    "possible_projects_of_folder",
    "read_sdist_file",
    "read_sdist_metadata",
    "read_wheel_metadata",
    "required_projects",
    "requires_python_of",
    "safe_filename",
    "same_version",
    "split_readings",
    "unpack_zip_member",
    "version_for",
    "version_of",
]
