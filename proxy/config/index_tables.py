"""The tables of single indexes: ``[indexes.NAME]``, by kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, HttpUrl, SecretStr, field_validator

from proxy.config.upstream_settings import UpstreamSettings
from proxy.config.values import ClientErrorStatus, Instant, Table, UserPath
from proxy.errors import ConfigurationError
from proxy.policies import Reserved

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
RESERVED_NAMES = frozenset(
    ("simple", "files", "packages", "metrics", "healthz", "readyz", "legacy", "static")
)
"""First segments of paths that mean something else."""


class _IndexTable(Table):
    """What the indexes of all kinds have."""

    policies: list[str] = []
    """Names of ``[policies.NAME]``."""
    as_of: Instant | None = None
    members_key: ClassVar[str] = ""
    """The key that names other indexes."""

    @property
    def members(self) -> Sequence[str]:
        """The names of the indexes that this one is made of."""
        return ()

    @property
    def upstream_settings(self) -> Mapping[str, Any]:
        """The settings of an upstream that the table sets."""
        return {}


class LocalTable(_IndexTable):
    """A directory of private distributions."""

    kind: Literal["local"]
    path: UserPath
    legacy_files: bool = False
    watch: bool = True


class MirrorTable(UpstreamSettings, _IndexTable):
    """An upstream index."""

    kind: Literal["mirror"]
    url: HttpUrl | None = None
    username: str | None = None
    password: SecretStr | None = None
    file_hosts: list[str] = []
    missing_statuses: list[ClientErrorStatus] = [404, 410]
    reserved: list[str] = []
    trust_dates: bool = True

    @field_validator("reserved")
    @classmethod
    def _check_reserved(cls, value: list[str]) -> list[str]:
        Reserved(value)
        return value


class FallthroughTable(_IndexTable):
    """Names of other indexes; the first one that has a project answers for it."""

    kind: Literal["fallthrough"]
    of: Annotated[list[str], Field(min_length=1)]
    members_key: ClassVar[str] = "of"

    @property
    def members(self) -> Sequence[str]:
        return self.of


IndexTable = Annotated[LocalTable | MirrorTable | FallthroughTable, Field(discriminator="kind")]

INDEX_TABLES: Mapping[str, type[Table]] = {
    "local": LocalTable,
    "mirror": MirrorTable,
    "fallthrough": FallthroughTable,
}
"""By kind."""


def name_problems(names: Iterable[str], prefix: str) -> Iterator[ConfigurationError]:
    """A name is the first segment of addresses: it has to differ from all others."""
    under_prefix = prefix.strip("/").partition("/")[0]
    for name in names:
        key = f"indexes.{name}"
        if not NAME.fullmatch(name):
            problem = f"{name!r} cannot be a part of an address as it is"
            remedy = 'use small letters, digits and "-", at most 63, beginning with none of "-"'
            yield ConfigurationError(key, problem, remedy)
        elif name in RESERVED_NAMES:
            problem = f"/{name}/ has another meaning in addresses"
            yield ConfigurationError(key, problem, "choose another name")
        elif name == under_prefix:
            problem = f"/{name}/ is also the beginning of the prefix, {prefix}"
            yield ConfigurationError(key, problem, "choose another name, or another prefix")
