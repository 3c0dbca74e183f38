"""Rules of time: ``cooldown`` lets files pass at an age, as-of shows the uploads of an instant.

Upload times are compared as text where that decides: parsing those of 10,000 files would take
longer than all other rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from proxy.model import File
from proxy.policies.base import PageView
from proxy.policies.configured import Finding, Rule
from proxy.policies.parsed_page import Release

DAY = 86400.0
"""Seconds."""

Unknown = Literal["refuse", "allow", "first-seen"]
"""The treatment of a file without an upload time: ``first-seen`` takes the time at which the index
first listed the file."""


class Cooldown(Rule):
    """Refuses a file until ``age`` seconds after the file was ready.

    The files that come within ``batch`` seconds of the first of their version are ready with the
    last of these: with an sdist some minutes before its wheels, installers would build it. A file
    that is added later waits by itself. A time in the future counts as now.
    """

    def __init__(
        self,
        age: float,
        batch: float = DAY,
        unknown: Unknown = "refuse",
        *,
        spares_locked: bool = False,
    ) -> None:
        self._age = age
        self._batch = min(batch, age)  # else a late file of a batch would hide those that passed
        self._unknown = unknown
        self._spares_locked = spares_locked

    def judge(self, view: PageView) -> Iterator[Finding]:
        cutoff = _second(max(0.0, view.now - self._age))
        for release in view.parsed.releases:
            if release.last_upload is None or release.last_upload >= cutoff:
                yield from self._judge_release(view, release)

    def _judge_release(self, view: PageView, release: Release) -> Iterator[Finding]:
        times = {each: self._time(view, each) for each in release.positions}
        known = [time for time in times.values() if time is not None and time <= view.now]
        batch_end = min(known, default=0.0) + self._batch
        batch_ready = max((time for time in known if time <= batch_end), default=0.0)
        unknown: list[int] = []
        waiting: dict[float, list[int]] = {}
        for position, time in times.items():
            if time is None:
                unknown.append(position)
                continue
            ready = batch_ready if time <= min(batch_end, view.now) else min(time, view.now)
            if view.now < ready + self._age:
                waiting.setdefault(ready, []).append(position)
        what = f"{view.page.project} {release.text}".strip()
        if unknown and self._unknown != "allow":
            yield self._finding(unknown, f"{what} has no upload time", None)
        for ready, positions in waiting.items():
            until = ready + self._age
            reason = f"{what} is of {_minute(ready)}, allowed from {_minute(until)}"
            yield self._finding(positions, reason, until)

    def _finding(self, positions: list[int], reason: str, until: float | None) -> Finding:
        return Finding(positions, reason, until, spares_locked=self._spares_locked)

    def _time(self, view: PageView, position: int) -> float | None:
        """When the file was uploaded, by Unix time in seconds."""
        file = view.page.files[position]
        time = _uploaded(file)
        if time is None and self._unknown == "first-seen":
            time = view.page.first_seen.get(view.parsed.files[position].distribution)
        return time


class AsOf(Rule):
    """Refuses files that were uploaded at an instant or later; yanks are those of today."""

    def __init__(self, instant: float) -> None:
        """``instant``: Unix time in whole seconds."""
        self._bound = _second(instant)

    def judge(self, view: PageView) -> Iterator[Finding]:
        for release in view.parsed.releases:
            if release.last_upload is not None and release.last_upload[:-1] < self._bound:
                continue
            late, unknown = [], []
            for position in release.positions:
                uploaded = view.page.files[position].uploaded
                if uploaded is None:
                    unknown.append(position)
                elif uploaded[:-1] >= self._bound:
                    late.append(position)
            what = f"{view.page.project} {release.text}".strip()
            if late:
                yield Finding(late, f"{what} was not uploaded before {self._bound}Z")
            if unknown:
                yield Finding(unknown, f"{what} has no upload time")


def _uploaded(file: File) -> float | None:
    try:
        return file.uploaded_at.timestamp() if file.uploaded_at else None
    except (ValueError, OverflowError):  # the first and the last year have no time in each zone
        return None


def _second(time: float) -> str:
    """``2026-01-02T03:04:05``, which sorts before the texts of times in and after that second."""
    return datetime.fromtimestamp(math.floor(time), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _minute(time: float) -> str:
    """The next full minute: what is promised for an instant is true then."""
    return datetime.fromtimestamp(math.ceil(time / 60) * 60, UTC).strftime("%Y-%m-%dT%H:%MZ")
