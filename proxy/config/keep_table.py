"""A ``[[keep]]`` table: files that the server keeps in its cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import BeforeValidator, ByteSize, Field, field_validator

from proxy.config.values import Table
from proxy.errors import ConfigurationError
from proxy.policies import matcher
from proxy.runtime import parse_seconds


class KeepTable(Table):
    """Files that are kept in the cache: sources as for ``waystation warm``, targets and filters."""

    sources: Annotated[list[str], Field(min_length=1)]
    python: list[Annotated[str, Field(pattern=r"^3\.\d{1,2}(\.\d{1,2})?$")]] = []
    platform: list[str] = []
    every: Annotated[float, BeforeValidator(parse_seconds), Field(ge=1, allow_inf_nan=False)] = (
        3600.0
    )
    names: list[str] = []
    versions: str = ""
    latest: Annotated[int, Field(gt=0)] | None = None
    sdists: Literal["also", "none", "only"] = "also"
    all_files: bool = False
    max_file_size: ByteSize | None = None

    @field_validator("sources")
    @classmethod
    def _expand_home(cls, value: list[str]) -> list[str]:
        try:
            return [str(Path(each).expanduser()) if each[:1] == "~" else each for each in value]
        except RuntimeError:
            raise ValueError("the home directory in one of them is not known") from None

    @field_validator("names")
    @classmethod
    def _check_patterns(cls, value: list[str]) -> list[str]:
        matcher(value)
        return value

    @field_validator("platform")
    @classmethod
    def _check_platforms(cls, value: list[str]) -> list[str]:
        from proxy.distributions import parse_platform

        try:
            for each in value:
                parse_platform(each)
        except ConfigurationError as error:
            raise ValueError(f"{error.problem}; {error.remedy}") from None
        return value

    @field_validator("versions")
    @classmethod
    def _check_versions(cls, value: str) -> str:
        try:
            SpecifierSet(value)
        except InvalidSpecifier:
            raise ValueError(f"{value!r} is not a version specifier such as '>=2,<3'") from None
        return value
