"""Scenarios and their context: sizes, rounds, folders and recorded measurements."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import graph
from benchmarks.measures import Curve, Row
from benchmarks.processes import busy_share

CALM = 0.15
"""Share of all cores' time that may be in use, ..."""
WATCHED = 0.25
"""... in so many seconds before a measurement."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work there is."""

    seconds: int
    """Of each run of the load generator."""
    rest: float
    """Seconds without work in the background and without requests upstream."""
    patience: float
    """Seconds to wait for a calm machine before each measurement."""
    pages: Sequence[int]
    """Files of a page."""
    wheels: Sequence[int]
    """Bytes of small wheels."""
    large: int
    """Bytes of a large file."""
    reads: int
    """How often it is read for one measurement."""
    crowd: int
    """Clients on one uncached file ..."""
    crowd_size: int
    """... and its bytes."""
    probes: int
    """Pages asked for beside large downloads."""
    cold: int
    """Cold requests a round."""
    cold_size: int
    """Bytes of a cold file."""
    memory_pages: int
    roots: int
    """Names that an install asks for."""
    latency: float
    """Of upstream, in seconds."""
    rate: float
    """Of a stream from upstream, in bytes per second."""
    local: int
    """Distributions in a directory."""
    cold_files: int
    """Of all cold pages of one measurement, about."""
    grown_pages: Sequence[int]
    connections: Sequence[int]
    projects: Sequence[int]
    """Of the curves: files of a page, connections, cached projects."""


FULL = Sizes(
    seconds=3,
    rest=0.5,
    patience=20.0,
    pages=(3, 300, 10_000),
    wheels=(11_264, 65_536),
    large=100_000_000,
    reads=8,
    crowd=50,
    crowd_size=50_000_000,
    probes=400,
    cold=8,
    cold_size=20_000_000,
    memory_pages=16,
    roots=graph.ROOTS,
    latency=0.05,
    rate=100e6 / 8,
    local=5_000,
    cold_files=20_000,
    grown_pages=(10, 100, 1_000, 10_000),
    connections=(1, 4, 16, 64, 256),
    projects=(100, 1_000, 10_000, 100_000),
)
SHORT = Sizes(
    seconds=1,
    rest=0.1,
    patience=0.0,
    pages=(3,),
    wheels=(11_264,),
    large=2_000_000,
    reads=1,
    crowd=5,
    crowd_size=1_000_000,
    probes=20,
    cold=1,
    cold_size=1_000_000,
    memory_pages=2,
    roots=3,
    latency=0.002,
    rate=100e6 / 8,
    local=50,
    cold_files=200,
    grown_pages=(10, 100),
    connections=(1, 8),
    projects=(10, 30),
)


@dataclass(slots=True)
class Context:
    work: Path
    """A folder that goes when all is done."""
    sizes: Sizes
    rounds: int
    patience: float = 600.0
    """Seconds to wait for calm, in all."""
    done: int = 0
    """Rounds of the scenario that runs, or ran last."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of contenders that were installed for this."""
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """By row and contender."""
    points: dict[str, dict[float, list[float]]] = field(default_factory=dict)
    """By curve and amount of work."""

    def record(self, row: str, contender: str, value: float) -> None:
        self.samples.setdefault(row, {}).setdefault(contender, []).append(value)

    def point(self, curve: str, work: float, cost: float) -> None:
        self.points.setdefault(curve, {}).setdefault(work, []).append(cost)

    def each_round(self, at_most: int = 1_000) -> Iterator[int]:
        """The numbers of the rounds; the contenders take turns within each."""
        rounds = self.done = min(self.rounds, at_most)
        for number in range(rounds):
            say(f"  round {number + 1} of {rounds}")
            yield number

    def calm(self) -> None:
        """Wait until the machine has little else to do, or patience is at an end."""
        left = min(self.sizes.patience, self.patience)
        while left > 0 and busy_share(WATCHED) > CALM:
            left -= WATCHED
            self.patience -= WATCHED

    def folder(self, name: str, fast: bool = False) -> Path:
        """A new folder; ``fast``: in a memory file system, if there is one."""
        memory = Path("/dev/shm")
        if fast and memory.is_dir():
            base = memory / self.work.name
            base.mkdir(exist_ok=True)
        else:
            base = self.work
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))

    def wheels(self) -> Path:
        """The folder with the wheels of the installs, made at the first use."""
        folder = self.work / "wheels"
        if not folder.exists():
            say("  making wheels")
            graph.build(folder)
        return folder


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    about: str
    run: Callable[[Context], None]
    rows: Sequence[Row] = ()
    curves: Sequence[Curve] = ()
    compared: Sequence[str] = ()
    """Contenders, where the table shows them side by side and none is judged."""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
