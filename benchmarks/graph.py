"""The set that installs ask for: real wheels with dependencies, in many versions, made at random
from a fixed seed. An install of 32 names needs about 90 projects."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.distributions import core_metadata, make_wheel, spelled

ROOTS = 32
LAYERS = (20, 16, 12, 8, 2)
SPARE_ROOTS = 2
"""More names that can be asked for: a set that shares all but these is a similar one."""
SIZES = (9_000, 14_000, 30_000, 60_000, 120_000, 250_000, 500_000, 1_200_000, 3_000_000, 8_000_000)
SHARES = (14, 18, 20, 16, 12, 8, 5, 4, 2, 1)
"""How many in a hundred projects have a newest wheel of that size in bytes."""
CAPPED, PINNED, BINARY, NARROW = 7, 15, 6, 11
"""Every such project is asked for below 2, or in one old version, has wheels for platforms, or
a newest version for a Python that does not exist."""


@dataclass(slots=True)
class Project:
    name: str
    number: int
    size: int
    requires: list[str] = field(default_factory=list)

    @property
    def specifier(self) -> str:
        """The specifier that all dependents use, so that the set can be resolved."""
        if self.number % CAPPED == 0:
            return "<2"
        if self.number % PINNED == 1:
            return "==1.3"
        return ">=1.1" if self.number % 3 else ""


def roots(similar: bool = False) -> list[str]:
    """The names to install; ``similar``: two of them differ."""
    first = SPARE_ROOTS if similar else 0
    return [f"root-{number:02}" for number in range(first, first + ROOTS)]


def build(folder: Path, versions: int = 12) -> None:
    """Write all wheels of all projects."""
    for project in projects():
        for wheel in _wheels(project, versions):
            make_wheel(folder, **wheel)  # type: ignore[arg-type]


def projects() -> list[Project]:
    chance = random.Random(90)
    layers = [[f"root-{number:02}" for number in range(ROOTS + SPARE_ROOTS)]]
    layers += [[f"lib-{depth}-{i:02}" for i in range(n)] for depth, n in enumerate(LAYERS, 1)]
    made: dict[str, Project] = {}
    for layer in layers:
        for name in layer:
            size = chance.choices(SIZES, SHARES)[0]
            made[name] = Project(name, len(made), size)
    for upper, lower in itertools.pairwise(layers):
        shared = upper[SPARE_ROOTS : SPARE_ROOTS + 30]  # these are in the similar set too
        for i, name in enumerate(lower):
            _require(made[shared[i % len(shared)]], made[name])
    libraries = [name for layer in layers[1:] for name in layer]
    for depth, layer in enumerate(layers[:-1]):
        below = [name for deeper in layers[depth + 1 :] for name in deeper] or libraries
        for name in layer:
            for other in chance.sample(below, min(2, len(below))):
                _require(made[name], made[other])
    return list(made.values())


def _require(project: Project, other: Project) -> None:
    requirement = f"{other.name}{other.specifier}"
    if requirement not in project.requires:
        project.requires.append(requirement)


def _wheels(project: Project, versions: int) -> Iterator[dict[str, object]]:
    unusable = ['nowhere-1; sys_platform == "win32"', 'nowhere-2; extra == "docs"']
    unusable += ['nowhere-3>=2; python_version < "3.8"']
    requires = project.requires + unusable
    for number in range(versions):
        version = f"{1 + number * 3 // versions}.{number % (versions // 3 or 1)}"
        old = version != _newest(versions)
        needs = ">=9.0" if not old and project.number % NARROW == 0 else ">=3.8"
        yield from _builds(project, version, requires, needs, 2_000 if old else project.size)
    yield from _builds(project, f"{4}.0rc1", requires, ">=3.8", 2_000)


def _newest(versions: int) -> str:
    return f"3.{(versions - 1) % (versions // 3 or 1)}"


def _builds(
    project: Project, version: str, requires: list[str], requires_python: str, size: int
) -> Iterator[dict[str, object]]:
    stem = f"{spelled(project.name)}-{version}.dist-info/METADATA"
    text = core_metadata(project.name, version, requires, requires_python)
    text += b"\n" + b"A description of some length, as they all have.\n" * (40 + project.number)
    for tag in _tags() if project.number % BINARY == 0 else ["py3-none-any"]:
        yield {
            "name": project.name,
            "version": version,
            "tag": tag,
            "files": {stem: text},
            "padding": size,
        }


def _tags() -> list[str]:
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platforms = ("manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "macosx_11_0_arm64")
    return [f"{python}-{python}-{each}" for python in ("cp39", own) for each in platforms]
