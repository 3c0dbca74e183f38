"""The table ``[access]``: what proves an identity, and who may do what."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, field_validator

from proxy.access import Grant, check_member, parse_grant
from proxy.config.values import Age, Table, UserPath

_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}\Z", re.ASCII)


def _check_right(text: str) -> str:
    parse_grant(text)
    return text


Right = Annotated[str, AfterValidator(_check_right)]
"""Such as ``read:main``, ``upload:private:acme-*`` or ``admin``."""


class AccessTable(Table):
    """Who may do what. Without this table everybody may read everything."""

    htpasswd: UserPath | None = None
    tokens: UserPath | None = None
    """None: a file in the cache folder."""
    token_max_age: Age = "366d"  # noqa: S105 (a time)
    hide_names: bool = True
    anonymous: list[Right] = []
    groups: dict[str, list[str]] = {}
    rights: dict[str, list[Right]] = {}

    @field_validator("groups")
    @classmethod
    def _check_groups(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, members in value.items():
            _check_group(name)
            for member in members:
                check_member(member)
        return value

    @field_validator("rights")
    @classmethod
    def _check_names(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for name in value:
            if name.startswith("@"):
                _check_group(name[1:])
            elif name != "*":
                check_member(name)
        return value

    @property
    def grants(self) -> dict[str, list[Grant]]:
        """The rights by name, ``@group`` or ``*``."""
        return {name: list(map(parse_grant, rights)) for name, rights in self.rights.items()}

    @property
    def all_rights(self) -> list[Grant]:
        """Every right that the table grants to anybody."""
        granted = [self.anonymous, *self.rights.values()]
        return [parse_grant(right) for rights in granted for right in rights]


def _check_group(name: str) -> None:
    if not _GROUP.match(name):
        raise ValueError(f'{name!r} is no name of a group such as "dev"')
