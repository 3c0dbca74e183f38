"""The fields of the variables ``project``, ``release`` and ``file`` of an expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from proxy.advisories import Advisory
from proxy.model import File, ProjectPage
from proxy.policies.advisories import is_private
from proxy.policies.base import PageView
from proxy.policies.parsed_page import ParsedFile, Release


class FactSubjects:
    """The facts common to all files of a page, for an expression."""

    def __init__(
        self, view: PageView, known: Sequence[Advisory], licence_of: Callable[[str], str | None]
    ) -> None:
        """``known``: the advisories about the project."""
        self.view = view
        self.known = known
        self.licence_of = licence_of

    @property
    def first(self) -> FactSubject | None:
        """A file of the page, if there is any."""
        return next((each for files in self for each in files), None)

    def __iter__(self) -> Iterator[Iterator[FactSubject]]:
        """The files of each release."""
        for release in self.view.parsed.releases:
            shared = ReleaseSubject(release, self)
            yield (FactSubject(shared, self, position) for position in release.positions)


class ReleaseSubject:
    """The facts common to all files of a release."""

    def __init__(self, release: Release, page: FactSubjects) -> None:
        self.release = release
        self._page = page

    @cached_property
    def uploaded(self) -> float | None:
        """When the first file was uploaded, in Unix time; None: unknown."""
        files = self._page.view.page.files
        times = [unix_time(files[each]) for each in self.release.positions]
        return min((time for time in times if time is not None), default=None)

    @cached_property
    def advisories(self) -> list[Advisory]:
        """Those that are about the release."""
        release = self.release
        return [each for each in self._page.known if each.affects(release.text, release.version)]


class FactSubject:
    """One file of a page, for an expression."""

    __slots__ = ("_of_release", "_page", "file", "parsed", "position")

    def __init__(self, release: ReleaseSubject, page: FactSubjects, position: int) -> None:
        self.position = position
        self.file: File = page.view.page.files[position]
        self.parsed: ParsedFile = page.view.parsed.files[position]
        self._of_release = release
        self._page = page

    @property
    def page(self) -> ProjectPage:
        return self._page.view.page

    @property
    def now(self) -> float:
        return self._page.view.now

    @property
    def release(self) -> Release:
        return self._of_release.release

    @property
    def uploaded(self) -> float | None:
        """Unix time in seconds; None: unknown."""
        return unix_time(self.file)

    @property
    def release_uploaded(self) -> float | None:
        """That of the first file."""
        return self._of_release.uploaded

    @property
    def advisories(self) -> Sequence[Advisory]:
        """Those that are about the release; none for a private file."""
        return () if is_private(self.file) else self._of_release.advisories

    @property
    def licence(self) -> str:
        return self._page.licence_of(self._page.view.parsed.digests[self.position]) or ""

    @property
    def tags(self) -> list[list[str]]:
        """Python, ABI and platform tags, each as a list."""
        parts = self.parsed.tags.split("-")
        return [part.split(".") for part in parts] if len(parts) == 3 else [[], [], []]

    def age(self, time: float | None) -> timedelta | None:
        """A time in the future counts as now."""
        return None if time is None else timedelta(seconds=max(0.0, self.now - time))


def unix_time(file: File) -> float | None:
    """When a file was uploaded; None: unknown."""
    try:
        return datetime.fromisoformat(file.uploaded).timestamp() if file.uploaded else None
    except (ValueError, OverflowError):
        return None


def _timestamp(time: float | None) -> datetime | None:
    return None if time is None else datetime.fromtimestamp(time, UTC)


def _severity(subject: FactSubject) -> float:
    return max((each.severity or 0.0 for each in subject.advisories), default=0.0)


def _is_prerelease(subject: FactSubject) -> bool:
    version = subject.release.version
    return version is not None and version.is_prerelease


def _all_tags(subject: FactSubject) -> list[str]:
    pythons, abis, platforms = subject.tags
    return [f"{one}-{abi}-{other}" for one in pythons for abi in abis for other in platforms]


FactReaders = Mapping[str, Callable[[FactSubject], Any]]
ADVISORY_FACTS = frozenset({"severity", "advisories", "malware"})
"""Those that are known from advisories."""

PROJECT_FACTS: FactReaders = {
    "name": lambda subject: str(subject.page.project),
    "status": lambda subject: subject.page.status.status if subject.page.status else "active",
    "files": lambda subject: len(subject.page.files),
}
RELEASE_FACTS: FactReaders = {
    "version": lambda subject: subject.release.text,
    "prerelease": _is_prerelease,
    "files": lambda subject: len(subject.release.positions),
    "uploaded": lambda subject: _timestamp(subject.release_uploaded),
    "age": lambda subject: subject.age(subject.release_uploaded),
    "severity": _severity,
    "advisories": lambda subject: sorted({n for each in subject.advisories for n in each.names}),
    "malware": lambda subject: any(each.is_malware for each in subject.advisories),
}
FILE_FACTS: FactReaders = {
    "name": lambda subject: subject.file.filename,
    "version": lambda subject: subject.release.text,
    "kind": lambda subject: subject.parsed.kind.value if subject.parsed.kind else "",
    "size": lambda subject: subject.file.size,
    "uploaded": lambda subject: _timestamp(subject.uploaded),
    "age": lambda subject: subject.age(subject.uploaded),
    "yanked": lambda subject: bool(subject.file.yanked),
    "yank_reason": lambda s: s.file.yanked if isinstance(s.file.yanked, str) else "",
    "requires_python": lambda subject: subject.file.requires_python or "",
    "tags": _all_tags,
    "pythons": lambda subject: subject.tags[0],
    "abis": lambda subject: subject.tags[1],
    "platforms": lambda subject: subject.tags[2],
    "sha256": lambda subject: subject.file.sha256 or "",
    "provenance": lambda subject: subject.file.provenance is not None,
    "licence": lambda subject: subject.licence,
    "severity": _severity,
}
