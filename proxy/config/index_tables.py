"""The tables of single indexes: ``[indexes.NAME]``, by kind."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, HttpUrl, SecretStr, field_validator

from proxy.config.values import ClientErrorStatus, Table, UserPath
from proxy.policies import Reserved


class _IndexTable(Table):
    """What the indexes of all kinds have."""

    policies: list[str] = []
    """Names of ``[policies.NAME]``."""


class _Leaf(_IndexTable):
    """An index that is not made of others."""

    members: ClassVar[tuple[str, ...]] = ()
    members_key: ClassVar[str] = ""


class LocalTable(_Leaf):
    """A directory of private distributions."""

    kind: Literal["local"]
    path: UserPath
    legacy_files: bool = False
    watch: bool = True


class MirrorTable(_Leaf):
    """An upstream index."""

    kind: Literal["mirror"]
    url: HttpUrl | None = None
    username: str | None = None
    password: SecretStr | None = None
    file_hosts: list[str] = []
    missing_statuses: list[ClientErrorStatus] = [404, 410]
    reserved: list[str] = []

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
    """The key that names the other indexes."""

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the indexes that this one is made of."""
        return tuple(self.of)


IndexTable = Annotated[LocalTable | MirrorTable | FallthroughTable, Field(discriminator="kind")]
