"""The metrics of ``/metrics``: names, meanings and labels of counters, histograms and gauges.

Each series is a column of shared memory. Names of indexes come from the settings, and get one of
a fixed number of places, so that the columns are the same in every process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

from proxy.events import (
    AskResult,
    ChangeOutcome,
    CheckResult,
    Outcome,
    PrefetchResult,
    RequestKind,
)

NO_LABEL = "none"
"""The outcome of requests that are about no page or file, or did not get one; no index."""
OTHER_LABEL = "other"
"""Statuses that are not expected, and names that came with a reload."""
COUNTED_STATUSES = (
    *("200", "206", "301", "302", "304", "400", "401", "403", "404", "405", "406", "409", "412"),
    *("413", "416", "429", "499", "500", "502", "503", "504", OTHER_LABEL),
)
PLACES = (NO_LABEL, OTHER_LABEL, *map(str, range(14)))
"""Of names of indexes: two that are always there, and those of the settings, in their order."""
REFUSAL_COLUMNS = 512
"""Counters of refusals: one for each index and rule."""
FAST = ("no", "yes")
"""Whether an answer came from the response cache, before its request was parsed."""


CREDENTIAL_METHODS = (
    *("password", "token", "oidc", "ldap", "proxy", "certificate", NO_LABEL, OTHER_LABEL),
)
"""The kinds of credentials; none: wrong ones."""


class Family(NamedTuple):
    """Counters, or gauges, of one name, with labels."""

    name: str
    """Of a counter, ends in the unit and ``total``, as is the custom of Prometheus."""
    about: str
    labels: Mapping[str, Sequence[str]] = {}
    """By name: all values, or ``PLACES`` for names of indexes."""
    kind: str = "counter"
    """Or ``sum`` or ``max``, of a gauge over all processes."""
    factor: float = 1.0
    """The unit of a column, such as 1e-6 for microseconds of a metric in seconds."""

    @property
    def series(self) -> Iterator[tuple[str, ...]]:
        """The label values of each column."""
        return product(*self.labels.values())

    @property
    def width(self) -> int:
        """Columns for each of them."""
        return 1


REQUEST_COUNTS = Family(
    "waystation_requests_total",
    "Requests of clients, by the index, the kind of resource, where the answer came from, and its"
    " status (499: the client left before there was one).",
    {
        "index": PLACES,
        "kind": tuple(RequestKind),
        "outcome": (*Outcome, NO_LABEL),
        "status": COUNTED_STATUSES,
    },
)
BYTES_SENT = Family(
    "waystation_sent_bytes_total", "Bytes of bodies sent to clients.", {"kind": tuple(RequestKind)}
)
BYTES_SAVED = Family(
    "waystation_saved_bytes_total",
    "Those of them that upstream did not send: from the cache, of a peer, or of another request.",
    {"kind": tuple(RequestKind)},
)
UPSTREAM_REQUESTS = Family(
    "waystation_upstream_requests_total",
    "Requests to upstreams, without retries; failed: no usable answer, timeout: none in time,"
    " refused: not sent, as the circuit breaker was open.",
    {"index": PLACES, "result": tuple(AskResult)},
)
PEER_FILES = Family(
    "waystation_peer_files_total",
    "Files for which peers were asked before upstream; miss: none had it, broken: one did not send"
    " all of it.",
    {"result": ("hit", "miss", "broken")},
)
PEER_BYTES = Family("waystation_peer_bytes_total", "Bytes of files that peers sent.")
CHANGED_FILES = Family(
    "waystation_changed_files_total",
    "Files under whose name upstream lists other bytes than before, as each process saw them.",
    {"outcome": tuple(ChangeOutcome)},
)
PREFETCHED_THINGS = Family(
    "waystation_speculation_total",
    "Pages and files that were prefetched, those then used, and those not used within ten minutes.",
    {"fate": tuple(PrefetchResult)},
)
PREFETCHED_BYTES = Family(
    "waystation_speculation_bytes_total", "Bytes of such files.", {"fate": tuple(PrefetchResult)}
)
EVICTED_FILES = Family(
    "waystation_evicted_files_total", "Files deleted from the cache, for space or by age."
)
EVICTED_BYTES = Family("waystation_evicted_bytes_total", "Bytes of such files.")
STORE_FAILURES = Family(
    "waystation_store_failures_total",
    "Requests to stores that machines share which failed; files: the object store, records: Redis.",
    {"store": ("files", "records"), "what": ("read", "write")},
)
ADVISORY_CHECKS = Family(
    "waystation_advisory_checks_total",
    "Checks of the source of advisories, by what came of them.",
    {"result": tuple(CheckResult)},
)
CREDENTIALS = Family(
    "waystation_auth_total",
    "Credentials that were verified, and not known from a request before; limited: refused without"
    " that, after too many wrong ones. Requests without any have status 401.",
    {"method": CREDENTIAL_METHODS, "result": ("ok", "wrong", "limited")},
)
LIMITED = Family(
    "waystation_limited_total",
    "Requests that were refused with 429, as their client was over a limit.",
    {"work": ("misses", "uploads")},
)
AUDIT_LOST = Family(
    "waystation_audit_lost_total",
    "Answers that the audit lacks, by what could not take them.",
    {"journal": ("database", "lines", "memory")},
)
LEASE_TURNS = Family(
    "waystation_lease_turns_total",
    "Work that replicas share by Redis; held: done here, followed: another replica was waited for,"
    " unshared: done here without Redis.",
    {"result": ("held", "followed", "unshared")},
)
CPU_SECONDS = Family(
    "process_cpu_seconds_total", "CPU time of all processes of the server.", factor=1e-6
)
COUNTERS = (
    *(REQUEST_COUNTS, BYTES_SENT, BYTES_SAVED, UPSTREAM_REQUESTS, PEER_FILES, PEER_BYTES),
    CHANGED_FILES,
    *(PREFETCHED_THINGS, PREFETCHED_BYTES, EVICTED_FILES, EVICTED_BYTES),
    *(STORE_FAILURES, ADVISORY_CHECKS, CREDENTIALS, LIMITED, AUDIT_LOST, LEASE_TURNS),
    CPU_SECONDS,
)

CONNECTIONS = Family("waystation_connections", "Connections of clients.", kind="sum")
REQUESTS_IN_FLIGHT = Family(
    "waystation_requests_in_flight", "Requests that handlers are answering now.", kind="sum"
)
UPSTREAM_IN_FLIGHT = Family(
    "waystation_upstream_requests_in_flight",
    "Requests that upstreams are answering now.",
    {"what": ("page", "file")},
    kind="sum",
)
BREAKER_OPEN = Family(
    "waystation_breaker_open",
    "1 while an upstream cannot be reached, and only every 15 seconds one request is tried.",
    {"index": PLACES},
    kind="max",
)
REDIS_DOWN = Family(
    "waystation_redis_down",
    "1 while Redis does not answer, and is asked again every 5 seconds.",
    kind="max",
)
MEMORY = Family(
    "process_resident_memory_bytes", "Memory of all processes; shared pages count.", kind="sum"
)
OPEN_FILES = Family("process_open_fds", "Open files of all processes.", kind="sum")
GAUGES = (
    *(CONNECTIONS, REQUESTS_IN_FLIGHT, UPSTREAM_IN_FLIGHT, BREAKER_OPEN),
    *(REDIS_DOWN, MEMORY, OPEN_FILES),
)


class Histogram(NamedTuple):
    """Times in seconds, counted in buckets."""

    name: str
    about: str
    bounds: Sequence[float]
    """The largest time of each bucket but the last."""
    labels: Mapping[str, Sequence[str]] = {}
    """As of a family."""

    @property
    def series(self) -> Iterator[tuple[str, ...]]:
        """The label values of each group of columns."""
        return product(*self.labels.values())

    @property
    def width(self) -> int:
        """Columns for each of them: the buckets, and the sum in microseconds."""
        return len(self.bounds) + 2


ANSWER_TIMES = Histogram(
    "waystation_answer_seconds",
    "Time from a request to the end of its answer, by the kind of resource, and whether the answer"
    " was sent before the request was parsed.",
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0),
    {"kind": tuple(RequestKind), "fast": FAST},
)
UPSTREAM_TIMES = Histogram(
    "waystation_upstream_seconds",
    "Time from a request to an upstream to the head of its answer, with redirects and retries.",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    {"index": PLACES, "what": ("page", "file")},
)
LOOP_LAG = Histogram(
    "waystation_event_loop_lag_seconds",
    "How much later than due the event loop of a process ran, measured four times a second.",
    (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)
HISTOGRAMS = (ANSWER_TIMES, UPSTREAM_TIMES, LOOP_LAG)

REFUSALS = Family(
    "waystation_refused_total",
    "Requests that policies refused, by index, rule, mode and kind of policy; observe: files that"
    " passed, once an hour for each client.",
    {"index": (), "rule": (), "mode": (), "kind": ()},
)
REFUSAL_LABELS = tuple(REFUSALS.labels)


class _Columns(dict[tuple[str, ...], int]):
    """The first column of each series, by the name and the label values.

    Computed when it is looked up for the first time: there are 24,000, and few are counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.end = 0
        """The number of columns."""
        self._families: dict[str, tuple[int, Family | Histogram]] = {}
        for each in (*COUNTERS, *GAUGES, *HISTOGRAMS):
            self._families[each.name] = self.end, each
            self.end += prod(map(len, each.labels.values())) * each.width

    def __missing__(self, key: tuple[str, ...]) -> int:
        name, *values = key
        start, family = self._families[name]
        place = 0  # in the order of ``series``: the last label changes first
        for allowed, value in zip(family.labels.values(), values, strict=True):
            place = place * len(allowed) + allowed.index(value)
        self[key] = start + place * family.width
        return self[key]


COLUMNS = _Columns()
FIRST_REFUSAL = COLUMNS.end
COUNTER_COLUMNS = FIRST_REFUSAL + REFUSAL_COLUMNS
"""Columns of shared memory that ``Counters`` needs."""
