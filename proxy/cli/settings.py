"""``waystation settings``: the example file; also the values in force, for ``check``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from proxy.composition import DEFAULT_PACKAGES, resolve_tree, upstream_url
from proxy.config import MirrorTable, Settings, cache_folder
from proxy.errors import mask_credentials

EXAMPLE = "settings.example.toml"


@click.command("settings")
def command() -> None:
    """Print all settings with defaults and explanations, as a settings file in TOML.

    Save the output to a file, edit it, and run: waystation serve --config FILE
    """
    click.echo(example(), nl=False)


def example() -> str:
    """The example file; it is in the wheel, and in the root of a checkout."""
    from importlib.resources import files

    packed = files("proxy") / EXAMPLE
    if packed.is_file():
        return packed.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / EXAMPLE).read_text(encoding="utf-8")


def in_force(settings: Settings) -> dict[str, Any]:
    """Every setting with its effective value, secrets masked; None if it is not set."""
    values: dict[str, Any] = _plain(settings)
    values["cache_dir"] = str(cache_folder(settings))
    return values


def as_toml(settings: Settings) -> Iterator[str]:
    """The values in force as the lines of a settings file. Secrets are masked."""
    values = in_force(settings) | _implied(settings)
    named = {key: values.pop(key) for key in ("indexes", "policies", "webhooks")}
    listed = {key: values.pop(key) for key in ("keep", "exempt")}
    yield from _assignments(values)
    for key, tables in named.items():
        for name, table in tables.items():
            yield f"\n[{key}.{_text(name)}]"
            yield from _assignments(_given(table))
    for key, rows in listed.items():
        for table in rows:
            yield f"\n[[{key}]]"
            yield from _assignments(_given(table))


def _given(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def _implied(settings: Settings) -> dict[str, Any]:
    """The implied values without ``indexes``: ``./packages`` if it exists, and PyPI."""
    if settings.indexes:
        return {}
    implied: dict[str, Any] = {}
    if settings.packages is None and DEFAULT_PACKAGES.is_dir():
        implied["packages"] = str(DEFAULT_PACKAGES.absolute())
    if settings.upstream is None:
        upstream = resolve_tree(settings).named["upstream"].table
        assert isinstance(upstream, MirrorTable)
        implied["upstream"] = str(upstream_url(upstream))
    return implied


def _plain(value: Any) -> Any:
    """The value as text, number, list or table; without credentials, secrets as asterisks."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {field.alias or name: _plain(getattr(value, name)) for name, field in fields.items()}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if value == int(value) else value
    return value if value is None or isinstance(value, bool) else mask_credentials(str(value))


def _assignments(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield f"# {name} is not set" if value is None else f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        given = _given(value).items()
        return "{" + ", ".join(f"{_text(key)} = {_toml(each)}" for key, each in given) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return _text(value) if isinstance(value, str) else str(value)


def _text(text: str) -> str:
    """A string in TOML; as in JSON, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
