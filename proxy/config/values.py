"""The types of single values in settings, and the base of all tables."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    HttpUrl,
    PlainValidator,
    TypeAdapter,
    UrlConstraints,
)

from proxy import late_pattern
from proxy.runtime import parse_seconds


def expand_home(path: Path) -> Path:
    """Replace ``~`` by the home directory of the user."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"the home directory in {path} is not known") from None


_NO_AGE = 'is not an age with its unit, such as "7d", "36h" or "P7D", of at most 100 years'
LONGEST_AGE = 36_525 * 86400.0
"""Seconds."""
_ISO_AGE = late_pattern(r"P(?:(\d+)W|(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?)\Z")


def age_seconds(age: str) -> float:
    """The seconds that ``"7d"``, ``"36h"`` or ``"P7D"`` (ISO 8601) means.

    A bare number is refused: other tools count ages in days, hours, minutes or seconds. Raises
    ``ValueError``.
    """
    seconds: object = None
    if (found := _ISO_AGE.match(age)) and any(found.groups()):
        weeks, days, hours, minutes = (int(each or 0) for each in found.groups())
        seconds = ((weeks * 7 + days) * 24 + hours) * 3600.0 + minutes * 60.0
    elif age[:1].isdigit() and age.strip()[-1:].isalpha():
        seconds = parse_seconds(age)
    if not isinstance(seconds, float) or not 0 < seconds <= LONGEST_AGE:
        raise ValueError(_NO_AGE)
    return seconds


def _check_age(age: object) -> object:
    if not isinstance(age, str):
        raise ValueError(_NO_AGE)
    age_seconds(age)
    return age


def parse_instant(value: object) -> object:
    """A date, or a date and time, of TOML or as ISO 8601 text; UTC if no offset is given.

    A date is its 00:00. Raises ``ValueError``.
    """
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise ValueError("is not a date such as 2026-12-24, or 2026-12-24T12:00:00Z")
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is too early or too late for a date") from None


UserPath = Annotated[Path, AfterValidator(expand_home)]
Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, BeforeValidator(parse_seconds), Field(gt=0, allow_inf_nan=False)]
Age = Annotated[str, BeforeValidator(_check_age)]
"""Stays as it is written; ``age_seconds`` says what it means."""
Instant = Annotated[datetime, BeforeValidator(parse_instant)]
Count = Annotated[int, Field(gt=0)]
ClientErrorStatus = Annotated[int, Field(ge=400, le=499)]


def _check_whole(url: HttpUrl) -> HttpUrl:
    if url.query or url.fragment:
        raise ValueError("holds more than scheme, host and path")
    return url


PeerUrl = Annotated[HttpUrl, AfterValidator(_check_whole)]
PlainHttpUrl = Annotated[HttpUrl, UrlConstraints(allowed_schemes=["http"])]
Retries = Annotated[int, Field(ge=0, le=10)]
OnChangedFile = Literal["refuse", "warn", "accept"]
VanishedFiles = Literal["hide", "show", "refuse"]
MirrorMode = Literal["proxy", "stream", "redirect"]
Speculation = Literal["off", "metadata", "files"]

HOUR, DAY = 3600.0, 86400.0
"""Seconds."""


class Table(BaseModel):
    """A table in the file of settings: unknown keys are errors, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class BuiltLate:
    """Annotates a type of which the validator is built with the first value.

    The validators of all tables take a fifth of the CPU of a start; most settings have few tables.
    """

    def __get_pydantic_core_schema__(self, annotated: Any, handler: GetCoreSchemaHandler) -> Any:
        adapter = cache(lambda: TypeAdapter(annotated))
        late = PlainValidator(lambda value: adapter().validate_python(value))
        return late.__get_pydantic_core_schema__(Any, handler)


def late_type(module: str, name: str) -> Any:
    """A type of a module of this package, which is imported with the first value of the type.

    For types in ``BuiltLate``. Type checkers are given the type itself.
    """

    class Late:
        @classmethod
        def __get_pydantic_core_schema__(cls, annotated: Any, handler: GetCoreSchemaHandler) -> Any:
            return handler.generate_schema(getattr(import_module(f"proxy.config.{module}"), name))

    return Late
