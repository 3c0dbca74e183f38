"""Reads the requirements to build and run a project: ``pyproject.toml`` (PEP 518, 621, 735)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, field
from packaging.dependency_groups import DependencyGroupInclude, DependencyGroupResolver
from packaging.requirements import Requirement

from proxy.model import normalize
from proxy.requirements.model import (
    ResolverInput,
    SkippedRequirement,
    SourceRequirements,
    merge_requirements,
)
from proxy.requirements.sources.document import SourceDocument

Wish = Requirement | str
"""A requirement, or a line for a local project."""

GroupSelection = Collection[str] | Literal["all"]
"""Extras or groups by name, or all of them."""

DEFAULT_BUILD_REQUIREMENTS = ("setuptools>=40.8.0",)
"""Build requirements of a project without ``[build-system]`` (PEP 518)."""


class Project(Struct, rename="kebab"):
    name: str
    dependencies: list[str] = []
    optional_dependencies: dict[str, list[str]] = {}
    dynamic: list[str] = []


class BuildSystem(Struct):
    requires: list[str]


class UvTool(Struct):
    sources: dict[str, Any] = {}


class ToolTable(Struct):
    uv: UvTool = field(default_factory=UvTool)


class Pyproject(Struct, rename="kebab"):
    project: Project | None = None
    build_system: BuildSystem | None = None
    dependency_groups: dict[str, list[Any]] = {}
    tool: ToolTable = field(default_factory=ToolTable)


def read_pyproject(
    document: SourceDocument, extras: GroupSelection = "all", groups: GroupSelection = "all"
) -> SourceRequirements:
    """Build requirements, dependencies, and the chosen extras and groups.

    The dependencies are resolved alone and, if there are extras or groups, together with these:
    both resolutions are needed, and they may come to different versions. Raises
    ``UnreadableSource``.
    """
    shape = document.convert(Pyproject, document.toml())
    if not (shape.project or shape.build_system or shape.dependency_groups):
        raise document.unreadable("has no [project], [build-system] or [dependency-groups] table")
    base, more = _dependencies(document, shape, ()), _dependencies(document, shape, extras)
    more = [*more, *_groups(document, shape, groups)]
    foreign = {
        document.project(name) for name, at in shape.tool.uv.sources.items() if not _is_index(at)
    }
    alone, together = _text(base, foreign), _text(more, foreign)
    asked = [ResolverInput(document.name, alone)] if alone else []
    if together != alone:
        asked.append(ResolverInput(f"{document.name}, with extras and groups", together))
    own = SourceRequirements(
        requirements=tuple(asked), skipped=tuple(_skipped(document, more, foreign))
    )
    return merge_requirements((build_requirements(document, shape), own))


def local_line(folder: Path, extras: Iterable[str] = ()) -> str:
    """A local project as a line of a requirements file that is valid in any directory."""
    wanted = ",".join(sorted(extras))
    return folder.resolve().as_uri() + (f"[{wanted}]" if wanted else "")


def build_requirements(document: SourceDocument, shape: Pyproject) -> SourceRequirements:
    """The build requirements of the project."""
    if not shape.build_system and not shape.project:
        return SourceRequirements()
    requires = shape.build_system.requires if shape.build_system else DEFAULT_BUILD_REQUIREMENTS
    found = [document.requirement(each) for each in requires]
    text = _text(found)
    asked = (ResolverInput(f"{document.name}, build requirements", text),) if text else ()
    return SourceRequirements(requirements=asked, skipped=tuple(_skipped(document, found, ())))


def _dependencies(document: SourceDocument, shape: Pyproject, extras: GroupSelection) -> list[Wish]:
    """The dependencies of the project with some of its extras."""
    if shape.project is None:
        return []
    itself = document.project(shape.project.name)
    optional: dict[str, list[str]] = {
        document.project(k): v for k, v in shape.project.optional_dependencies.items()
    }
    unread = {"dependencies", "optional-dependencies"} & set(shape.project.dynamic)
    names = _chosen(document, "extra", extras, optional, open_ended=bool(unread))
    if unread:
        return [local_line(document.folder, names)]
    found = [document.requirement(each) for each in shape.project.dependencies]
    waiting = [*names]
    while waiting:
        # An extra may require other extras of the same project.
        for each in map(document.requirement, optional[waiting.pop()]):
            inner = each.extras if normalize(each.name) == itself else ()
            added = [n for n in _chosen(document, "extra", inner, optional) if n not in names]
            names += added
            waiting += added
            found.append(each)
    return [each for each in found if normalize(each.name) != itself]


def _groups(document: SourceDocument, shape: Pyproject, groups: GroupSelection) -> list[Wish]:
    """The requirements of dependency groups and of those they include (PEP 735)."""
    try:
        read = DependencyGroupResolver(shape.dependency_groups)
        names = _chosen(document, "group", groups, read.dependency_groups)
        found: list[Wish] = []
        for name in names:
            for each in read.lookup(name):
                if isinstance(each, DependencyGroupInclude):
                    inner = _chosen(document, "group", [each.include_group], read.dependency_groups)
                    # The list grows while it is iterated. Each group is added once, so that
                    # circular includes end.
                    names += [name for name in inner if name not in names]
                else:
                    found.append(document.requirement(str(each)))
    except ExceptionGroup as errors:
        raise document.unreadable(f"[dependency-groups]: {errors.exceptions[0]}") from None
    except RecursionError:
        raise document.unreadable("[dependency-groups]: nested too deeply") from None
    return found


def _chosen(
    document: SourceDocument,
    kind: str,
    wanted: GroupSelection,
    known: Mapping[str, object],
    *,
    open_ended: bool = False,
) -> list[str]:
    """Normalized names of extras or groups. Raises ``UnreadableSource`` for an unknown name."""
    if wanted == "all":
        return [*known]
    names = [document.project(name) for name in wanted]
    for name in names:
        if name not in known and not open_ended:
            raise document.unreadable(f"has no {kind} {name}")
    return [*names]


def _is_index(at: object) -> bool:
    """Whether an entry of ``[tool.uv.sources]`` only chooses an index."""
    return all(isinstance(e, dict) and "index" in e for e in (at if isinstance(at, list) else [at]))


def _text(wanted: Iterable[Wish], without: Collection[str] = ()) -> str:
    lines = [str(each) for each in wanted if _project(each) not in without and not _url(each)]
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def _skipped(
    document: SourceDocument, wanted: Iterable[Wish], foreign: Collection[str]
) -> Iterable[SkippedRequirement]:
    for each in wanted:
        if _url(each):
            yield SkippedRequirement(
                document.name, _project(each), "comes from an address, not from an index"
            )
        elif _project(each) in foreign:
            reason = "[tool.uv.sources] names a source that is not an index"
            yield SkippedRequirement(document.name, _project(each), reason)


def _project(wanted: Wish) -> str:
    return wanted if isinstance(wanted, str) else normalize(wanted.name)


def _url(wanted: Wish) -> bool:
    return isinstance(wanted, Requirement) and wanted.url is not None
