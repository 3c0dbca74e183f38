"""Measures and their aims as data; medians, ratios and verdicts. No measuring."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

OURS = "waystation"
Samples = Mapping[str, Sequence[float]]
"""By contender: one value per round."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: our median as a ``kind`` of the median ``against``."""

    key: str
    work: str
    unit: str
    bound: float | None = None
    """The aim; ``None``: shown, not judged."""
    most: bool = False
    """The bound is an upper one."""
    kind: Literal["ratio", "difference", "value"] = "ratio"
    against: str | None = "nginx"
    ours: str = OURS

    def result(self, samples: Samples) -> float | None:
        """The value to compare with the bound; ``None`` if a side was not measured, or is 0."""
        if self.ours not in samples or (self.kind != "value" and self.against not in samples):
            return None
        ours = statistics.median(samples[self.ours])
        if self.kind == "value" or self.against is None:
            return ours
        base = statistics.median(samples[self.against])
        if self.kind == "difference":
            return ours - base
        return ours / base if base else None

    def met(self, samples: Samples) -> bool | None:
        """Whether the aim is reached; ``None`` if the row is not judged."""
        result = self.result(samples)
        if result is None or self.bound is None:
            return None
        return result <= self.bound if self.most else result >= self.bound

    @property
    def aim(self) -> str:
        if self.bound is None:
            return ""
        times = " ×" if self.kind == "ratio" else f" {self.unit}"
        return f"{'≤' if self.most else '≥'} {self.bound:g}{times}"


@dataclass(frozen=True, slots=True)
class Curve:
    """Cost against work. The aim: doubling the work does not more than double the cost."""

    key: str
    title: str
    work: str
    cost: str
    bound: float = 1.1
    """Of the steepest step in a plot with logarithmic axes: 1 is linear, the rest is noise."""

    def steepest(self, points: Mapping[float, Sequence[float]]) -> float | None:
        """The greatest slope between neighbours, by their medians; ``None`` with fewer than two.

        Not one slope for all: at the small end the fixed cost of a request hides every other.
        """
        logs = [(math.log(x), math.log(statistics.median(points[x]))) for x in sorted(points)]
        steps = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in itertools.pairwise(logs)]
        return max(steps, default=None)
