"""Rules of known releases: ``malware`` refuses malicious ones, ``advisories`` those with faults.

Advisories are about the projects of PyPI. A private project of the same name is another project,
so files of local directories are not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from proxy.advisories import Advisory, band_of
from proxy.model import File, ProjectName
from proxy.policies.base import PageView
from proxy.policies.configured import Finding, Rule
from proxy.policies.parsed_page import Release

About = Callable[[ProjectName], Sequence[Advisory]]
"""The advisories about a project now."""


class Malware(Rule):
    """Refuses releases that are reported as malicious, and files whose version is unreadable.

    The policy denies no project as a whole: only its page says whether a project is private.
    """

    is_changing = True

    def __init__(self, about: About) -> None:
        self._about = about

    def judge(self, view: PageView) -> Iterator[Finding]:
        known = [each for each in self._about(view.page.project) if each.is_malware]
        for release, found in affected_releases(view, known):
            reason = f"{_title(view, release)} is malware: {found[0].id}"
            yield Finding(_public(view, release), reason)


class KnownFaults(Rule):
    """Refuses releases with faults from a severity on."""

    is_changing = True

    def __init__(
        self,
        about: About,
        *,
        lowest: float | None,
        refuses_unknown: bool = False,
        refused: Collection[str] = (),
        ignored: Collection[str] = (),
        only_if_fixed: bool = True,
    ) -> None:
        """``lowest``: the CVSS score from which on a fault counts; None: no score does.

        ``refused`` and ``ignored``: ids of faults, by any alias, that always or never count.
        ``only_if_fixed``: nothing is refused unless the index has a release without such faults.
        """
        self._about = about
        self._lowest = lowest
        self._refuses_unknown = refuses_unknown
        self._refused = frozenset(refused)
        self._ignored = frozenset(ignored)
        self.judges_last = only_if_fixed

    def judge(self, view: PageView) -> Iterator[Finding]:
        known = [each for each in self._about(view.page.project) if self._counts(each)]
        affected = list(affected_releases(view, known))
        if not affected:
            return
        if self.judges_last and not _has_other(view, [release for release, _ in affected]):
            return
        for release, found in affected:
            worst = max(found, key=lambda each: each.severity or 0.0)
            reason = f"{_title(view, release)} has {worst.id} ({_severity(worst)})"
            if others := len({each.names for each in found}) - 1:
                reason += f" and {others} more"
            yield Finding(_public(view, release), reason)

    def _counts(self, advisory: Advisory) -> bool:
        if not self._ignored.isdisjoint(advisory.names):
            return False
        if not self._refused.isdisjoint(advisory.names):
            return True
        if self._lowest is None:
            return False
        if advisory.severity is None:
            return self._refuses_unknown
        return advisory.severity >= self._lowest


def is_private(file: File) -> bool:
    """Whether the file lies in a local directory, so that it is of another project than PyPI's."""
    return file.url.startswith("file:")


def affected_releases(
    view: PageView, known: Sequence[Advisory]
) -> Iterator[tuple[Release, list[Advisory]]]:
    """The releases that any of the advisories is about, each with these advisories.

    Releases of which all files are private are left out.
    """
    if not known:
        return
    releases, ordered = view.parsed.releases, view.parsed.ordered
    found: dict[int, list[Advisory]] = {}
    for advisory in known:
        for number in ordered.affected_by(advisory.affected):
            found.setdefault(number, []).append(advisory)
    for number in sorted(found):
        if _public(view, releases[number]):
            yield releases[number], found[number]


def _public(view: PageView, release: Release) -> list[int]:
    files = view.page.files
    return [position for position in release.positions if not is_private(files[position])]


def _has_other(view: PageView, affected: Sequence[Release]) -> bool:
    """Whether installers can choose another release: a pre-release only where there is no other."""
    lost = {position for release in affected for position in release.positions}
    files, finals, prereleases = view.page.files, False, False
    for release in view.parsed.releases:
        free = [
            position
            for position in release.positions
            if position not in lost and position not in view.refused and not files[position].yanked
        ]
        is_prerelease = release.version is not None and release.version.is_prerelease
        prereleases = prereleases or (bool(free) and is_prerelease)
        finals = finals or (bool(free) and not is_prerelease)
    only_prereleases = all(each.version and each.version.is_prerelease for each in affected)
    return finals or (prereleases and only_prereleases)


def _title(view: PageView, release: Release) -> str:
    return f"{view.page.project} {release.text}".strip()


def _severity(advisory: Advisory) -> str:
    band = band_of(advisory.severity)
    return f"severity {band}" if advisory.severity is None else f"{band}, {advisory.severity:.1f}"
