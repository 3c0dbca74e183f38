"""The settings of installers on this machine: where they are, and what is wrong with them."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from proxy.simple import is_loopback

_TRUE = ("1", "true", "yes", "on")


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


class SetupFinding(NamedTuple):
    weight: str
    """ok, note or wrong."""
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Machine:
    """What is looked at, so that a test can give another home."""

    home: Path
    cwd: Path
    environ: Mapping[str, str]
    system: Path = Path("/etc")

    @classmethod
    def this(cls) -> Machine:
        return cls(Path.home(), Path.cwd(), os.environ)

    def has(self, tool: str) -> bool:
        """Whether the tool is installed here. pip may be so as a module only, so it always is."""
        found = shutil.which(tool.lower(), path=self.environ.get("PATH"))
        return tool == "pip" or found is not None

    @property
    def config(self) -> Path:
        return Path(self.environ.get("XDG_CONFIG_HOME") or self.home / ".config")


def find_settings(machine: Machine) -> list[Setting]:
    """All settings of indexes, the strongest of each tool first."""
    return [*_pip(machine), *_uv(machine), *_poetry(machine)]


def _pip(machine: Machine) -> Iterator[Setting]:
    names = ("index-url", "extra-index-url", "trusted-host", "cert", "proxy", "no-index")
    for name in names:
        variable = f"PIP_{name.upper().replace('-', '_')}"
        if value := machine.environ.get(variable):
            yield from _each("pip", name, value, variable)
    given = machine.environ.get("PIP_CONFIG_FILE")
    files = [Path(given)] if given and given != os.devnull else []
    if prefix := machine.environ.get("VIRTUAL_ENV"):
        files.append(Path(prefix) / "pip.conf")
    files += [machine.config / "pip/pip.conf", machine.home / ".pip/pip.conf"]
    files.append(machine.system / "pip.conf")
    for path in files if given != os.devnull else []:
        parser = configparser.RawConfigParser()
        with suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read(path)
        for section in parser.sections():
            for key, value in parser.items(section):
                name = key.replace("_", "-")
                if name in names and value:
                    yield from _each("pip", name, value, f"{path}, [{section}]")


def _uv(machine: Machine) -> Iterator[Setting]:
    variables = {
        "UV_DEFAULT_INDEX": "default-index",
        "UV_INDEX_URL": "default-index",
        "UV_INDEX": "index",
        "UV_EXTRA_INDEX_URL": "index",
        "UV_INDEX_STRATEGY": "index-strategy",
        "SSL_CERT_FILE": "certificates",
        "UV_SYSTEM_CERTS": "certificates",
        "UV_NATIVE_TLS": "certificates",
    }
    for variable, name in variables.items():
        if value := machine.environ.get(variable):
            yield from _each("uv", name, value, variable)
    files = [*_upwards(machine.cwd, "uv.toml"), machine.config / "uv/uv.toml"]
    for path in (*files, machine.system / "uv/uv.toml"):
        yield from _uv_table(_toml(path), path)
    for path in _upwards(machine.cwd, "pyproject.toml"):
        yield from _uv_table(_dig(_toml(path), "tool", "uv"), path)


def _uv_table(table: Mapping[str, Any], path: Path) -> Iterator[Setting]:
    if value := table.get("index-url"):
        yield Setting("uv", "default-index", str(value), str(path))
    for value in table.get("extra-index-url", ()):
        yield Setting("uv", "index", str(value), str(path))
    for each in table.get("index", ()):
        if isinstance(each, dict) and "url" in each:
            pinned = "explicit index" if each.get("explicit") else "index"
            name = "default-index" if each.get("default") else pinned
            yield Setting("uv", name, str(each["url"]), str(path))
    if value := table.get("index-strategy"):
        yield Setting("uv", "index-strategy", str(value), str(path))


def _poetry(machine: Machine) -> Iterator[Setting]:
    for path in _upwards(machine.cwd, "pyproject.toml"):
        sources = _dig(_toml(path), "tool", "poetry").get("source", [])
        for each in sources if isinstance(sources, list) else []:
            if isinstance(each, dict) and "url" in each:
                priority = str(each.get("priority", "primary"))
                name = "source" if priority == "primary" else f"{priority} source"
                yield Setting("Poetry", name, str(each["url"]), str(path))


def judge(
    tool: str, settings: Sequence[Setting], wanted: str | None, machine: Machine
) -> Iterator[SetupFinding]:
    """What is wrong with the settings of one tool."""
    indexes = [each for each in settings if each.is_index]
    extra = [each for each in settings if each.name in ("extra-index-url", "index")]
    extra += [each for each in settings if each.name == "supplemental source"]
    main = indexes[0] if indexes else None
    if wanted and main is None:
        yield SetupFinding("wrong", f"{tool} asks PyPI, not {wanted}", _how_to_set(tool, wanted))
    elif wanted and main and main.value.rstrip("/") != wanted.rstrip("/"):
        text = f"{tool} asks {main.value} ({main.source}), not {wanted}"
        yield SetupFinding("wrong", text, _how_to_set(tool, wanted))
    elif main:
        yield SetupFinding("ok", f"{tool} asks {main.value}")
    for other in indexes[1:]:
        if main and other.value != main.value:
            text = f"{tool}: {other.source} names {other.value}, which {main.source} overrides"
            yield SetupFinding("note", text)
    for each in extra:
        yield SetupFinding(
            "wrong",
            f"{tool} has a further index, {each.value} ({each.source}): a public project can"
            " replace a private one of the same name",
            f"remove {each.name} from {each.source}; one address serves both",
        )
    yield from _trust(tool, main, settings)
    if tool == "pip" and machine.environ.get("PIP_NO_INDEX", "").lower() in _TRUE:
        yield SetupFinding("note", "PIP_NO_INDEX is set: pip asks no index at all")


def _trust(tool: str, main: Setting | None, settings: Sequence[Setting]) -> Iterator[SetupFinding]:
    """Plain HTTP, and certificates that are not there."""
    trusted = {each.value for each in settings if each.name == "trusted-host"}
    parts = urlsplit(main.value) if main else None
    if tool == "pip" and main and parts and parts.scheme == "http":
        host = parts.hostname or ""
        if not is_loopback(host) and not trusted & {host, parts.netloc}:
            yield SetupFinding(
                "wrong",
                f"pip refuses {main.value}: it is plain HTTP, and {host} is no trusted host",
                f"pip config set global.trusted-host {host}",
            )
    for each in settings:
        is_file = each.name == "cert" or each.source == "SSL_CERT_FILE"
        if is_file and not Path(each.value).expanduser().is_file():
            text = f"{tool}: the certificates {each.value} ({each.source}) are not there"
            yield SetupFinding("wrong", text, "name an existing PEM file, or unset it")


def _how_to_set(tool: str, wanted: str) -> str:
    return {
        "pip": f"pip config set global.index-url {wanted}",
        "uv": f"export UV_DEFAULT_INDEX={wanted}",
        "Poetry": f"poetry source add --priority=primary waystation {wanted}",
    }[tool]


def keyrings(machine: Machine) -> str:
    """The program that gives pip and uv passwords, if there is one."""
    return shutil.which("keyring", path=machine.environ.get("PATH")) or ""


def netrc_of(machine: Machine) -> Path | None:
    path = Path(machine.environ.get("NETRC") or machine.home / ".netrc")
    return path if path.is_file() else None


def _each(tool: str, name: str, value: str, source: str) -> Iterator[Setting]:
    several = name in ("extra-index-url", "index", "trusted-host")
    for part in re.split(r"\s+", value.strip()) if several else [value.strip()]:
        url = part.partition("=")[2] if name == "index" and "=" in part.split("://")[0] else part
        yield Setting(tool, name, url, source)


def _upwards(folder: Path, name: str) -> list[Path]:
    """The nearest file of that name, in the folder or one above."""
    found = [each / name for each in (folder, *folder.parents) if (each / name).is_file()]
    return found[:1]


def _toml(path: Path) -> Mapping[str, Any]:
    with suppress(OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return tomllib.loads(path.read_text(encoding="utf-8"))
    return {}


def _dig(table: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        found = table.get(key, {})
        table = found if isinstance(found, dict) else {}
    return table
