"""A ``[[keep]]`` table of the settings as a type; ``settings.example.toml`` explains its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, field_validator

from proxy.errors import ConfigurationError
from proxy.policies.names import matcher
from proxy.sizes import seconds


class KeepTable(BaseModel):
    """What is kept warm: sources as ``waystation warm`` takes them, for which targets."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    sources: Annotated[list[str], Field(min_length=1)]
    python: list[Annotated[str, Field(pattern=r"^3\.\d{1,2}(\.\d{1,2})?$")]] = []
    platform: list[str] = []
    every: Annotated[float, BeforeValidator(seconds), Field(ge=1, allow_inf_nan=False)] = 3600.0
    names: list[str] = []
    versions: str = ""
    latest: Annotated[int, Field(gt=0)] | None = None
    sdists: Literal["also", "none", "only"] = "also"
    all_files: bool = False
    max_file_size: ByteSize | None = None

    @field_validator("sources")
    @classmethod
    def _home(cls, value: list[str]) -> list[str]:
        try:
            return [str(Path(each).expanduser()) if each[:1] == "~" else each for each in value]
        except RuntimeError:
            raise ValueError("the home directory in one of them is not known") from None

    @field_validator("names")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        matcher(value)
        return value

    @field_validator("platform")
    @classmethod
    def _platforms(cls, value: list[str]) -> list[str]:
        from proxy.bundle.platforms import parse_platform  # few settings have such tables

        try:
            for each in value:
                parse_platform(each)
        except ConfigurationError as error:
            raise ValueError(f"{error.problem}; {error.remedy}") from None
        return value

    @field_validator("versions")
    @classmethod
    def _specifier(cls, value: str) -> str:
        try:
            SpecifierSet(value)
        except InvalidSpecifier:
            raise ValueError(f"{value!r} is no version specifier such as '>=2,<3'") from None
        return value
