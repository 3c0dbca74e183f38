"""The versions that an advisory is about: listed ones, and intervals made from events.

The rules are those of the OSV schema 1.x (``affected[].versions`` and ``affected[].ranges``),
with versions compared by PEP 440.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import itemgetter

import msgspec
from packaging.version import Version

FIRST = "0"
"""As the value of ``introduced``: every version, also those below 0."""
_ORDER = ("introduced", "fixed", "last_affected")
"""Of events with equal versions."""


@lru_cache(maxsize=16_384)
def parse_version(text: str) -> Version | None:
    """None for a text that is no version (PEP 440)."""
    try:
        return Version(text)
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        return None


def public(version: Version) -> Version:
    """The version without its local part: ``1.2+cu121`` is affected where ``1.2`` is."""
    return Version(version.public) if version.local else version


class Interval(msgspec.Struct, frozen=True, array_like=True):
    """Affected versions from ``start`` to ``stop``. All texts are versions."""

    start: str | None
    """The first; None: there is no lower bound."""
    stop: str | None
    """None: there is no upper bound."""
    includes_stop: bool = False
    """``stop`` is the last affected version, not the first unaffected one."""
    is_fixed: bool = False
    """``stop`` is a version that fixes the fault."""


class Affected(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """The versions of one project that an advisory is about."""

    versions: tuple[str, ...] = ()
    """Normalized, or as written if they are no versions."""
    intervals: tuple[Interval, ...] = ()

    def has(self, text: str, version: Version | None) -> bool:
        """Whether this version is affected.

        ``version`` is ``text``, parsed. As for every rule that denies, what cannot be compared
        counts as affected: a text that is no version is inside of every interval, and an empty
        one is every version.
        """
        if version is None:
            return text in self.listed or bool(self.intervals) or not text
        bare = public(version)
        return (
            version in self.listed
            or bare in self.listed
            or any(is_inside(bare, bounds) for bounds in self.bounds)
        )

    @property
    def has_all(self) -> bool:
        """Whether every version of the project is affected."""
        return any(each.start is None and each.stop is None for each in self.intervals)

    @cached_property
    def listed(self) -> frozenset[Version | str]:
        """``1.0`` equals ``1.0.0`` as a version, and not as text."""
        return frozenset(parse_version(each) or each for each in self.versions)

    @cached_property
    def bounds(self) -> tuple[Bounds, ...]:
        """The intervals with parsed versions, in the same order."""
        return tuple(
            (
                parse_version(each.start) if each.start else None,
                parse_version(each.stop) if each.stop else None,
                each.includes_stop,
            )
            for each in self.intervals
        )


class OrderedVersions:
    """The versions of a page, in order, so that many of them are compared with few intervals."""

    def __init__(self, versions: Sequence[tuple[str, Version | None]]) -> None:
        """Texts and, for those that are versions, the parsed ones."""
        self._exact: dict[Version | str, list[int]] = {}
        self._unordered: list[int] = []
        """As in ``Affected.has``: texts that are no versions are inside of every interval."""
        self._unnamed: list[int] = []
        public_ones: list[tuple[Version, int]] = []
        for number, (text, version) in enumerate(versions):
            if version is None:
                self._exact.setdefault(text, []).append(number)
                self._unordered.append(number)
                self._unnamed += [] if text else [number]
                continue
            bare = public(version)
            for each in {version, bare}:
                self._exact.setdefault(each, []).append(number)
            public_ones.append((bare, number))
        public_ones.sort(key=itemgetter(0))
        self._versions = [version for version, _ in public_ones]
        self._numbers = [number for _, number in public_ones]

    def affected_by(self, affected: Affected) -> set[int]:
        """The positions of the versions that are affected, as ``Affected.has`` says of each."""
        found = set(self._unnamed)
        for listed in affected.listed:
            found.update(self._exact.get(listed, ()))
        for start, stop, includes_stop in affected.bounds:
            find_end = bisect_right if includes_stop else bisect_left
            first = 0 if start is None else bisect_left(self._versions, start)
            last = len(self._versions) if stop is None else find_end(self._versions, stop)
            found.update(self._numbers[first:last])
            found.update(self._unordered)
        return found


Bounds = tuple[Version | None, Version | None, bool]


def is_inside(version: Version, bounds: Bounds) -> bool:
    """Whether a version without local part is in the interval."""
    start, stop, includes_stop = bounds
    if start is not None and version < start:
        return False
    return stop is None or version < stop or (includes_stop and version == stop)


def normalized(versions: Iterable[str]) -> tuple[str, ...]:
    """Each version once, in normalized form, sorted as text."""
    return tuple(sorted({str(parse_version(each) or each) for each in versions}))


def intervals_of(events: Iterable[Mapping[str, str]]) -> list[Interval]:
    """The intervals that the events of one range mean, in any order.

    Raises ``ValueError`` for an event that is no pair of a known kind and a version: what such a
    range means is not known.
    """
    placed: list[tuple[bool, Version | None, int, str]] = []
    limits: list[Version] = []
    for event in events:
        ((kind, text),) = event.items()
        if kind == "limit":
            limits += [] if text == "*" else [_required(text)]
            continue
        order = _ORDER.index(kind)
        version = None if kind == "introduced" and text == FIRST else _required(text)
        placed.append((version is not None, version, order, kind))
    placed.sort(key=lambda each: (each[0], each[1] or Version("0"), each[2]))
    limit = max(limits, default=None)
    return [each for found in _walk(placed) if (each := _below(found, limit))]


def _walk(events: Iterable[tuple[bool, Version | None, int, str]]) -> list[Interval]:
    found: list[Interval] = []
    is_open, start = False, None
    for _, version, _, kind in events:
        if kind == "introduced":
            start = start if is_open else version
            is_open = True
        elif is_open:
            is_open, fixes = False, kind == "fixed"
            first = str(start) if start else None
            found.append(Interval(first, str(version), not fixes, fixes))
    if is_open:
        found.append(Interval(str(start) if start else None, None))
    return [each for each in found if not each.is_fixed or each.start != each.stop]


def _below(interval: Interval, limit: Version | None) -> Interval | None:
    """The part of the interval that is below the limit; None if it is empty."""
    start, stop = parse_version(interval.start or ""), parse_version(interval.stop or "")
    if limit is None or (stop is not None and stop < limit):
        return interval
    if start is not None and start >= limit:
        return None
    if stop == limit and interval.is_fixed:
        return interval
    return Interval(interval.start, str(limit))


def _required(text: str) -> Version:
    version = parse_version(text)
    if version is None:
        raise ValueError(f"not a version: {text!r}")
    return version
