"""Where settings come from: defaults, a TOML file, the environment, flags; the later wins."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from proxy.config.mistakes import mistakes, unknown
from proxy.config.settings import Settings
from proxy.errors import ConfigurationError, refuse

VARIABLE_PREFIX = "WAYSTATION_"
CONFIG_VARIABLE = VARIABLE_PREFIX + "CONFIG"
_KNOWN = {VARIABLE_PREFIX + name.upper(): name for name in Settings.model_fields}
_TABLES = ("indexes", "keep")
_PATHS = [name for name, each in Settings.model_fields.items() if "Path" in str(each.annotation)]
_PATH_ENDINGS = (".txt", ".in", ".toml", ".lock", ".json", ".jsonl", ".log")


@dataclass(frozen=True, slots=True)
class Loaded:
    settings: Settings
    origins: Mapping[str, str]
    """For each setting that is not at its default: where its value comes from, for people."""


def load(
    flags: Mapping[str, Any],
    config: Path | None = None,
    check: Callable[[Settings], object] = lambda settings: None,
) -> Loaded:
    """The settings in force. Raises ``ConfigurationError`` that names all keys and remedies.

    ``flags`` holds what the command line sets; None means not set. Without ``config``, the
    file that the variable ``WAYSTATION_CONFIG`` names is read, if it is set. ``check`` may raise
    ``ConfigurationError`` too; it gets settings without those that are wrong.
    """
    problems: list[ConfigurationError] = []
    config = config or (
        Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None
    )
    layers = [
        (str(config), _file(config, problems) if config else {}),
        ("environment", _environment(problems)),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    settings = _validated(values, origins, problems)
    problems += _inconsistent(settings, values)
    try:
        check(settings)
    except ConfigurationError as error:
        problems += error.parts
    refuse(problems)
    return Loaded(settings, origins)


def _validated(
    values: Mapping[str, Any], origins: Mapping[str, str], problems: list[ConfigurationError]
) -> Settings:
    """Settings of all values that are right; what is wrong of the others is added to problems."""
    try:
        return Settings(**values)
    except ValidationError as error:
        problems += mistakes(error, origins)
        wrong = {each["loc"][0] for each in error.errors()}
        return Settings(**{name: each for name, each in values.items() if name not in wrong})


def _file(path: Path, problems: list[ConfigurationError]) -> dict[str, Any]:
    """The settings in a TOML file; relative paths in it begin at its folder."""
    try:
        path = path.expanduser()
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except RuntimeError:
        problem = f"the home directory in {path} is not known"
        problems.append(ConfigurationError("config", problem, "name a file that exists"))
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
        problems.append(ConfigurationError("config", problem, "name a file that exists"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(ConfigurationError("config", f"{path} is not TOML: {error}"))
    else:
        known = {name: each for name, each in values.items() if name in Settings.model_fields}
        wrong = values.keys() - known.keys()
        problems += [unknown(name, Settings.model_fields, str(path)) for name in sorted(wrong)]
        return _rooted(known, path.parent)
    return {}


def _rooted(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Relative paths among the values as paths below the folder of their file."""
    rooted = dict(values)
    for name in _PATHS:
        if isinstance(value := values.get(name), str):
            value = value.replace(",", " ").split() if name == "trusted_keys" else value
        if isinstance(value, str | list):
            rooted[name] = _below(folder, value)
    tables = values.get("indexes")
    if isinstance(tables, dict):
        rooted["indexes"] = {name: _index_rooted(each, folder) for name, each in tables.items()}
    if isinstance(values.get("keep"), list):
        rooted["keep"] = [_keep_rooted(each, folder) for each in values["keep"]]
    return rooted


def _below(folder: Path, value: Any) -> Any:
    if isinstance(value, list):
        return [_below(folder, each) for each in value]
    return str(folder / value) if isinstance(value, str) and value[:1] != "~" else value


def _index_rooted(table: Any, folder: Path) -> Any:
    if isinstance(table, dict) and "path" in table:
        return table | {"path": _below(folder, table["path"])}
    return table


def _keep_rooted(table: Any, folder: Path) -> Any:
    """Sources are paths, requirements or names: what exists, or is written as a path, is one."""
    if not isinstance(table, dict) or not isinstance(table.get("sources"), list):
        return table
    sources = [
        _below(folder, each) if isinstance(each, str) and _is_path(folder, each) else each
        for each in table["sources"]
    ]
    return table | {"sources": sources}


def _is_path(folder: Path, source: str) -> bool:
    if source == "-" or "://" in source:
        return False
    return (
        source.startswith((".", "/"))
        or source.endswith(_PATH_ENDINGS)
        or (folder / source).exists()
    )


def _environment(problems: list[ConfigurationError]) -> dict[str, Any]:
    """The settings in variables, in capitals or not; an empty variable counts as not set."""
    values: dict[str, Any] = {}
    for variable in sorted(name for name in os.environ if name.upper().startswith(VARIABLE_PREFIX)):
        name = _KNOWN.get(variable.upper())
        if variable.upper() == CONFIG_VARIABLE or (name and not os.environ[variable]):
            continue
        if name is None:
            problems.append(unknown(variable, _KNOWN))
        elif name in values:
            problem = "it is set twice, in capitals and not"
            problems.append(ConfigurationError(variable, problem, "unset one of them"))
        else:
            try:
                values[name] = _decoded(variable, name)
            except ValueError as error:
                kind = "an object of objects" if name == "indexes" else "a list of objects"
                problem = f"it is not JSON: {error}"
                problems.append(ConfigurationError(variable, problem, f"give {kind}"))
    return values


def _decoded(variable: str, name: str) -> Any:
    """Tables are written as JSON in variables. Raises ``ValueError``."""
    text = os.environ[variable]
    return json.loads(text) if name in _TABLES else text


NEEDS = {
    "tls_certificate": "tls_key",
    "tls_key": "tls_certificate",
    "client_key": "client_certificate",
    "upstream_username": "upstream_password",
    "upstream_password": "upstream_username",
}
FILES = ("tls_certificate", "tls_key", "ca_bundle", "client_certificate", "client_key")


def _inconsistent(settings: Settings, given: Mapping[str, Any]) -> Iterator[ConfigurationError]:
    """What is wrong of settings together, and of files that they name."""
    for one, other in NEEDS.items():
        if getattr(settings, one) is not None and given.get(other) is None:
            yield ConfigurationError(one, f"it is set but {other} is not", f"set {other} too")
    files = [(name, getattr(settings, name)) for name in FILES]
    for name, path in [*files, *(("trusted_keys", path) for path in settings.trusted_keys)]:
        if path is not None and not path.is_file():
            yield ConfigurationError(name, f"there is no file {path}", "name a file that exists")
    if settings.page_ttl_min > settings.page_ttl:
        problem = f"{settings.page_ttl_min:g} is greater than page_ttl, {settings.page_ttl:g}"
        yield ConfigurationError("page_ttl_min", problem, "set one that is not")
