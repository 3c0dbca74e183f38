"""The kinds ``deny`` and ``allow``: lists of projects, versions, file names and digests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from fnmatch import translate
from itertools import chain

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from proxy import late_pattern
from proxy.model import HASHES_BY_STRENGTH, ProjectName
from proxy.policies.base import PageView
from proxy.policies.configured import Finding, Rule
from proxy.policies.names import Matches, matcher, normal_pattern

_LISTED_DIGEST = late_pattern(r"(?:([a-z0-9]+)[:-])?([0-9a-f]{32,128})\Z")


def parse_digest(text: str) -> tuple[str, str]:
    """Algorithm and hex of ``sha256:…``. Raises ``ValueError`` if it is no digest."""
    found = _LISTED_DIGEST.match(text.lower())
    algorithm = (found[1] or "sha256") if found else ""
    if found is None or algorithm not in HASHES_BY_STRENGTH:
        raise ValueError(f"{text!r} is not a digest such as 'sha256:…' with 64 hex digits")
    if algorithm == "sha256" and len(found[2]) != 64:
        raise ValueError(f"{text!r} does not have the 64 hex digits of a sha256")
    return algorithm, found[2]


class Criteria:
    """An entry of a list. A file that any entry names is on the list."""

    def __init__(
        self,
        projects: Iterable[str] = (),
        versions: Mapping[str, Sequence[str]] | None = None,
        filenames: Iterable[str] = (),
        digests: Iterable[str] = (),
    ) -> None:
        """``projects``: those of which every file is named, as in ``matcher``.

        ``versions``: specifiers by project or pattern; each is one set, and any of them is
        enough. ``filenames``: patterns with ``*`` and ``?``; the case of letters does not matter.
        Raises ``ValueError``.
        """
        self._projects = matcher(projects)
        self._exact: dict[str, list[SpecifierSet]] = {}
        self._patterns: list[tuple[Matches, list[SpecifierSet]]] = []
        for name, specifiers in (versions or {}).items():
            sets = [SpecifierSet(each) for each in specifiers]
            if "*" in name or "?" in name:
                self._patterns.append((matcher([name]), sets))
            else:  # a list may have thousands of names
                self._exact.setdefault(normal_pattern(name), []).extend(sets)
        self._filenames = [
            (_literal(each), re.compile(translate(each)).match)
            for each in map(str.lower, filenames)
        ]
        self._digests: dict[str, set[str]] = {}
        for algorithm, value in map(parse_digest, digests):
            self._digests.setdefault(algorithm, set()).add(value)

    @property
    def names_files(self) -> bool:
        """Whether files of any project may be named, by file name or digest."""
        return bool(self._filenames or self._digests)

    def names_project(self, project: ProjectName) -> bool:
        return bool(self._projects(project))

    def specifiers(self, project: ProjectName) -> list[SpecifierSet]:
        matching = (sets for matches, sets in self._patterns if matches(project))
        return [*self._exact.get(project, ()), *chain.from_iterable(matching)]

    def named_files(self, view: PageView) -> Set[int]:
        """The positions of files that file name or digest names."""
        if not self.names_files:
            return frozenset()
        found: set[int] = set()
        names = [each.distribution.lower() for each in view.parsed.files] if self._filenames else []
        for literal, matches in self._filenames:
            found.update([at for at, name in enumerate(names) if literal in name and matches(name)])
        for algorithm, wanted in self._digests.items():
            if algorithm == "sha256":
                digests = enumerate(view.parsed.digests)
                found.update([at for at, digest in digests if digest in wanted])
            else:
                files = enumerate(view.page.files)
                found.update(at for at, file in files if file.hashes.get(algorithm) in wanted)
        return found


class Deny(Rule):
    """Refuses what is on the list. A version that is not one of PEP 440 counts as listed."""

    def __init__(self, criteria: Criteria) -> None:
        self._criteria = criteria

    def denies(self, project: ProjectName) -> str | None:
        return f"{project} is denied" if self._criteria.names_project(project) else None

    def judge(self, view: PageView) -> Iterator[Finding]:
        project = view.page.project
        if reason := self.denies(project):
            yield Finding(range(len(view.page.files)), reason)
            return
        specifiers = self._criteria.specifiers(project)
        refused: set[int] = set()
        for release in view.parsed.releases if specifiers else ():
            if release.version is None or _is_in(specifiers, release.version):
                yield Finding(release.positions, f"{project} {release.text} is denied")
                refused.update(release.positions)
        for position in sorted(self._criteria.named_files(view) - refused):
            yield Finding((position,), f"{view.parsed.files[position].distribution} is denied")


class Allow(Rule):
    """Refuses files that are not on the list. No list contains a version that violates PEP 440."""

    def __init__(self, criteria: Criteria) -> None:
        self._criteria = criteria

    def denies(self, project: ProjectName) -> str | None:
        criteria = self._criteria
        if criteria.names_project(project) or criteria.names_files or criteria.specifiers(project):
            return None
        return f"{project} is not on the list of allowed projects"

    def judge(self, view: PageView) -> Iterator[Finding]:
        project = view.page.project
        if self._criteria.names_project(project):
            return
        if reason := self.denies(project):
            yield Finding(range(len(view.page.files)), reason)
            return
        specifiers, allowed = self._criteria.specifiers(project), self._criteria.named_files(view)
        for release in view.parsed.releases:
            if release.version is not None and _is_in(specifiers, release.version):
                continue
            refused = [each for each in release.positions if each not in allowed]
            if refused:
                yield Finding(refused, f"{project} {release.text} is not on the list".strip())


def _literal(pattern: str) -> str:
    """The longest part without wildcards: most names lack it, so that they need not be matched."""
    return "" if "[" in pattern else max(re.split(r"[*?]", pattern), key=len)


def _is_in(specifiers: Iterable[SpecifierSet], version: Version) -> bool:
    return any(each.contains(version, prereleases=True) for each in specifiers)
