"""What a client says of itself in its User-Agent: the Python and the platform it installs for.

pip and uv add a JSON object to their name; of other tools nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from proxy.distributions import Target, parse_targets
from proxy.errors import ConfigurationError

MAX_USER_AGENT = 4096
"""Bytes of a User-Agent that is looked at."""
NEWEST_PYTHON = 40
"""The minor version."""
_HEAD = re.compile(r"(?:pip|uv)/\S+ +(?=\{)")
_VERSION = re.compile(r"\d{1,2}\.\d{1,3}(?:\.\d{1,3})?", re.ASCII)
_WINDOWS = {"AMD64": "win_amd64", "x86_64": "win_amd64", "ARM64": "win_arm64", "x86": "win32"}
_NEWEST = {"manylinux": (2, 80), "musllinux": (1, 30), "macosx": (40, 0)}
"""Versions beyond these are made up, to have long lists of tags made."""
_RESOLVES_ONLY = frozenset({"compile", "lock", "tree", "export"})
"""Subcommands of uv that read metadata and leave the wheels."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who installs; equal for all clients of one kind."""

    target: Target
    markers: Mapping[str, str]
    """The values of environment markers (PEP 508)."""
    installs: bool = True
    """False if it only resolves: then it asks for no wheels."""

    def __hash__(self) -> int:
        return hash((self.target, self.installs))


@lru_cache(maxsize=256)
def read_user_agent(text: str) -> Client | None:
    """None if it does not tell, or tells of what no wheels are chosen for here."""
    head = _HEAD.match(text) if len(text) <= MAX_USER_AGENT else None
    if head is None:
        return None
    try:
        told = msgspec.json.decode(text[head.end() :].encode(), type=_Told)
        if told.implementation.name != "CPython":
            return None
        (target,) = parse_targets([_python(told.python)], [_platform(told)])
    except (msgspec.MsgspecError, ConfigurationError, ValueError):
        return None
    markers = target.environment() | {"platform_release": told.system.release or ""}
    return Client(target, markers, _RESOLVES_ONLY.isdisjoint(told.installer.subcommand))


class _Named(msgspec.Struct, frozen=True):
    name: str | None = None
    version: str | None = None
    lib: str | None = None
    release: str | None = None
    subcommand: list[str] = []


class _Distro(msgspec.Struct, frozen=True):
    version: str | None = None
    libc: _Named = _Named()


class _Told(msgspec.Struct, frozen=True):
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
    """The numbers a version begins with."""
    found = _VERSION.match(text)
    if found is None:
        raise ValueError("not a version")
    return found[0]


def _platform(told: _Told) -> str:
    """The platform tag. Raises ``ValueError`` where none can be made."""
    distro = told.distro or _Distro()
    if told.system.name == "Windows":
        return _WINDOWS.get(told.cpu, "")
    if told.system.name == "Darwin":
        family, version = "macosx", _version(distro.version or "")
    elif distro.libc.lib == "glibc":
        family, version = "manylinux", _version(distro.libc.version or "")
    else:  # pip names no other C library than glibc
        family, version = "musllinux", _version(distro.libc.version or "1.2")
    major, minor, *_ = map(int, version.split("."))
    if (major, minor) > _NEWEST[family]:
        raise ValueError("not a version")
    return f"{family}_{major}_{minor}_{told.cpu}"
