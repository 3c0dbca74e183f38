"""Where settings come from: defaults, a TOML file, the environment, flags; the later wins."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_origin

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from proxy.errors import ConfigurationError
from proxy.settings import Settings

PREFIX = "WAYSTATION_"
CONFIG = PREFIX + "CONFIG"


@dataclass(frozen=True, slots=True)
class Loaded:
    settings: Settings
    origins: Mapping[str, str]
    """For each setting that is not at its default: where its value comes from, for people."""


def load(flags: Mapping[str, Any], config: Path | None = None) -> Loaded:
    """The settings in force. Raises ``ConfigurationError`` that names the key and the remedy.

    ``flags`` holds what the command line sets; None means not set. Without ``config``, the
    file that the variable ``WAYSTATION_CONFIG`` names is read, if it is set.
    """
    config = config or (Path(os.environ[CONFIG]) if os.environ.get(CONFIG) else None)
    given = {name: value for name, value in flags.items() if value is not None}
    layers = [
        (str(config), _file(config) if config else {}),
        ("environment", _environment()),
        ("flag", given),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    try:
        return Loaded(_consistent(_Plain(**values)), origins)
    except ValidationError as error:
        raise _explained(error, origins) from None


class _Plain(Settings):
    """Settings out of the values given, and nothing read behind the back."""

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, settings_cls: type[Settings], init_settings: Any, **others: Any
    ) -> tuple[Any, ...]:
        return (init_settings,)


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            "config", f"{path} cannot be read: {error.strerror}", "name a file that exists"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("config", f"{path} is not TOML: {error}") from error


def _environment() -> dict[str, Any]:
    ours = [name for name in os.environ if name.upper().startswith(PREFIX)]
    if not ours:
        return {}
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    for name in ours:
        if name.upper() not in {*known, CONFIG}:
            raise ConfigurationError(
                name, "there is no such setting", "see settings.example.toml for all there are"
            )
    try:
        return dict(EnvSettingsSource(Settings)())
    except ValueError as error:  # pydantic-settings: a table that is not JSON
        raise ConfigurationError("environment", str(error), "give tables as JSON") from error


def _explained(error: ValidationError, origins: Mapping[str, str]) -> ConfigurationError:
    first, *others = error.errors(include_url=False, include_input=False)
    parts = [str(part) for part in first["loc"]]
    name = parts[0]
    if name == "indexes":
        del parts[2:3]  # the kind, which is no part of the key
    field = Settings.model_fields.get(name)
    if field and get_origin(field.annotation) is Union:
        del parts[1:]  # which of several types it could have been
        first["msg"] += "".join(f", or: {each['msg']}" for each in others if each["loc"][0] == name)
    key = ".".join(parts)
    where = f" (from {origins[name]})" if name in origins else ""
    if first["type"] == "extra_forbidden":
        remedy = "see settings.example.toml for all there are"
        return ConfigurationError(key, f"there is no such setting{where}", remedy)
    default = field.default if field and len(parts) == 1 else None
    usual = f"the default is {default}; " if default else ""
    return ConfigurationError(
        key, first["msg"] + where, f"{usual}settings.example.toml explains it"
    )


NEEDS = {
    "tls_certificate": "tls_key",
    "tls_key": "tls_certificate",
    "client_key": "client_certificate",
    "upstream_username": "upstream_password",
    "upstream_password": "upstream_username",
}
FILES = ("tls_certificate", "tls_key", "ca_bundle", "client_certificate", "client_key")


def _consistent(settings: Settings) -> Settings:
    """What one setting cannot tell of itself."""
    for one, other in NEEDS.items():
        if getattr(settings, one) is not None and getattr(settings, other) is None:
            raise ConfigurationError(one, f"it is set but {other} is not", f"set {other} too")
    files = [(name, getattr(settings, name)) for name in FILES]
    for name, path in [*files, *(("trusted_keys", path) for path in settings.trusted_keys)]:
        if path is not None and not path.is_file():
            raise ConfigurationError(name, f"there is no file {path}", "name a file that exists")
    if settings.page_ttl_min > settings.page_ttl:
        raise ConfigurationError(
            "page_ttl_min", "it is greater than page_ttl", "set one that is not"
        )
    return settings
