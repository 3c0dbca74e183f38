"""Load the settings from their sources: TOML file, environment, command line; the later wins."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import msgspec
from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, ForceDecode

from proxy.config.consistency import consistency_problems
from proxy.config.index_tables import INDEX_TABLES
from proxy.config.settings import VARIABLE_PREFIX, Settings
from proxy.errors import ConfigurationError, refuse

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

CONFIG_VARIABLE = VARIABLE_PREFIX + "CONFIG"
TOKEN_VARIABLE = VARIABLE_PREFIX + "TOKEN"
"""The token with which commands ask a running server; no setting."""
_PATH_SETTINGS = [
    name for name, field in Settings.model_fields.items() if "Path" in str(field.annotation)
]
_INDEX_PATHS = {
    name
    for table in INDEX_TABLES.values()
    for name, field in table.model_fields.items()
    if "Path" in str(field.annotation)
}
_TABLE_PATHS = {"audit": {"folder", "lines"}, "access": {"htpasswd", "tokens"}}
"""Settings that are one table each, and their keys that are paths."""
_PATH_ENDINGS = (".txt", ".in", ".toml", ".lock", ".json", ".jsonl", ".log")

Problems = list[ConfigurationError]


class LoadedSettings(msgspec.Struct, frozen=True):
    settings: Settings
    origins: Mapping[str, str]
    """For each setting that a source gives: the source, in words for people."""


def load_settings(
    flags: Mapping[str, Any],
    config: Path | None = None,
    check: Callable[[Settings], object] = lambda settings: None,
    text: str | None = None,
) -> LoadedSettings:
    """Merge all sources. Raises one ``ConfigurationError`` that lists every wrong setting.

    ``flags`` holds what the command line sets; None means not set. Without ``config``, the
    file that the variable ``WAYSTATION_CONFIG`` names is read, if that is set. ``check`` is called
    with the settings, without the wrong ones, and may raise ``ConfigurationError`` too. ``text``:
    that of the file, if it was read already.
    """
    problems: Problems = []
    config = config_file(config)
    sources = {
        str(config): _read_file(config, text, problems) if config else {},
        "environment": _read_environment(problems),
        "flag": {name: value for name, value in flags.items() if value is not None},
    }
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, given in sources.items():
        values |= given  # a table replaces the table of an earlier source: tables are not merged
        origins |= dict.fromkeys(given, origin)
    settings = _validate(values, origins, problems)
    problems += consistency_problems(settings, values)
    try:
        check(settings)
    except ConfigurationError as error:
        problems += error.parts
    refuse(problems)
    return LoadedSettings(settings, origins)


def config_file(config: Path | None) -> Path | None:
    """The settings file: the one of the command line, else that of the environment."""
    named = os.environ.get(CONFIG_VARIABLE)
    return config or (Path(named) if named else None)


def _validate(
    values: Mapping[str, Any], origins: Mapping[str, str], problems: Problems
) -> Settings:
    """Settings of the valid values. Adds the errors of the others to ``problems``."""
    try:
        return Settings(**values)
    except ValidationError as error:
        # Not at the start: it imports the models of all tables.
        from proxy.config.validation_errors import explain_errors

        problems += explain_errors(error, origins)
        wrong = {each["loc"][0] for each in error.errors()}
        return Settings(**{name: value for name, value in values.items() if name not in wrong})


def _read_file(path: Path, text: str | None, problems: Problems) -> dict[str, Any]:
    """The settings in a TOML file; relative paths in it are relative to its folder."""
    import tomllib  # most servers start without a file

    try:
        path = path.expanduser()
        values = tomllib.loads(path.read_text("utf-8") if text is None else text)
    except RuntimeError:
        problem = f"the home directory in {path} is not known"
        problems.append(ConfigurationError("config", problem, "name a file that exists"))
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
        problems.append(ConfigurationError("config", problem, "name a file that exists"))
    except ValueError as error:  # no TOML, or no UTF-8
        problems.append(ConfigurationError("config", f"{path} is not TOML: {error}"))
    else:
        known = {name: value for name, value in values.items() if name in Settings.model_fields}
        problems += [
            _unknown_setting(name, Settings.model_fields, str(path))
            for name in sorted(values.keys() - known.keys())
        ]
        return _resolve_paths(known, path.parent)
    return {}


def _unknown_setting(name: str, known: Iterable[str], origin: str = "") -> ConfigurationError:
    from proxy.config.validation_errors import unknown_setting

    return unknown_setting(name, known, origin)


def _resolve_paths(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Replace relative paths by paths below ``folder``. Values of wrong types stay as they are."""
    values = dict(values)
    for name in _PATH_SETTINGS:
        if isinstance(value := values.get(name), str):
            value = value.replace(",", " ").split() if name == "trusted_keys" else value
        if isinstance(value, str | list):
            values[name] = _below(folder, value)
    if isinstance(tables := values.get("indexes"), dict):
        values["indexes"] = {name: _index_table(each, folder) for name, each in tables.items()}
    if isinstance(table := values.get("advisories"), dict):
        values["advisories"] = _advisories_table(table, folder)
    for name, paths in _TABLE_PATHS.items():
        if isinstance(table := values.get(name), dict):
            below = {key: _below(folder, table[key]) for key in table.keys() & paths}
            values[name] = table | below
    if isinstance(table := values.get("access"), dict):
        values["access"] = table | _authorities(table, folder)
    if isinstance(tables := values.get("keep"), list):
        values["keep"] = [_keep_table(each, folder) for each in tables]
    return values


def _below(folder: Path, value: Any) -> Any:
    if isinstance(value, list):
        return [_below(folder, each) for each in value]
    return str(folder / value) if isinstance(value, str) and value[:1] != "~" else value


def _authorities(access: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The tables in ``[access]`` that name a file of certificates."""
    tables = {name: access.get(name) for name in ("certificates", "ldap")}
    return {
        name: table | {"ca": _below(folder, table["ca"])}
        for name, table in tables.items()
        if isinstance(table, dict) and "ca" in table
    }


def _index_table(table: Any, folder: Path) -> Any:
    if not isinstance(table, dict):
        return table
    paths = table.keys() & _INDEX_PATHS
    rules = {"rules": [_rule(each, folder) for each in _list(table.get("rules"))]}
    return (
        table
        | {name: _below(folder, table[name]) for name in paths}
        | (rules if rules["rules"] else {})
    )


def _rule(rule: Any, folder: Path) -> Any:
    target = rule.get("to") if isinstance(rule, dict) else None
    if not isinstance(target, dict) or "page" not in target:
        return rule
    return rule | {"to": target | {"page": _below(folder, target["page"])}}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _advisories_table(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    source = table.get("source")
    if isinstance(source, str) and "://" not in source:
        return table | {"source": _below(folder, source)}
    return table


def _keep_table(table: Any, folder: Path) -> Any:
    """Sources are paths, requirements or project names; only the paths are relative to a folder."""
    if not isinstance(table, dict) or not isinstance(table.get("sources"), list):
        return table
    sources = [
        _below(folder, each) if isinstance(each, str) and _is_path(folder, each) else each
        for each in table["sources"]
    ]
    return table | {"sources": sources}


def _is_path(folder: Path, source: str) -> bool:
    """Whether a source is written as a path, or exists in ``folder``."""
    if source == "-" or "://" in source:
        return False
    return (
        source.startswith((".", "/"))
        or source.endswith(_PATH_ENDINGS)
        or (folder / source).exists()
    )


class _Environment(EnvSettingsSource):
    """Collects all variables that are not JSON; the library raises for the first."""

    def __init__(self) -> None:
        super().__init__(Settings)
        self.problems: Problems = []

    def field_is_complex(self, field: FieldInfo) -> bool:
        """Also a table whose type is late, in which the library sees no model."""
        return ForceDecode in field.metadata or super().field_is_complex(field)

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError as error:
            kind = _NAMES_OF_TYPES.get(get_origin(field.annotation), "an object")
            variable = VARIABLE_PREFIX + field_name.upper()
            problem = f"it is not JSON: {error}"
            self.problems.append(ConfigurationError(variable, problem, f"give {kind}"))
            return None


_NAMES_OF_TYPES: Mapping[Any, str] = {dict: "an object of objects", list: "a list of objects"}


def _read_environment(problems: Problems) -> dict[str, Any]:
    """The settings in variables, in capitals or not; an empty variable counts as not set."""
    ours = sorted(name for name in os.environ if name.upper().startswith(VARIABLE_PREFIX))
    if not ours:
        return {}
    known = {VARIABLE_PREFIX + name.upper() for name in Settings.model_fields}
    problems += [
        _unknown_setting(name, known)
        for name in ours
        if name.upper() not in known | {CONFIG_VARIABLE, TOKEN_VARIABLE}
    ]
    times_set = Counter(name.upper() for name in ours if os.environ[name])
    problems += [
        ConfigurationError(name, "it is set twice, in capitals and not", "unset one of them")
        for name in known
        if times_set[name] > 1
    ]
    environment = _Environment()
    values = environment()
    problems += environment.problems
    return values
