"""Targets: the Python versions and platforms that files are gathered for. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from sys import version_info
from typing import TYPE_CHECKING

import msgspec
from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag

from proxy import late_pattern
from proxy.distributions.platforms import PLATFORM_OPTION, Platform, parse_platform, this_platform
from proxy.errors import ConfigurationError

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.specifiers import SpecifierSet

_PYTHON_VERSION = re.compile(r"3\.(\d{1,2})(?:\.(\d{1,2}))?\Z", re.ASCII)
_LATEST_PATCH = 99
_UNKNOWN_VARIABLES = r"(?:extras?|dependency_groups|platform_release|platform_version)"
_OPERATOR = r"(?:[=~!]=|===|<=?|>=?|(?:not )?in)"
_DEPENDS = late_pattern(
    rf'"[^"]*" {_OPERATOR} {_UNKNOWN_VARIABLES}\b|\b{_UNKNOWN_VARIABLES} {_OPERATOR} "[^"]*"'
)
_ALWAYS = 'python_version >= "3"'

_UV_GLIBC = (17, 28, *range(31, 41))
"""The glibc 2.x that uv knows by name for x86_64 and aarch64."""


class Target(msgspec.Struct, frozen=True):
    """CPython of one minor version on one platform."""

    python: str
    """``3.12``, or ``3.12.4`` if the patch version matters to markers."""
    platform: str
    """A platform tag, ``manylinux_2_28_x86_64``."""

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform}"

    def tags(self) -> tuple[Tag, ...]:
        """The tags of wheels that can be installed there, best first."""
        return _tags(self)

    def fits(self, filename: str) -> bool:
        """Whether the wheel of that name can be installed there."""
        try:
            tags = parse_tag("-".join(filename.removesuffix(".whl").split("-")[-3:]))
        except ValueError:
            return False
        return not tags.isdisjoint(_tag_set(self))

    def environment(self) -> dict[str, str]:
        """The values of environment markers (PEP 508), for a resolver.

        An unknown patch version is 0; release and version of the operating system are empty.
        """
        return _environment(self, 0)

    def admits(self, marker: Marker | None) -> bool:
        """Whether a requirement with this marker may be needed, with any extras and groups.

        True also if it depends on the patch version, on an extra or a dependency group, or on
        values of the machine that are unknown.
        """
        return marker is None or _admits(self, str(marker))

    def meets(self, pythons: SpecifierSet) -> bool:
        """Whether any patch version of the Python satisfies the set (``requires-python``)."""
        patches = (_environment(self, patch)["python_full_version"] for patch in (0, _LATEST_PATCH))
        return any(pythons.contains(version, prereleases=True) for version in patches)

    def uv_arguments(self) -> list[str]:
        """Arguments of ``uv pip compile`` for this target.

        Raises ``ConfigurationError`` for a platform that uv cannot resolve for on this machine.
        """
        arguments = ["--python-version", self.python]
        if self.platform == str(this_platform()):
            return arguments
        return [*arguments, "--python-platform", _uv_platform(parse_platform(self.platform))]

    def uv_environment(self) -> dict[str, str]:
        """Environment variables that uv needs in addition to ``uv_arguments``."""
        platform = parse_platform(self.platform)
        if platform.family != "macosx":
            return {}
        return {"MACOSX_DEPLOYMENT_TARGET": ".".join(map(str, platform.version))}


def parse_targets(pythons: Iterable[str] = (), platforms: Iterable[str] = ()) -> tuple[Target, ...]:
    """Every Python on every platform; if none is named, those of this machine.

    Raises ``ConfigurationError`` with the key ``--python`` or ``--platform``.
    """
    versions = [_python(text) for text in pythons] or [f"3.{version_info.minor}"]
    tags = [str(parse_platform(text)) for text in platforms] or [str(this_platform())]
    return tuple(dict.fromkeys(Target(*pair) for pair in product(versions, tags)))


def _python(text: str) -> str:
    if not _PYTHON_VERSION.match(text):
        raise ConfigurationError(
            "--python", f"{text}: not a version of CPython 3", "give one such as 3.12"
        )
    return text


def _minor(target: Target) -> tuple[int, int]:
    return 3, int(target.python.split(".")[1])


@lru_cache(maxsize=64)
def _tags(target: Target) -> tuple[Tag, ...]:
    version = _minor(target)
    interpreter = f"cp3{version[1]}"
    # With an ABI, or packaging would use flags of the running Python.
    abi = interpreter + ("m" if version < (3, 8) else "")
    platforms = parse_platform(target.platform).tags()
    return (
        *cpython_tags(version, [abi], platforms),
        *compatible_tags(version, interpreter, platforms),
    )


@lru_cache(maxsize=64)
def _tag_set(target: Target) -> frozenset[Tag]:
    return frozenset(_tags(target))


def _environment(target: Target, patch: int) -> dict[str, str]:
    full = target.python if target.python.count(".") == 2 else f"{target.python}.{patch}"
    return {
        "implementation_name": "cpython",
        "implementation_version": full,
        "platform_python_implementation": "CPython",
        "python_full_version": full,
        "python_version": f"3.{_minor(target)[1]}",
        **parse_platform(target.platform).markers(),
    }


@lru_cache(maxsize=16384)
def _admits(target: Target, marker: str) -> bool:
    from packaging.markers import Marker

    try:
        # Markers have "and" and "or" but no "not": replacing parts by true ones never makes a
        # marker false, so nothing is left out that any machine and choice of extras needs.
        widened = Marker(_DEPENDS.sub(_ALWAYS, marker))
        return any(widened.evaluate(_environment(target, patch)) for patch in (0, _LATEST_PATCH))
    except (ValueError, KeyError, RecursionError):
        # Undefined comparisons, and numbers with more digits than Python reads.
        return True


def _uv_platform(platform: Platform) -> str:
    system = {
        "win_amd64": "x86_64-pc-windows-msvc",
        "win_arm64": "aarch64-pc-windows-msvc",
        "win32": "i686-pc-windows-msvc",
        "arm64": "aarch64-apple-darwin",
    }.get(platform.arch)
    if system:
        return system
    if platform.family == "macosx":
        return "x86_64-apple-darwin"
    if platform.arch in ("x86_64", "aarch64"):
        if platform.family == "musllinux":
            return f"{platform.arch}-unknown-linux-musl"
        known = [minor for minor in _UV_GLIBC if minor <= platform.version[1]]
        if known:
            return f"{platform.arch}-manylinux_2_{known[-1]}"
    raise ConfigurationError(
        PLATFORM_OPTION,
        f"uv cannot resolve for {platform} on another machine",
        "use a lock file that covers it as the source",
    )
