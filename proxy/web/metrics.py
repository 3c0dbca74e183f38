"""``/metrics``: the counters of all processes in the text format of Prometheus.

What a server counts, over all of its processes. An observer: everything comes by events.

A number in shared memory is all it takes; a metrics library would keep files, locks and labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from aiohttp import web

from proxy import __version__
from proxy.events import (
    AnswerServed,
    ChangeOutcome,
    Event,
    Evicted,
    FileChanged,
    Outcome,
    Prefetched,
    PrefetchResult,
    RequestKind,
    UpstreamAsked,
)
from proxy.runtime import SharedCounters

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Metrics:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def page(self, request: web.Request) -> web.Response:
        body = "".join(f"{line}\n" for line in self._lines()).encode()
        return web.Response(body=body, headers=_HEADERS | {"Content-Type": CONTENT_TYPE})

    def _lines(self) -> Iterator[str]:
        yield "# HELP waystation_info What is running."
        yield "# TYPE waystation_info gauge"
        yield _line("waystation_info", {"version": __version__}, 1)
        for family in FAMILIES:
            yield f"# HELP {family.name} {family.about}"
            yield f"# TYPE {family.name} counter"
            for labels, value in self._counters.series(family):
                if value or family is not REQUESTS:  # most of these never occur
                    yield _line(family.name, labels, value)


def _line(name: str, labels: Mapping[str, str], value: int) -> str:
    """No value of ours needs escaping."""
    told = ",".join(f'{label}="{each}"' for label, each in labels.items())
    return f"{name}{{{told}}} {value}" if told else f"{name} {value}"


NO_LABEL = "none"
"""Stands for the outcome of requests that are about no page or file, or did not get one."""
OTHER_LABEL = "other"
"""Stands for statuses that are not expected."""
COUNTED_STATUSES = (
    *("200", "206", "301", "304", "400", "403", "404", "405", "406", "412", "416", "499"),
    *("500", "502", "503", "504", OTHER_LABEL),
)


class Family(NamedTuple):
    """Counters of one thing, told apart by labels."""

    name: str
    """Ends in the unit and ``total``, as is the custom of Prometheus."""
    about: str
    labels: Mapping[str, Sequence[str]]
    """By name: all values there are."""


REQUESTS = Family(
    "waystation_requests_total",
    "Requests of clients, by what was asked for, where the answer came from, and its status"
    " (499: the client left before there was one).",
    {"kind": tuple(RequestKind), "outcome": (*Outcome, NO_LABEL), "status": COUNTED_STATUSES},
)
SENT = Family(
    "waystation_sent_bytes_total", "Bytes of bodies sent to clients.", {"kind": tuple(RequestKind)}
)
UPSTREAM = Family(
    "waystation_upstream_requests_total",
    "Requests to upstream, further tries not counted; failed: no answer that can be used.",
    {"result": ("answered", "failed")},
)
CHANGED = Family(
    "waystation_changed_files_total",
    "Files under whose name upstream lists other bytes than before, as seen by each process.",
    {"outcome": tuple(ChangeOutcome)},
)
PREFETCHED = Family(
    "waystation_speculation_total",
    "Pages and files fetched before anybody asked for them, those then used, and those not used"
    " within ten minutes.",
    {"fate": tuple(PrefetchResult)},
)
PREFETCHED_BYTES = Family(
    "waystation_speculation_bytes_total", "Bytes of such files.", {"fate": tuple(PrefetchResult)}
)
EVICTED = Family("waystation_evicted_files_total", "Files deleted from the cache for space.", {})
EVICTED_BYTES = Family("waystation_evicted_bytes_total", "Bytes of such files.", {})
FAMILIES = (
    *(REQUESTS, SENT, UPSTREAM, CHANGED),
    *(PREFETCHED, PREFETCHED_BYTES, EVICTED, EVICTED_BYTES),
)

_SERIES = [(each.name, *values) for each in FAMILIES for values in product(*each.labels.values())]
_PLACES = {series: at for at, series in enumerate(_SERIES)}
COUNTER_COLUMNS = len(_SERIES)
"""Of the board."""


class Counters:
    """Counts events in this process's row, and adds up the rows of all."""

    def __init__(self, board: SharedCounters) -> None:
        """``board``: of ``COUNTER_COLUMNS`` columns."""
        self._board = board

    def observe(self, event: Event) -> None:
        match event:
            case AnswerServed():
                self._served(event)
            case UpstreamAsked():
                self._add(1, UPSTREAM, "failed" if event.failed else "answered")
            case FileChanged():
                self._add(1, CHANGED, event.outcome)
            case Prefetched():
                self._add(1, PREFETCHED, event.result)
                self._add(event.size, PREFETCHED_BYTES, event.result)
            case Evicted():
                self._add(event.files, EVICTED)
                self._add(event.size, EVICTED_BYTES)

    def series(self, family: Family) -> Iterator[tuple[Mapping[str, str], int]]:
        """The labels of each counter of the family, and the sum over all processes."""
        sums = self._board.sums()
        for values in product(*family.labels.values()):
            at = _PLACES[family.name, *values]
            yield dict(zip(family.labels, values, strict=True)), sums[at]

    def _served(self, event: AnswerServed) -> None:
        status = str(event.status)
        known = status if status in COUNTED_STATUSES else OTHER_LABEL
        requests = len(event.timings)
        self._add(requests, REQUESTS, event.kind, event.outcome or NO_LABEL, known)
        self._add(requests * event.sent, SENT, event.kind)

    def _add(self, number: int, family: Family, *labels: str) -> None:
        self._board.own_row[_PLACES[family.name, *labels]] += number
