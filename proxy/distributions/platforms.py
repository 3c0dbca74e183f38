"""Platform tags of wheels: the tags that such a platform accepts, and its environment markers.

Nothing depends on the machine that runs this, except ``this_platform``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from packaging.tags import mac_platforms, platform_tags

from proxy.errors import ConfigurationError

PLATFORM_OPTION = "--platform"

PLATFORM_ALIASES = {
    "linux": "manylinux_2_28_x86_64",
    "linux-x86_64": "manylinux_2_28_x86_64",
    "linux-aarch64": "manylinux_2_28_aarch64",
    "linux-arm64": "manylinux_2_28_aarch64",
    "musllinux": "musllinux_1_2_x86_64",
    "musllinux-x86_64": "musllinux_1_2_x86_64",
    "musllinux-aarch64": "musllinux_1_2_aarch64",
    "macos": "macosx_14_0_arm64",
    "macos-arm64": "macosx_14_0_arm64",
    "macos-x86_64": "macosx_14_0_x86_64",
    "windows": "win_amd64",
    "windows-x86_64": "win_amd64",
    "windows-amd64": "win_amd64",
    "windows-arm64": "win_arm64",
}
"""Short forms of the platforms that current releases of most projects are built for."""

_ALIASES = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_WINDOWS_MACHINES = {"win_amd64": "AMD64", "win_arm64": "ARM64", "win32": "x86"}
_PLATFORM_TAG = re.compile(
    r"(?P<family>manylinux|musllinux|macosx)_(?P<major>\d{1,2})_(?P<minor>\d{1,3})_(?P<arch>\w+)\Z"
    r"|(?P<alias>manylinux1|manylinux2010|manylinux2014)_(?P<of>\w+)\Z",
    re.ASCII,
)
_ARCHES = {
    "linux": ("x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64", "loongarch64"),
    "macosx": ("arm64", "x86_64"),
}
_OLDEST_GLIBC_MINOR = {"x86_64": 5, "i686": 5}
"""The second part of the oldest glibc 2.x that wheels name, where it is not 17 (PEP 600)."""


class Platform(msgspec.Struct, frozen=True):
    """A parsed platform tag (PEP 425, 600, 656); ``str`` is the tag."""

    family: str
    """``manylinux``, ``musllinux``, ``macosx`` or ``win``."""
    version: tuple[int, int]
    """The version of glibc, musl or macOS; without meaning for Windows."""
    arch: str

    def __str__(self) -> str:
        if self.family == "win":
            return self.arch
        return f"{self.family}_{self.version[0]}_{self.version[1]}_{self.arch}"

    def tags(self) -> list[str]:
        """The platform tags of wheels that such a machine accepts, best first."""
        if self.family == "win":
            return [self.arch]
        if self.family == "macosx":
            return list(mac_platforms(self.version, self.arch))
        linux = _glibc if self.family == "manylinux" else _musl
        return [*linux(self), f"linux_{self.arch}"]

    def markers(self) -> dict[str, str]:
        """The values of environment markers (PEP 508) that the platform decides."""
        if self.family == "win":
            os_name, system, sys_platform = "nt", "Windows", "win32"
        elif self.family == "macosx":
            os_name, system, sys_platform = "posix", "Darwin", "darwin"
        else:
            os_name, system, sys_platform = "posix", "Linux", "linux"
        return {
            "os_name": os_name,
            "sys_platform": sys_platform,
            "platform_system": system,
            "platform_machine": _WINDOWS_MACHINES.get(self.arch, self.arch),
            "platform_release": "",
            "platform_version": "",
        }


def parse_platform(text: str) -> Platform:
    """A tag or a short form such as ``linux``. Raises ``ConfigurationError``."""
    tag = PLATFORM_ALIASES.get(text.lower(), text.lower())
    if tag in _WINDOWS_MACHINES:
        return Platform("win", (0, 0), tag)
    found = _PLATFORM_TAG.match(tag)
    if found is None:
        raise _wrong(text, "not a platform")
    if found["alias"]:
        platform = Platform("manylinux", _ALIASES[found["alias"]], found["of"])
    else:
        version = int(found["major"]), int(found["minor"])
        platform = Platform(found["family"], version, found["arch"])
    if platform.arch not in _ARCHES["macosx" if platform.family == "macosx" else "linux"]:
        raise _wrong(text, f"{platform.arch} is not a known architecture")
    if not platform.tags() or not platform.tags()[0].startswith(platform.family):
        raise _wrong(text, "the version is too old: no wheels are built for it")
    return platform


def describe_platform(tag: str) -> str:
    """The tag with its meaning: ``win_amd64 (Windows on AMD64)``."""
    platform = parse_platform(tag)
    major, minor = platform.version
    systems = {
        "manylinux": f"Linux with glibc {major}.{minor} or newer",
        "musllinux": f"Linux with musl {major}.{minor} or newer",
        "macosx": f"macOS {major}.{minor} or newer",
    }
    arch = platform.markers()["platform_machine"]
    return f"{platform} ({systems.get(platform.family, 'Windows')} on {arch})"


def this_platform() -> Platform:
    """The platform of this machine. Raises ``ConfigurationError`` if wheels have no tag for it."""
    for tag in platform_tags():
        if tag in _WINDOWS_MACHINES or _PLATFORM_TAG.match(tag):
            return parse_platform(tag)
    raise _wrong("this machine", "wheels have no tag for its platform")


def _glibc(platform: Platform) -> Iterator[str]:
    major, newest = platform.version
    if major != 2:
        return
    alias = {minor: name for name, (_, minor) in _ALIASES.items()}
    for minor in range(newest, _OLDEST_GLIBC_MINOR.get(platform.arch, 17) - 1, -1):
        yield f"manylinux_2_{minor}_{platform.arch}"
        if minor in alias:
            yield f"{alias[minor]}_{platform.arch}"


def _musl(platform: Platform) -> Iterator[str]:
    major, newest = platform.version
    if major == 1:
        yield from (f"musllinux_1_{minor}_{platform.arch}" for minor in range(newest, -1, -1))


def _wrong(text: str, problem: str) -> ConfigurationError:
    remedy = "give a tag such as manylinux_2_28_x86_64, or one of " + ", ".join(
        f"{name} ({tag})" for name, tag in PLATFORM_ALIASES.items() if "-" not in name
    )
    return ConfigurationError(PLATFORM_OPTION, f"{text}: {problem}", remedy)
