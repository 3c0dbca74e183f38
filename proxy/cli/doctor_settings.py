"""Where pip, uv and Poetry on this machine read their settings, the strongest of each tool first.

The order is that of the tools: a variable before a file, a project before a user before a system,
and for pip a section of one command before ``[global]``.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_PIP_NAMES = (
    *("index-url", "extra-index-url", "find-links", "trusted-host", "cert", "proxy", "no-index"),
    "keyring-provider",
)
_UV_VARIABLES = {
    "UV_DEFAULT_INDEX": "default-index",
    "UV_INDEX_URL": "default-index",
    "UV_INDEX": "index",
    "UV_EXTRA_INDEX_URL": "index",
    "UV_FIND_LINKS": "find-links",
    "UV_INDEX_STRATEGY": "index-strategy",
    "UV_KEYRING_PROVIDER": "keyring-provider",
    "SSL_CERT_FILE": "certificates",
    "UV_SYSTEM_CERTS": "certificates",
    "UV_NATIVE_TLS": "certificates",
}
_SEVERAL = ("extra-index-url", "find-links", "index", "trusted-host")
"""Settings with values between spaces."""


class Setting(NamedTuple):
    tool: str
    name: str
    """As the tool calls it: ``index-url``, ``extra-index-url`` …"""
    value: str
    source: str
    """A file or a variable."""

    @property
    def is_index(self) -> bool:
        """Whether it replaces PyPI."""
        return self.name in ("index-url", "default-index", "source")


@dataclass(frozen=True)
class Machine:
    """The places that are read; a parameter, so that a test can give another home."""

    home: Path
    cwd: Path
    environ: Mapping[str, str]
    system: Path = Path("/etc")

    @classmethod
    def this(cls) -> Machine:
        return cls(Path.home(), Path.cwd(), os.environ)

    def has(self, tool: str) -> bool:
        """Whether the tool is installed here. pip may be so as a module only, so it always is."""
        return tool == "pip" or bool(self.program(tool.lower()))

    def program(self, name: str) -> str:
        """Its path; empty: there is none."""
        return shutil.which(name, path=self.environ.get("PATH")) or ""

    @property
    def config(self) -> Path:
        return Path(self.environ.get("XDG_CONFIG_HOME") or self.home / ".config")


def find_settings(machine: Machine) -> list[Setting]:
    """All settings of indexes, the strongest of each tool first."""
    return [*_pip(machine), *_uv(machine), *_poetry(machine)]


def _pip(machine: Machine) -> Iterator[Setting]:
    for name in _PIP_NAMES:
        variable = f"PIP_{name.upper().replace('-', '_')}"
        if value := machine.environ.get(variable):
            yield from _each("pip", name, value, variable)
    found = [each for path in _pip_files(machine) for each in _pip_file(path)]
    yield from (setting for section, setting in found if section != "global")
    yield from (setting for section, setting in found if section == "global")


def _pip_files(machine: Machine) -> Iterator[Path]:
    """With ``PIP_CONFIG_FILE`` the files of the user are not read."""
    given = machine.environ.get("PIP_CONFIG_FILE")
    if given == os.devnull:
        return
    if given:
        yield Path(given)
    if prefix := machine.environ.get("VIRTUAL_ENV"):
        yield Path(prefix) / "pip.conf"
    if not given or not Path(given).is_file():
        yield machine.home / "Library/Application Support/pip/pip.conf"
        yield machine.config / "pip/pip.conf"
        yield machine.home / ".pip/pip.conf"
    yield machine.system / "pip.conf"
    yield machine.system / "xdg/pip/pip.conf"


def _pip_file(path: Path) -> Iterator[tuple[str, Setting]]:
    """Sections and settings."""
    parser = configparser.RawConfigParser()
    with suppress(OSError, configparser.Error, UnicodeDecodeError):
        parser.read(path)
    for section in parser.sections():
        for key, value in parser.items(section):
            name = key.replace("_", "-")
            if name in _PIP_NAMES and value:
                for setting in _each("pip", name, value, f"{path}, [{section}]"):
                    yield section, setting


def _uv(machine: Machine) -> Iterator[Setting]:
    for variable, name in _UV_VARIABLES.items():
        if value := machine.environ.get(variable):
            yield from _each("uv", name, value, variable)
    for path, table in _uv_files(machine):
        yield from _uv_table(_dig(table, "pip"), f"{path}, [pip]")
        yield from _uv_table(table, str(path))


def _uv_files(machine: Machine) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Files with their tables of uv: of the project, the user and the system."""
    if machine.environ.get("UV_NO_CONFIG"):
        return
    if given := machine.environ.get("UV_CONFIG_FILE"):
        yield Path(given), _toml(Path(given))
        return
    for folder in (machine.cwd, *machine.cwd.parents):
        own, project = folder / "uv.toml", folder / "pyproject.toml"
        if own.is_file():
            yield own, _toml(own)
            break
        if table := _dig(_toml(project), "tool", "uv"):
            yield project, table
            break
    for folder in (machine.config, machine.system / "xdg", machine.system):
        yield folder / "uv/uv.toml", _toml(folder / "uv/uv.toml")


def _uv_table(table: Mapping[str, Any], source: str) -> Iterator[Setting]:
    for each in _tables(table.get("index")):
        pinned = "explicit index" if each.get("explicit") else "index"
        name = "default-index" if each.get("default") else pinned
        yield Setting("uv", name, str(each["url"]), source)
    names = {"index-url": "default-index", "extra-index-url": "index", "find-links": "find-links"}
    for key, name in names.items():
        value = table.get(key, [])
        for each in value if isinstance(value, list) else [value]:
            yield Setting("uv", name, str(each), source)
    for name in ("index-strategy", "keyring-provider"):
        if value := table.get(name):
            yield Setting("uv", name, str(value), source)


def _poetry(machine: Machine) -> Iterator[Setting]:
    for folder in (machine.cwd, *machine.cwd.parents):
        path = folder / "pyproject.toml"
        if path.is_file():  # the nearest is the project, with sources or without
            for each in _tables(_dig(_toml(path), "tool", "poetry").get("source")):
                priority = str(each.get("priority", "primary")).lower()
                name = "source" if priority in ("primary", "default") else f"{priority} source"
                yield Setting("Poetry", name, str(each["url"]), str(path))
            break
    folder = Path(machine.environ.get("POETRY_CONFIG_DIR") or machine.config / "pypoetry")
    for name in ("config.toml", "auth.toml"):
        for source, table in _dig(_toml(folder / name), "certificates").items():
            if isinstance(table, dict) and isinstance(value := table.get("cert"), str):
                yield Setting("Poetry", "cert", value, f"{folder / name}, certificates.{source}")


def _each(tool: str, name: str, value: str, source: str) -> Iterator[Setting]:
    for part in re.split(r"\s+", value.strip()) if name in _SEVERAL else [value.strip()]:
        url = part.partition("=")[2] if name == "index" and "=" in part.split("://")[0] else part
        yield Setting(tool, name, url, source)


def _tables(value: object) -> list[Mapping[str, Any]]:
    """The tables with an address in an array of tables, whatever else a file has there."""
    found = value if isinstance(value, list) else []
    return [each for each in found if isinstance(each, dict) and "url" in each]


def _toml(path: Path) -> Mapping[str, Any]:
    with suppress(OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return tomllib.loads(path.read_text(encoding="utf-8"))
    return {}


def _dig(table: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        found = table.get(key, {})
        table = found if isinstance(found, dict) else {}
    return table
