"""The tables of policies: ``[policies.NAME]`` by kind, and ``[[exempt]]``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from packaging.specifiers import SpecifierSet
from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, field_validator

from proxy import late_pattern
from proxy.config.values import Age, Count, Instant, Seconds, Table
from proxy.policies import Look, Mode, matcher, parse_digest

POLICY_NAME = late_pattern(r"[a-z0-9-]{1,40}\Z")
"""Names of policies are in HTTP headers and metric labels."""


def _check_patterns(value: list[str]) -> list[str]:
    matcher(value)
    return value


def _check_specifier(text: str) -> str:
    try:
        SpecifierSet(text).contains("1")
    except ValueError:  # InvalidSpecifier, or a number of thousands of digits
        raise ValueError(f"{text!r} is not a version specifier such as '>=2,<3'") from None
    return text


def _check_digest(text: str) -> str:
    parse_digest(text)
    return text


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Patterns = Annotated[list[str], AfterValidator(_check_patterns)]
"""Project names or patterns with ``*`` and ``?``."""
Specifier = Annotated[str, AfterValidator(_check_specifier)]
Specifiers = Annotated[list[Specifier], BeforeValidator(_as_list)]
"""Any of these; one text is one set of specifiers."""
Digest = Annotated[str, AfterValidator(_check_digest)]


SeverityName = Literal["critical", "high", "medium", "low"]
"""A band of CVSS scores: this and the more severe ones."""


class PolicyTable(Table):
    """Fields that the policies of all kinds have: each kind is a subclass with a ``kind``."""

    default_look: ClassVar[Look] = "hide"

    mode: Mode = "enforce"
    show: Look | None = None
    """None: the default of the kind."""
    projects: Patterns = ["*"]
    except_projects: Patterns = []
    reason: str = ""

    @property
    def look(self) -> Look:
        return self.show or self.default_look


class _ListTable(PolicyTable):
    """The entries of a list: ``projects`` names those of which every file is on it."""

    projects: Patterns = []
    versions: dict[str, Specifiers] = {}
    filenames: list[str] = []
    digests: list[Digest] = []

    @field_validator("versions")
    @classmethod
    def _check_names(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        matcher(value)
        return value


class DenyTable(_ListTable):
    """Refuses what is on the list."""

    default_look: ClassVar[Look] = "yank"

    kind: Literal["deny"]


class AllowTable(_ListTable):
    """Refuses what is not on the list."""

    kind: Literal["allow"]


class FilesTable(PolicyTable):
    """Refuses kinds of files."""

    kind: Literal["files"]
    sdists: bool = True
    prereleases: bool = True
    legacy: bool = True
    platforms: list[str] = []
    pythons: list[str] = []
    max_size: ByteSize | None = None
    latest: Count | None = None


class CooldownTable(PolicyTable):
    """Refuses files until they are of an age."""

    kind: Literal["cooldown"]
    age: Age
    unknown: Literal["refuse", "allow", "first-seen"] = "refuse"
    batch: Age = "24h"
    locked: Literal["refuse", "allow"] = "refuse"
    security_fixes: bool = False
    fix_severity: SeverityName = "low"
    fix_sources: list[str] = ["GHSA", "PYSEC"]
    fix_loose: bool = False
    fix_min_age: Seconds = 0.0


class StatusTable(PolicyTable):
    """Refuses projects by their status (PEP 792)."""

    kind: Literal["status"]
    refuse: Annotated[list[Literal["archived", "deprecated"]], Field(min_length=1)]


class ExemptTable(Table):
    """Files that policies do not refuse. All fields that are given must match."""

    policy: Annotated[list[str], Field(min_length=1), BeforeValidator(_as_list)]
    project: str | None = None
    version: Specifier | None = None
    digest: Digest | None = None
    until: Instant | None = None
    forever: bool = False
    reason: Annotated[str, Field(min_length=1)]

    @field_validator("project")
    @classmethod
    def _check_project(cls, value: str | None) -> str | None:
        matcher([] if value is None else [value])
        return value
