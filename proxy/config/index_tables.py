"""The tables of single indexes: ``[indexes.NAME]``, by kind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ByteSize, Field, HttpUrl, SecretStr, field_validator

from proxy import late_pattern
from proxy.config.index_base import IndexTableBase
from proxy.config.routed_table import RoutedTable
from proxy.config.storage_table import StoreAddress
from proxy.config.upstream_settings import UpstreamSettings
from proxy.config.values import ClientErrorStatus, MirrorMode, Seconds, Table, UserPath
from proxy.policies import Reserved, matcher


class LocalTable(IndexTableBase):
    """Private distributions: directories and zip archives of them, or an object store."""

    kind: Literal["local"]
    path: UserPath | None = None
    paths: list[UserPath] = []
    packages: StoreAddress | None = None
    """An object store, for any number of equal servers; in place of path and paths."""
    legacy_files: bool = False
    watch: bool = True
    extra_files: bool = False
    uploads: bool = False
    """Accept uploads, into the first directory."""
    overwrite: bool = False
    max_upload: ByteSize = ByteSize(2 * 10**9)
    quota: ByteSize | None = None
    """Bytes of all files of a project."""
    user_quota: ByteSize | None = None
    keep_deleted: Seconds = 30 * 86400.0

    @property
    def roots(self) -> tuple[Path, ...]:
        """All directories and archives; of two files of one name, the earlier one counts."""
        given = [self.path, *self.paths] if self.path else self.paths
        return tuple(dict.fromkeys(each.absolute() for each in given))


class UpstreamTable(UpstreamSettings, IndexTableBase):
    """The settings of an index that fetches from a server elsewhere, and caches."""

    file_hosts: list[str] = []
    reserved: list[str] = []
    mode: MirrorMode = "proxy"
    trust_dates: bool = True

    @property
    def reserved_patterns(self) -> Sequence[str]:
        """Names and patterns that are kept private."""
        return self.reserved

    @field_validator("reserved")
    @classmethod
    def _check_reserved(cls, value: list[str]) -> list[str]:
        Reserved(value)
        return value


class MirrorTable(UpstreamTable):
    """An upstream index."""

    kind: Literal["mirror"]
    url: HttpUrl | None = None
    mirrors: list[HttpUrl] = []
    """Further addresses of the same content."""
    username: str | None = None
    password: SecretStr | None = None
    missing_statuses: list[ClientErrorStatus] = [404, 410]
    extra_files: bool = False
    follow: bool = False
    """The upstream is a Waystation: fetch what it publishes at once, and pass uploads on to it."""


REPOSITORY = late_pattern(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}", re.ASCII)


class ReleasesTable(UpstreamTable):
    """Distributions that are attached to releases of repositories, as GitHub's API lists them."""

    kind: Literal["releases"]
    api: HttpUrl
    repositories: Annotated[list[str], Field(min_length=1)]
    """Of a project that several have, the first one counts."""
    token: SecretStr | None = None
    projects: list[str] = []
    """Names and patterns of what may come from there; empty: anything."""
    prereleases: bool = False
    drafts: bool = False

    @field_validator("repositories")
    @classmethod
    def _check_repositories(cls, value: list[str]) -> list[str]:
        for each in value:
            if not REPOSITORY.fullmatch(each) or {".", ".."} & set(each.split("/")):
                raise ValueError(f'{each!r} is no repository such as "acme/tool"')
        return value

    @field_validator("projects")
    @classmethod
    def _check_projects(cls, value: list[str]) -> list[str]:
        if value:
            matcher(value)
        return value


class FallthroughTable(IndexTableBase):
    """Names of other indexes; the first one that has a project answers for it."""

    kind: Literal["fallthrough"]
    of: Annotated[list[str], Field(min_length=1)]
    merge: list[str] = []
    """Names or patterns of projects for which all of them answer together."""
    members_key: ClassVar[str] = "of"

    @field_validator("merge")
    @classmethod
    def _check_merge(cls, value: list[str]) -> list[str]:
        matcher(value)
        return value

    @property
    def members(self) -> Sequence[str]:
        return self.of


IndexTable = Annotated[
    LocalTable | MirrorTable | ReleasesTable | FallthroughTable | RoutedTable,
    Field(discriminator="kind"),
]

INDEX_TABLES: Mapping[str, type[Table]] = {
    "local": LocalTable,
    "mirror": MirrorTable,
    "releases": ReleasesTable,
    "fallthrough": FallthroughTable,
    "routed": RoutedTable,
}
"""By kind."""
