"""The view of a project's page: versions, files and marks, made of an explanation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

from proxy.distributions import normalize_version, same_version
from proxy.indexes import Explanation
from proxy.model import File, ProjectName, ProjectPage, sources_of
from proxy.policies import Verdict
from proxy.presentation import FileLine, moment
from proxy.releases import (
    ProjectRelease,
    file_in_words,
    group_by_release,
    is_preliminary,
    newest_release,
)
from proxy.runtime import run_in_worker

PageFreshness = Literal["local", "fresh", "stale", "expired"]
GRAVEST = ("quarantined", "vulnerable", "refused", "yanked", "changed", "archived", "deprecated")
MAX_MARKS = 3
BYTES_PER_FILE = 600
"""The cost of sorting a file by version, in bytes of input as ``run_in_worker`` counts them."""


class Mark(NamedTuple):
    kind: str
    text: str


class FileRow(NamedTuple):
    file: File
    what: str
    """The kind and the tags in words."""
    held: bool
    shown: bool
    """Whether installers see the file."""
    verdicts: Sequence[Verdict]

    def line(self, link: str, *, private: bool) -> FileLine:
        """``link``: its address; empty: it is not offered. ``private``: it is from a directory."""
        file = self.file
        badges = [
            ("held", "in the cache") if self.held and not private else None,
            ("refused", "hidden") if not self.shown else None,
            ("yanked", "yanked") if file.yanked else None,
            ("provenance", "provenance") if file.provenance and self.shown else None,
        ]
        reason = [file.yanked] if isinstance(file.yanked, str) and file.yanked else []
        what = f"{self.what}, with metadata" if file.metadata else self.what
        return FileLine(
            *(file.filename, link, what, file.uploaded or "", file.size, file.sha256 or ""),
            [each for each in badges if each],
            [*reason, *map(_in_words, self.verdicts)],
        )


def _in_words(verdict: Verdict) -> str:
    until = f", until {moment(verdict.until)}" if verdict.until else ""
    return f"{verdict.rule}: {verdict.reason}{until}"


class VersionRow(NamedTuple):
    release: ProjectRelease
    held: int
    hidden: int
    preliminary: bool


class Hidden(NamedTuple):
    """Files that one verdict hides."""

    rule: str
    reason: str
    files: int
    until: float | None


class ProjectView:
    """One version of a project, and what surrounds it."""

    def __init__(self, found: Explanation, wanted: str, now: float) -> None:
        """``wanted``: a version; empty: the one that installers choose.

        The explanation has a page. Raises ``LookupError`` if it has no such version.
        """
        assert found.page and found.listed
        self.page, self._found = found.page, found
        self.project: ProjectName = self.page.project
        self.releases = group_by_release(self.project, found.listed.files)
        passing = [file for file in self.page.files if file.filename not in found.refusals]
        shown = group_by_release(self.project, passing)
        self.latest = newest_release(shown).version if shown else ""
        """The version that installers choose; empty: there is none."""
        self.release = self._choose(wanted)
        self.private = any(
            step.kind == "local" and step.result == "answers" for step in found.steps
        )
        self.sources = sources_of(self.page) if self.page.source else [found.steps[-1].index]
        self.state = state_of(self.page, now)
        self.shown = {file.filename for file in passing}
        """Refused files may be on the page as yanked; they are none of these."""

    def _choose(self, wanted: str) -> ProjectRelease | None:
        if not wanted:
            chosen = [each for each in self.releases if each.version == self.latest]
            return next(iter(chosen or self.releases), None)
        found = [each for each in self.releases if same_version(each.version, wanted)]
        if not found:
            raise LookupError(wanted)
        return found[0]

    @property
    def version(self) -> str:
        return self.release.version if self.release else ""

    @property
    def canonical_version(self) -> str:
        return normalize_version(self.version)

    @property
    def python(self) -> list[str]:
        files = self.release.files if self.release else ()
        return sorted({file.requires_python for file in files if file.requires_python})

    def versions(self) -> Iterator[VersionRow]:
        """All, newest first."""
        stored = self._found.stored
        for release in self.releases:
            names = [file.filename for file in release.files]
            yield VersionRow(
                release,
                sum(name in stored for name in names),
                sum(name not in self.shown for name in names),
                is_preliminary(release.version),
            )

    @cached_property
    def files(self) -> list[FileRow]:
        """Those of the version."""
        return [
            FileRow(
                file,
                file_in_words(file.filename),
                file.filename in self._found.stored,
                file.filename in self.shown,
                (
                    *self._found.refusals.get(file.filename, ()),
                    *self._found.observed.get(file.filename, ()),
                ),
            )
            for file in (self.release.files if self.release else ())
        ]

    @property
    def is_offered(self) -> bool:
        """Whether installers see a file of the version."""
        return any(row.shown for row in self.files)

    def hidden(self) -> list[Hidden]:
        """The rules that hide files of any version, those with most files first."""
        counts: dict[Verdict, int] = {}
        for verdicts in self._found.refusals.values():
            for verdict in verdicts:
                counts[verdict] = counts.get(verdict, 0) + 1
        rows = [Hidden(each.rule, each.reason, n, each.until) for each, n in counts.items()]
        return sorted(rows, key=lambda row: -row.files)

    def marks(self) -> list[Mark]:
        """The gravest first, and at most three."""
        found = list(self._marks())
        rank = {kind: at for at, kind in enumerate(GRAVEST)}
        return sorted(found, key=lambda mark: rank.get(mark.kind, len(rank)))[:MAX_MARKS]

    def _newer_preliminary(self) -> str:
        """The newest pre-release after the version that installers choose; empty: none."""
        for each in self.releases:
            if each.version == self.latest:
                break
            if is_preliminary(each.version) and any(f.filename in self.shown for f in each.files):
                return each.version
        return ""

    def _marks(self) -> Iterator[Mark]:
        status, rows = self.page.status, self.files
        if self.private:
            yield Mark("private", "private")
        elif any(row.held for row in rows):
            yield Mark("held", "in the cache")
        else:
            yield Mark("upstream", "upstream only")
        if status and status.status != "active":
            yield Mark(status.status, status.status)
        if rows and not any(row.shown for row in rows):
            yield Mark("refused", "hidden by a rule")
        if self.release and self.release.yanked:
            yield Mark("yanked", "yanked")
        if self.release and self.release.version and is_preliminary(self.release.version):
            yield Mark("pre-release", "pre-release")
        elif self.version == self.latest and (newer := self._newer_preliminary()):
            yield Mark("pre-release", f"newer: {newer}")
        kinds = {self._found.kinds.get(each.rule) for row in rows for each in row.verdicts}
        if "advisories" in kinds:
            yield Mark("vulnerable", "vulnerable")


async def view_of(found: Explanation, wanted: str, now: float) -> ProjectView:
    """The view, made in a worker if there are many files. Arguments and errors as of the class."""
    size = BYTES_PER_FILE * len(found.listed.files if found.listed else ())
    return await run_in_worker(size, lambda: ProjectView(found, wanted, now))


def state_of(page: ProjectPage, now: float) -> PageFreshness:
    """How old what the index knows is."""
    if page.fresh_until is None:
        return "local"
    if now < page.fresh_until:
        return "fresh"
    return "stale" if now < page.stale_until else "expired"
