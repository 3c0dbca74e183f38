"""The Python version and platform that a client installs for, as its User-Agent names them.

pip and uv send a JSON object after their name; other tools send nothing of use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from proxy.distributions import Target, parse_targets
from proxy.errors import ConfigurationError

MAX_USER_AGENT = 4096
"""Bytes of the longest User-Agent that is read."""
NEWEST_PYTHON = 40
"""The minor version of the newest Python that is believed."""
_INSTALLER_PRODUCT = re.compile(r"(?:pip|uv)/\S+ +(?=\{)")
_PYTHON_VERSION = re.compile(r"\d{1,2}\.\d{1,3}(?:\.\d{1,3})?", re.ASCII)
_WINDOWS_TAGS = {"AMD64": "win_amd64", "x86_64": "win_amd64", "ARM64": "win_arm64", "x86": "win32"}
_NEWEST = {"manylinux": (2, 80), "musllinux": (1, 30), "macosx": (40, 0)}
"""Newer versions are not believed: they would produce long lists of tags."""
_RESOLVES_ONLY = frozenset({"compile", "lock", "tree", "export"})
"""Subcommands of uv that fetch metadata but no wheels."""


class Client(msgspec.Struct, frozen=True):
    """The environment that a client installs for; equal for all clients of one kind."""

    target: Target
    markers: Mapping[str, str]
    """The values of environment markers (PEP 508)."""
    installs: bool = True
    """False if it only resolves: then it requests no wheels."""

    def __hash__(self) -> int:
        return hash((self.target, self.installs))


@lru_cache(maxsize=256)
def read_user_agent(text: str) -> Client | None:
    """None for other tools, and for interpreters and platforms for which wheels are not chosen."""
    head = _INSTALLER_PRODUCT.match(text) if len(text) <= MAX_USER_AGENT else None
    if head is None:
        return None
    try:
        data = msgspec.json.decode(text[head.end() :].encode(), type=_UserAgentData)
        if data.implementation.name != "CPython":
            return None
        (target,) = parse_targets([_python(data.python)], [_platform(data)])
    except (msgspec.MsgspecError, ConfigurationError, ValueError, RecursionError):
        return None
    markers = target.environment() | {"platform_release": data.system.release or ""}
    return Client(target, markers, _RESOLVES_ONLY.isdisjoint(data.installer.subcommand))


class _Named(msgspec.Struct, frozen=True):
    name: str | None = None
    version: str | None = None
    lib: str | None = None
    release: str | None = None
    subcommand: list[str] = []


class _Distro(msgspec.Struct, frozen=True):
    version: str | None = None
    libc: _Named = _Named()


class _UserAgentData(msgspec.Struct, frozen=True):
    python: str
    cpu: str
    implementation: _Named
    system: _Named
    installer: _Named = _Named()
    distro: _Distro | None = None


def _python(text: str) -> str:
    version = _version(text)
    if int(version.split(".")[1]) > NEWEST_PYTHON:
        raise ValueError("not a version")
    return version


def _version(text: str) -> str:
    """The leading numbers of a version."""
    found = _PYTHON_VERSION.match(text)
    if found is None:
        raise ValueError("not a version")
    return found[0]


def _platform(data: _UserAgentData) -> str:
    """The platform tag. Raises ``ValueError`` if the data name no known platform."""
    distro = data.distro or _Distro()
    if data.system.name == "Windows":
        return _WINDOWS_TAGS.get(data.cpu, "")
    if data.system.name == "Darwin":
        family, version = "macosx", _version(distro.version or "")
    elif distro.libc.lib == "glibc":
        family, version = "manylinux", _version(distro.libc.version or "")
    else:  # pip names no other C library than glibc
        family, version = "musllinux", _version(distro.libc.version or "1.2")
    major, minor, *_ = map(int, version.split("."))
    if (major, minor) > _NEWEST[family]:
        raise ValueError("not a version")
    return f"{family}_{major}_{minor}_{data.cpu}"
