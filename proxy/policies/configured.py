"""The policy that a table of the settings describes: a rule with its projects and exemptions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from proxy.errors import Denied
from proxy.model import File, ProjectName
from proxy.policies.base import Facts, Look, Mode, PageView, Policy, Verdict
from proxy.policies.names import Matches, matcher


class Finding(msgspec.Struct, frozen=True):
    """The result of a rule for some files of a page."""

    files: Sequence[int]
    """Their positions in ``PageView.page.files``."""
    reason: str
    """One sentence, without the name of the rule."""
    until: float | None = None
    """As in ``Verdict``, and so are the others."""
    refuses: bool = True
    exemption: str = ""
    spares_locked: bool = False


class Rule(Protocol):
    """The decision of one kind of policy; it knows no name, mode, projects or exemptions.

    Implementations inherit the defaults of the optional parts.
    """

    judges_last: bool = False
    """As in ``Policy``, and so is the next."""
    is_changing: bool = False
    facts: Facts | None = None

    def judge(self, view: PageView) -> Iterable[Finding]:
        """As ``Policy.judge``, for several files at a time."""

    def denies(self, project: ProjectName) -> str | None:
        """Why the project is refused whatever its files are; None: that depends on the files."""
        return None


class Exemption(msgspec.Struct, frozen=True):
    """Files that a policy does not refuse. All fields that are given must match a file."""

    reason: str
    projects: Matches | None = None
    versions: SpecifierSet | None = None
    digest: tuple[str, str] | None = None
    """Algorithm and hex, of the distribution."""
    until: float | None = None
    """Unix time in seconds at which it ends; None: it does not end."""

    def concerns(self, project: ProjectName, now: float) -> bool:
        """Whether it is in force and may match files of the project."""
        in_force = self.until is None or now < self.until
        return in_force and (self.projects is None or bool(self.projects(project)))

    def matches(self, file: File, version: Version | None) -> bool:
        """Whether it matches a file of a project that it concerns."""
        if self.digest and file.hashes.get(self.digest[0]) != self.digest[1]:
            return False
        if self.versions is None:
            return True
        return version is not None and self.versions.contains(version, prereleases=True)


class ConfiguredPolicy(Policy):
    """A rule, for the projects that it applies to, without the exempted files."""

    def __init__(
        self,
        name: str,
        kind: str,
        rule: Rule,
        *,
        mode: Mode,
        show: Look,
        projects: Iterable[str] = ("*",),
        except_projects: Iterable[str] = (),
        note: str = "",
        exemptions: Iterable[Exemption] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``note`` is added to every reason. The patterns are as in ``matcher``."""
        self.name = name
        self.kind = kind
        self.mode = mode
        self.show = show
        refuses = mode == "enforce" and show == "hide"
        self.judges_projects = refuses and type(rule).denies is not Rule.denies
        self.judges_last = rule.judges_last
        self.is_changing = rule.is_changing
        self.facts = rule.facts
        self._rule = rule
        self._applies = matcher(projects)
        self._spares = matcher(except_projects)
        self._note = f"; {note}" if note else ""
        self._exemptions = tuple(exemptions)
        self._clock = clock

    def admit(self, project: ProjectName) -> None:
        if not self.judges_projects or not self.concerns(project):
            return
        reason = self._rule.denies(project)
        if reason and not self._exemptions_of(project, self._clock()):
            raise Denied(project, reason + self._note, self.name)

    def judge(self, view: PageView) -> Iterator[tuple[int, Verdict]]:
        project = view.page.project
        if not self.concerns(project):
            return
        exemptions = self._exemptions_of(project, view.now)
        for finding in self._rule.judge(view):
            verdict = Verdict(
                self.name,
                _printable(finding.reason) + self._note,
                finding.until,
                finding.refuses,
                finding.exemption,
                spares_locked=finding.spares_locked,
            )
            if exemptions and finding.refuses:
                yield from _exempted(view, finding.files, verdict, exemptions)
            else:
                for position in finding.files:
                    yield position, verdict

    def concerns(self, project: ProjectName) -> bool:
        return bool(self._applies(project)) and not self._spares(project)

    def _exemptions_of(self, project: ProjectName, now: float) -> list[Exemption]:
        return [each for each in self._exemptions if each.concerns(project, now)]


def _printable(reason: str) -> str:
    """The reason without line breaks, controls and lone surrogates: upstream words parts of it."""
    if reason.isprintable():
        return reason
    return "".join(each if each.isprintable() else "?" for each in reason)


def _exempted(
    view: PageView, positions: Iterable[int], refusal: Verdict, exemptions: Sequence[Exemption]
) -> Iterator[tuple[int, Verdict]]:
    """The verdict on each file: that of the exemption which lasts longest, if any matches."""
    parsed = view.parsed
    for position in positions:
        file = view.page.files[position]
        version = parsed.releases[parsed.files[position].release].version
        found = [each for each in exemptions if each.matches(file, version)]
        if not found:
            yield position, refusal
            continue
        longest = max(found, key=lambda each: math.inf if each.until is None else each.until)
        ends = [each for each in (longest.until, refusal.until) if each is not None]
        yield (
            position,
            msgspec.structs.replace(
                refusal, refuses=False, exemption=longest.reason, until=min(ends, default=None)
            ),
        )
