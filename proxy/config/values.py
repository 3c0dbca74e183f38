"""The types of single values in settings, and the base of all tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from proxy.runtime import parse_seconds


def expand_home(path: Path) -> Path:
    """Replace ``~`` by the home directory of the user."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"the home directory in {path} is not known") from None


UserPath = Annotated[Path, AfterValidator(expand_home)]
Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, BeforeValidator(parse_seconds), Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
ClientErrorStatus = Annotated[int, Field(ge=400, le=499)]

DAY = 86400.0
"""Seconds."""


class Table(BaseModel):
    """A table in the file of settings: unknown keys are errors, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
