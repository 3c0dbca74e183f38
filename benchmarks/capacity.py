"""``python -m benchmarks.capacity``: the replicas, store and Redis that a load needs.

A calculation, not a measurement: from the unit costs in ``results/``, which the scenarios measured
on one core each, and from the load that is given. ``docs/scale.md`` has its table.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measures import OURS

RESULTS = Path(__file__).with_name("results")
BUSY_SHARE = 0.6
"""Share of a core that is planned to be in use at the peak: the rest is for bursts and restarts."""
SPARE = 1
"""Replicas that may be missing at the peak."""
FLEET = 2
"""Replicas at least, so that one may be restarted."""
PAGE_LIFETIME = 600.0
"""Seconds for which a page of PyPI is fresh. Then each replica that is asked for the page looks
into Redis, and one of them revalidates it."""
COMMANDS = 4
"""Of Redis, to look up, lease, store and announce a page."""
PAGE_IN_REDIS = 40_000
"""Bytes of a compressed page with its head, on average of those that are requested."""
CONNECTION_BYTES = 1.25e9 * BUSY_SHARE
"""Bytes a second through a network card of 10 Gbit/s, as planned."""
REQUESTS_OF_INSTALL = 271
"""Requests of the scenario ``real-uv-cold``."""
LONG_FILE = 1_000_000
"""Bytes from which on a file costs by its length, and not by its number."""


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """CPU seconds of a replica."""

    page: float
    """A warm page."""
    file: float
    """A warm small file."""
    byte: float
    """A byte of a large file."""
    cold: float
    """A request that goes to upstream: page, or file that is stored."""

    @classmethod
    def measured(cls, results: Path = RESULTS) -> UnitCosts:
        return cls(
            page=_median(results, "pages", "page-300-JSON-cpu") / 1e6,
            file=_median(results, "small-files", "wheel-65536-cpu") / 1e6,
            byte=_median(results, "large-files", "large-4-cpu") / 1e9,
            cold=_median(results, "real-uv-cold", "real-uv-cpu") / REQUESTS_OF_INSTALL,
        )


def _median(results: Path, scenario: str, row: str) -> float:
    found = json.loads((results / f"{scenario}.json").read_text())
    samples: list[float] = found["samples"][row][OURS]
    return statistics.median(samples)


@dataclass(frozen=True, slots=True)
class Demand:
    """The requests of clients, on average; all rates per second."""

    name: str
    requests: float
    bytes: float
    """Bytes of files and pages that are sent."""
    peak: float = 3.0
    """Times the average."""
    files: float = 0.4
    """Share of the requests that are for files; the others are for pages and metadata."""
    cold: float = 0.01
    """Share of the requests that cannot be answered from the cache, and go to upstream."""
    projects: int = 20_000
    """Projects whose pages are requested within a week."""
    local: float = 0.8
    """Share of the bytes of files that come from the local disks of the replicas."""


@dataclass(frozen=True, slots=True)
class Need:
    cores: float
    """In use at the peak."""
    replicas: int
    gigabits: float
    """Per second to clients, at the peak."""
    redis_commands: float
    """Per second, at the peak."""
    redis_bytes: float
    store_reads: float
    """Per second, at the peak."""
    store_bytes: float
    """Bytes a second out of the store, at the peak."""
    upstream: float
    """Requests a second to upstream, on average."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Examples, in one currency; what is paid differs much with the place."""

    core_hour: float = 0.04
    sent_gigabyte: float = 0.01
    """Out of the replicas' network."""
    store_reads: float = 0.4
    """A million."""
    redis_gigabyte_hour: float = 0.02

    def month(self, demand: Demand, found: Need) -> float:
        """730 hours of the average load; replicas and Redis run as for the peak."""
        hours, seconds = 730, 730 * 3600
        return (
            found.replicas * self.core_hour * hours
            + demand.bytes * seconds / 1e9 * self.sent_gigabyte
            + found.store_reads / demand.peak * seconds / 1e6 * self.store_reads
            + found.redis_bytes / 1e9 * self.redis_gigabyte_hour * hours
        )


def need(demand: Demand, costs: UnitCosts) -> Need:
    requests, sent = demand.requests * demand.peak, demand.bytes * demand.peak
    files = requests * demand.files
    cores = (
        (requests - files) * costs.page
        + files * costs.file
        + max(0.0, sent - files * LONG_FILE / 2) * costs.byte
        + requests * demand.cold * costs.cold
    )
    least = math.ceil(max(cores / BUSY_SHARE, sent / CONNECTION_BYTES))
    replicas = max(FLEET, least + SPARE)
    pages = requests - files
    looked_up = min(pages, replicas * demand.projects / PAGE_LIFETIME)
    revalidated = min(pages / demand.peak, demand.projects / PAGE_LIFETIME)
    return Need(
        cores=cores,
        replicas=replicas,
        gigabits=sent * 8 / 1e9,
        redis_commands=looked_up + COMMANDS * (requests * demand.cold + revalidated),
        redis_bytes=demand.projects * PAGE_IN_REDIS,
        store_reads=files * (1 - demand.local),
        store_bytes=sent * (1 - demand.local),
        upstream=demand.requests * demand.cold + revalidated,
    )


DEMANDS = (
    Demand("a team of 20", 2, 1e6, peak=20, cold=0.05, projects=2_000),
    Demand("a company of 500 with CI", 100, 50e6, peak=5, cold=0.02, projects=10_000),
    Demand("a company of 20,000 with CI", 3_000, 1.5e9, projects=40_000),
    Demand("PyPI itself", 36_000, 25.5e9, peak=2, projects=400_000),
)
"""The last one: 36,000 requests and 25.5 GB a second are what the operators of PyPI and of its
content network have published for 2023 (66 PB a month)."""


HEADS = (
    *("load", "requests/s", "Gbit/s at the peak", "cores", "replicas", "Redis", "store"),
    *("upstream", "a month, by example prices"),
)


def table(demands: Sequence[Demand], costs: UnitCosts, prices: Prices) -> Iterator[str]:
    yield f"| {' | '.join(HEADS)} |"
    yield f"|{' --- |' * len(HEADS)}"
    for demand in demands:
        found = need(demand, costs)
        cells = (
            demand.name,
            f"{demand.requests:,.0f}, peak {demand.requests * demand.peak:,.0f}",
            f"{found.gigabits:,.1f}",
            f"{found.cores:,.2f}",
            f"{found.replicas:,}",
            f"{found.redis_commands:,.0f}/s, {found.redis_bytes / 1e9:,.1f} GB",
            f"{found.store_reads:,.0f}/s, {found.store_bytes * 8 / 1e9:,.1f} Gbit/s",
            f"{found.upstream:,.1f}/s",
            f"{prices.month(demand, found):,.0f}",
        )
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--requests", type=float, help="a second, on average")
    parser.add_argument("--megabytes", type=float, help="a second, on average")
    parser.add_argument("--peak", type=float, default=3.0, help="times the average; default: 3")
    parser.add_argument("--projects", type=int, default=20_000, help="requested within a week")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price; default: 0.04")
    parser.add_argument("--sent-gigabyte", type=float, default=0.01, help="price; default: 0.01")
    options = parser.parse_args()
    demands: Sequence[Demand] = DEMANDS
    if options.requests is not None:
        sent = (options.megabytes or options.requests * 0.5) * 1e6
        given = Demand("yours", options.requests, sent, options.peak, projects=options.projects)
        demands = (given,)
    prices = Prices(options.core_hour, options.sent_gigabyte)
    for line in table(demands, UnitCosts.measured(), prices):
        print(line)


if __name__ == "__main__":
    main()
