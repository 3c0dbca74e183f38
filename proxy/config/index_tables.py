"""The tables of single indexes: ``[indexes.NAME]``, by kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, HttpUrl, SecretStr, field_validator

from proxy.config.values import ClientErrorStatus, Table, UserPath
from proxy.policies import Reserved


class LocalTable(Table):
    """A directory of private distributions."""

    kind: Literal["local"]
    path: UserPath
    legacy_files: bool = False
    watch: bool = True


class MirrorTable(Table):
    """An upstream index."""

    kind: Literal["mirror"]
    url: HttpUrl
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


class FallthroughTable(Table):
    """Names of other indexes; the first one that has a project answers for it."""

    kind: Literal["fallthrough"]
    of: Annotated[list[str], Field(min_length=1)]


IndexTable = Annotated[LocalTable | MirrorTable | FallthroughTable, Field(discriminator="kind")]
