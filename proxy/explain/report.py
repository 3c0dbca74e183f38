"""The report about a project: the indexes on the way, the page, its files and their verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec
from packaging.specifiers import SpecifierSet

from proxy.distributions import Target, parse_filename, same_version
from proxy.indexes import Explanation, Index, Step
from proxy.model import File, ProjectName, ProjectPage
from proxy.policies import Verdict
from proxy.prefetch import choose_file

FileState = Literal["listed", "yanked", "hidden"]
State = Literal["local", "fresh", "stale", "expired"]


_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


class Question(msgspec.Struct, frozen=True):
    """The subject of a question: a project, and perhaps one version or one file of it."""

    project: ProjectName
    wanted: str = ""
    """A version or a file name; empty: everything."""
    target: Target | None = None
    """The environment to install for."""


class VerdictReport(msgspec.Struct, frozen=True):
    rule: str
    kind: str
    mode: Literal["enforce", "observe"]
    reason: str
    until: str | None
    exemption: str | None


class FileReport(msgspec.Struct, frozen=True):
    filename: str
    version: str
    shown: bool
    """Whether the page lists the file, perhaps as yanked."""
    look: FileState
    held: bool
    """Whether the bytes are in the cache."""
    yanked: bool | str
    """By the index that lists the file, with its reason."""
    requires_python: str | None
    fits: bool | None
    """Whether the target can install the file; None: no target is asked about."""
    verdicts: tuple[VerdictReport, ...]


class PageReport(msgspec.Struct, frozen=True):
    source: str
    state: State
    checked: str | None
    fresh_until: str | None
    changes_at: str | None
    """When a verdict may change."""
    status: str
    status_reason: str | None


class Report(msgspec.Struct, frozen=True):
    index: str
    project: ProjectName
    asked: str
    """The version or file name; empty: everything."""
    route: tuple[Step, ...]
    page: PageReport | None
    files: tuple[FileReport, ...]
    versions: tuple[str, ...]
    """Those that the page shows, the newest last."""
    would_install: dict[str, str | None]
    """By target, the file that an installer would choose, without regard to dependencies."""


async def explain(index: Index, question: Question, now: float) -> Report:
    """Raises ``NotFound`` if the question names a file of another project."""
    found = await index.explain(question.project)
    target = question.target
    chosen = None
    if target and found.page:
        chosen = await choose_file(found.page, target)
    return Report(
        index.name,
        question.project,
        question.wanted,
        found.steps,
        _page(found.page, now) if found.page else None,
        tuple(_files(found, question)),
        _versions(found.page),
        {str(target): chosen.filename if chosen else None} if target else {},
    )


def _page(page: ProjectPage, now: float) -> PageReport:
    status = page.status
    return PageReport(
        page.source,
        _state(page, now),
        moment(page.checked),
        moment(page.fresh_until) if page.fresh_until else None,
        moment(page.not_after),
        status.status if status else "active",
        status.reason if status else None,
    )


def _state(page: ProjectPage, now: float) -> State:
    if page.fresh_until is None:
        return "local"
    if now < page.fresh_until:
        return "fresh"
    return "stale" if now < page.stale_until else "expired"


def moment(unix: float | None) -> str | None:
    """A Unix time in seconds as text (RFC 3339); the last year that has dates is 9999."""
    if unix is None:
        return None
    return (
        datetime.fromtimestamp(min(unix, _LAST), UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )


def _versions(page: ProjectPage | None) -> tuple[str, ...]:
    found = {_version(file): None for file in page.files} if page else {}
    return tuple(found)


def _version(file: File) -> str:
    name = parse_filename(file.filename)
    return name.version if name else ""


def _files(found: Explanation, question: Question) -> Iterator[FileReport]:
    if found.listed is None or found.page is None:
        return
    shown = {file.filename: file for file in found.page.files}
    for file in found.listed.files:
        if _is_wanted(file, question.wanted):
            yield _file(file, shown.get(file.filename), found, question.target)


def _is_wanted(file: File, wanted: str) -> bool:
    return wanted in ("", file.filename) or same_version(_version(file), wanted)


def _file(file: File, shown: File | None, found: Explanation, target: Target | None) -> FileReport:
    look: FileState = "hidden" if shown is None else "yanked" if shown.yanked else "listed"
    return FileReport(
        file.filename,
        _version(file),
        shown is not None,
        look,
        file.filename in found.stored,
        file.yanked,
        file.requires_python,
        _fits(file, target) if target else None,
        tuple(_verdicts(file.filename, found)),
    )


def _verdicts(filename: str, found: Explanation) -> Iterator[VerdictReport]:
    for verdict in found.refusals.get(filename, ()):
        yield _verdict(verdict, "enforce", found)
    for verdict in found.exempted.get(filename, ()):
        yield _verdict(verdict, "enforce", found)
    for verdict in found.observed.get(filename, ()):
        yield _verdict(verdict, "observe", found)


def _verdict(
    verdict: Verdict, mode: Literal["enforce", "observe"], found: Explanation
) -> VerdictReport:
    return VerdictReport(
        verdict.rule,
        found.kinds.get(verdict.rule, ""),
        mode,
        verdict.reason,
        moment(verdict.until),
        verdict.exemption or None,
    )


def _fits(file: File, target: Target) -> bool:
    """Whether the target can install the file: its tags, and ``requires-python``."""
    if file.filename.endswith(".whl") and not target.fits(file.filename):
        return False
    try:
        return not file.requires_python or target.meets(SpecifierSet(file.requires_python))
    except ValueError:  # InvalidSpecifier, or a number of thousands of digits
        return True
