"""The kinds ``files`` and ``status``: by what a page says of its files and of its project."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from fnmatch import fnmatchcase

from proxy import late_pattern
from proxy.distributions import DistributionKind
from proxy.policies.base import PageView
from proxy.policies.configured import Finding, Rule

PLATFORM_PATTERNS = {"linux": "*linux*", "macos": "macosx_*", "windows": "win*"}
"""Short forms. Tags of platforms are no closed list (PEP 783), so they are matched by patterns."""

_PYTHON_MINOR = late_pattern(r"(\d)\.(\d{1,2})\Z")
_TAG = late_pattern(r"([a-z]+)(\d)(\d*)\Z")


class Files(Rule):
    """Refuses kinds of files: sdists, old formats, platforms, Pythons, large and old ones."""

    def __init__(
        self,
        *,
        sdists: bool = True,
        prereleases: bool = True,
        legacy: bool = True,
        platforms: Collection[str] = (),
        pythons: Collection[str] = (),
        max_size: int | None = None,
        latest: int | None = None,
    ) -> None:
        """False refuses. ``platforms`` and ``pythons``: only wheels for these, if there are any:
        short forms (``linux``, ``3.12``) or patterns of tags (``manylinux*_x86_64``, ``cp31?``).
        ``max_size``: bytes; a file of unknown size passes. ``latest``: this many of the newest
        versions that pass, and as many pre-releases.
        """
        self._kinds = {
            DistributionKind.SDIST: None if sdists else "an sdist",
            DistributionKind.LEGACY: None if legacy else "a file of an old format",
            None: None if legacy else "a file that is neither a wheel nor an sdist",
        }
        self._prereleases = prereleases
        self._fits = _tag_test(platforms, pythons) if platforms or pythons else None
        self._max_size = max_size
        self._latest = latest
        self.judges_last = latest is not None

    def judge(self, view: PageView) -> Iterator[Finding]:
        refused = dict(self._refused(view))
        by_reason: dict[str, list[int]] = {}
        for position, reason in refused.items():
            by_reason.setdefault(reason, []).append(position)
        for reason, positions in by_reason.items():
            yield Finding(positions, f"{view.page.project}: {reason}")
        if self._latest is not None:
            yield from self._judge_latest(view, view.refused | refused.keys(), self._latest)

    def _refused(self, view: PageView) -> Iterator[tuple[int, str]]:
        """Positions and reasons; where a position occurs twice, the last counts."""
        if self._max_size is not None:
            yield from _larger(view, self._max_size)
        if self._fits:
            yield from _unfitting(view, self._fits)
        if not self._prereleases:
            yield from _early(view)
        if any(self._kinds.values()):
            wheel = DistributionKind.WHEEL  # most files; the hash of an enumeration is slow
            for position, parsed in enumerate(view.parsed.files):
                if parsed.kind is not wheel and (reason := self._kinds.get(parsed.kind)):
                    yield position, reason

    def _judge_latest(
        self, view: PageView, refused: Collection[int], latest: int
    ) -> Iterator[Finding]:
        passing = [
            release
            for release in view.parsed.releases
            if any(position not in refused for position in release.positions)
        ]
        versions = sorted(release.version for release in passing if release.version)
        newest = {
            version
            for early in (False, True)
            for version in [each for each in versions if each.is_prerelease is early][-latest:]
        }
        for release in passing:
            if release.version not in newest:
                what = f"{view.page.project} {release.text}".strip()
                yield Finding(
                    release.positions, f"{what} is not among the newest {latest} versions"
                )


class Status(Rule):
    """Refuses the projects that have one of some statuses (PEP 792)."""

    def __init__(self, statuses: Iterable[str]) -> None:
        self._statuses = frozenset(statuses)

    def judge(self, view: PageView) -> Iterator[Finding]:
        status = view.page.status
        if status is not None and status.status in self._statuses:
            reason = f"{view.page.project} is {status.status}"
            reason += f" ({status.reason})" if status.reason else ""
            yield Finding(range(len(view.page.files)), reason)


def _larger(view: PageView, size: int) -> Iterator[tuple[int, str]]:
    for position, file in enumerate(view.page.files):
        if file.size is not None and file.size > size:
            yield position, f"a file larger than {size} bytes"


def _unfitting(view: PageView, fits: Callable[[str], bool]) -> Iterator[tuple[int, str]]:
    files = view.parsed.files
    fitting = {tags: fits(tags) for tags in {file.tags for file in files}}
    for position, parsed in enumerate(files):
        if not fitting[parsed.tags]:
            yield position, f"a wheel for other platforms ({parsed.tags})"


def _early(view: PageView) -> Iterator[tuple[int, str]]:
    for release in view.parsed.releases:
        if release.version is not None and release.version.is_prerelease:
            yield from ((position, "a pre-release") for position in release.positions)


def _tag_test(platforms: Iterable[str], pythons: Iterable[str]) -> Callable[[str], bool]:
    """Whether a wheel with these tags is for one of the platforms and one of the Pythons."""
    wanted = [PLATFORM_PATTERNS.get(each, each) for each in platforms]
    tests = [_python_test(each) for each in pythons]

    def fits(tags: str) -> bool:
        if not tags:
            return True
        python, abi, platform = (part.split(".") for part in tags.lower().split("-"))
        runs = not tests or any(test(each, abi) for test in tests for each in python)
        return runs and (
            not wanted
            or "any" in platform
            or any(fnmatchcase(each, pattern) for each in platform for pattern in wanted)
        )

    return fits


def _python_test(wanted: str) -> Callable[[str, Collection[str]], bool]:
    """Whether a wheel with a Python tag and these ABI tags is for ``3.12``, or has a tag."""
    version = _PYTHON_MINOR.match(wanted)
    if version is None:
        return lambda tag, abi: fnmatchcase(tag, wanted)
    major, minor = version[1], int(version[2])

    def runs(tag: str, abi: Collection[str]) -> bool:
        found = _TAG.match(tag)
        if found is None or found[2] != major:
            return False
        implementation, _, its_minor = found.groups()
        if implementation == "py" or "abi3" in abi:
            return int(its_minor or 0) <= minor
        return its_minor == str(minor)

    return runs
