"""A cooldown that lets security fixes pass: the one release that fixes what is installed now.

Only the smallest release that an advisory names as fixed passes, never all newer ones: otherwise
a thief of a project could publish another release after a genuine fix, and have it installed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec
from packaging.version import Version

from proxy.advisories import Advisory, is_inside, public
from proxy.policies.advisories import About, is_private
from proxy.policies.base import PageView
from proxy.policies.configured import Finding, Rule


class FixCriteria(msgspec.Struct, frozen=True):
    """The advisories that a release fixes, and when the fix passes."""

    lowest: float = 0.0
    """The CVSS score from which on an advisory counts; an unknown severity counts."""
    databases: frozenset[str] = frozenset({"GHSA", "PYSEC"})
    """The first parts of the ids of advisories that count."""
    trusts_last_affected: bool = False
    """The release after ``last_affected`` is a fix, although no advisory says so."""
    min_age: float = 0.0
    """Seconds."""

    def counts(self, advisory: Advisory) -> bool:
        severity = advisory.severity
        return advisory.is_malware or severity is None or severity >= self.lowest


def fixes(
    passing: Collection[Version],
    waiting: Collection[Version],
    advisories: Sequence[Advisory],
    criteria: FixCriteria,
) -> dict[Version, str]:
    """The waiting versions that fix a fault of a passing one, each with the reason."""
    counted = [each for each in advisories if criteria.counts(each)]
    known = sorted({*passing, *waiting})
    found: dict[Version, str] = {}
    for advisory in counted:
        if advisory.is_malware or advisory.database not in criteria.databases:
            continue
        for candidate, fixed in _candidates(passing, known, advisory, criteria):
            if candidate in waiting and not any(
                each.affects(str(candidate), candidate) for each in counted
            ):
                found.setdefault(candidate, f"fixes {advisory.id} of {fixed}")
    return found


def _candidates(
    passing: Collection[Version],
    known: Sequence[Version],
    advisory: Advisory,
    criteria: FixCriteria,
) -> Iterator[tuple[Version, Version]]:
    """For each interval the smallest known version after it, and a passing version in it."""
    intervals = list(zip(advisory.affected.intervals, advisory.affected.bounds, strict=True))
    for interval, bounds in intervals:
        _, stop, includes_stop = bounds
        is_fix = interval.is_fixed or (includes_stop and criteria.trusts_last_affected)
        inside = [each for each in passing if is_inside(public(each), bounds)]
        if stop is None or not is_fix or not inside:
            continue
        starts = [start for _, (start, _, _) in intervals if start is not None and start >= stop]
        end = min(starts, default=None)
        takes_prereleases = all(each.is_prerelease for each in inside)
        for version in known:
            is_after = version > stop if includes_stop else version >= stop
            if is_after and (takes_prereleases or not version.is_prerelease):
                if end is None or version < end:
                    yield version, max(inside)
                break


class CooldownWithFixes(Rule):
    """A cooldown, except for releases that fix a fault of one that passes."""

    is_changing = True
    judges_last = True

    def __init__(self, cooldown: Rule, age: float, about: About, criteria: FixCriteria) -> None:
        """``age``: seconds of the cooldown."""
        self._cooldown = cooldown
        self._age = age
        self._about = about
        self._criteria = criteria

    def judge(self, view: PageView) -> Iterator[Finding]:
        findings = list(self._cooldown.judge(view))
        reasons = self._reasons(view, findings)
        for finding in findings:
            reason = reasons.get(view.parsed.files[finding.files[0]].release)
            yield self._passed(view, finding, reason) if reason else finding

    def _reasons(self, view: PageView, findings: Sequence[Finding]) -> Mapping[int, str]:
        """Why releases pass, by their position in ``ParsedPage.releases``."""
        known = self._about(view.page.project)
        if not known or not findings or any(map(is_private, view.page.files)):
            return {}
        waits = {position for each in findings if each.refuses for position in each.files}
        passing: set[Version] = set()
        waiting: dict[Version, int] = {}
        for number, release in enumerate(view.parsed.releases):
            if release.version is None or view.refused >= set(release.positions):
                continue
            if all(each in waits or each in view.refused for each in release.positions):
                waiting[release.version] = number
            else:
                passing.add(release.version)
        found = fixes(passing, waiting.keys(), known, self._criteria)
        return {waiting[version]: reason for version, reason in found.items()}

    def _passed(self, view: PageView, finding: Finding, reason: str) -> Finding:
        """The finding on a fix: it passes, if it is old enough."""
        if self._criteria.min_age > 0:
            if finding.until is None:
                return finding  # its age is not known
            old_enough = finding.until - self._age + self._criteria.min_age
            if view.now < old_enough:
                return msgspec.structs.replace(finding, until=min(old_enough, finding.until))
        return msgspec.structs.replace(finding, refuses=False, exemption=reason)
