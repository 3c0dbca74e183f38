"""``/metrics``: its form, and that requests of every kind are counted once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.events import Outcome, RequestKind
from proxy.runtime.shared_memory import SharedCounters, new_memory
from proxy.web.counters import Counters
from proxy.web.fast_path_events import FastPathEvents
from proxy.web.metric_families import BREAKER_OPEN, CONNECTIONS, COUNTER_COLUMNS, LOOP_LAG
from tests.support.fake_index import FakeIndex
from tests.support.metrics_text import Shown, read, total
from tests.support.site import Site, serving

SDIST = "foo-1.0.tar.gz"


@pytest.fixture
async def site(stock: FakeIndex) -> AsyncIterator[Site]:
    counters = Counters(SharedCounters.single_process().slice(0, COUNTER_COLUMNS))
    stock.add("foo", SDIST, b"bytes")
    async with serving(stock, observers=[counters.observe], counters=counters) as made:
        yield made


async def shown(site: Site) -> Shown:
    return read((await site.get("/metrics")).body.decode())


async def test_the_metrics_are_in_the_format_of_prometheus(site: Site) -> None:
    answer = await site.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    families = list(text_string_to_metric_families(answer.body.decode()))
    assert {each.type for each in families[1:]} == {"counter", "gauge", "histogram"}
    assert all(each.documentation for each in families)
    assert (families[0].name, families[0].samples[0].value) == ("waystation_info", 1)
    assert len({each.name for each in families}) == len(families) > 5


async def test_the_metrics_accept_the_methods_of_other_paths(site: Site) -> None:
    assert (await site.get("/metrics", "HEAD")).body == b""
    assert (await site.get("/metrics", "POST")).status == 405


async def test_without_counters_there_is_none(stock: FakeIndex) -> None:
    async with serving(stock) as site:
        assert (await site.get("/metrics")).status == 404


async def test_below_a_prefix_it_is_found_too(stock: FakeIndex) -> None:
    counters = Counters(SharedCounters.single_process().slice(0, COUNTER_COLUMNS))
    async with serving(stock, prefix="/pypi", counters=counters) as site:
        assert (await site.get("/pypi/metrics")).status == 200


async def test_times_of_answers_are_counted_by_kind(stock: FakeIndex, site: Site) -> None:
    for path in ("/simple/foo/", "/simple/foo/", "/simple/nowhere/", "/healthz"):
        await site.get(path)
    now = await shown(site)
    name = "waystation_answer_seconds"
    assert now[f"{name}_count"][labels(kind="page", fast="no")] == 3
    assert now[f"{name}_count"][labels(kind="other", fast="no")] == 1
    assert now[f"{name}_count"][labels(kind="file", fast="no")] == 0
    assert 0 < now[f"{name}_sum"][labels(kind="page", fast="no")] < 30
    assert now[f"{name}_bucket"][labels(kind="page", fast="no", le="+Inf")] == 3
    assert now[f"{name}_bucket"][labels(kind="page", fast="no", le="30.0")] == 3


async def test_the_lag_of_the_event_loop_is_measured_while_it_runs(site: Site) -> None:
    name = "waystation_event_loop_lag_seconds"
    async with asyncio.timeout(30):
        while not (now := await shown(site))[f"{name}_count"][labels()]:
            await asyncio.sleep(0.1)
    assert now[f"{name}_bucket"][labels(le="+Inf")] >= 1


def test_a_histogram_adds_up_the_times_of_all_processes() -> None:
    memory = new_memory(2)
    rows = [SharedCounters.shared(memory, number) for number in range(2)]
    first, second = (Counters(row.slice(0, COUNTER_COLUMNS)) for row in rows)
    os.close(memory)
    for counters, times in ((first, [0.001]), (second, [0.0011, 4000.0])):
        counters.add_times(times, LOOP_LAG)
    for counters in (first, second):
        ((_, counts, total),) = counters.shown().buckets(LOOP_LAG)
        assert counts[:2] == [1, 2]  # a bound belongs to its bucket
        assert counts[-2:] == [2, 3]
        assert total == 4000.0021


def labels(**named: str) -> frozenset[tuple[str, str]]:
    return frozenset(named.items())


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_every_outcome_is_counted(stock: FakeIndex, site: Site, outcome: Outcome) -> None:
    stock.outcome = outcome
    size = len((await site.get("/simple/foo/")).body)
    now = await shown(site)
    assert total(now, "requests", kind="page", outcome=outcome, status="200") == 1
    assert total(now, "requests", kind="page") == 1
    assert total(now, "sent_bytes", kind="page") == size


async def test_kinds_and_statuses_are_counted_separately(stock: FakeIndex, site: Site) -> None:
    file = f"/files/foo/{stock.pages[next(iter(stock.pages))].files[0].address_digest}/{SDIST}"
    await site.get(file)
    await site.get(file, headers={"Range": "bytes=1-2"})
    await site.get(f"{file}.metadata")
    page = await site.get("/simple/foo/")
    await site.get("/simple/foo/", headers={"If-None-Match": page.headers["ETag"]})
    await site.get("/simple/nowhere/")
    await site.get("/simple/Foo/")
    await site.get("/nothing/here")
    await site.get("/healthz")
    now = await shown(site)
    assert {
        (kind, status): count
        for kind in RequestKind
        for status in ("200", "206", "301", "304", "404")
        if (count := total(now, "requests", kind=kind, status=status))
    } == {
        ("file", "200"): 1,
        ("file", "206"): 1,
        ("metadata", "404"): 1,
        ("page", "200"): 1,
        ("page", "304"): 1,
        ("page", "404"): 1,
        ("page", "301"): 1,
        ("other", "404"): 1,
        ("other", "200"): 1,
    }
    assert total(now, "sent_bytes", kind="file") == len(b"bytes") + 2


@pytest.mark.parametrize("revalidates", [False, True])
async def test_answers_before_parsing_are_counted_like_all_others(
    stock: FakeIndex, revalidates: bool
) -> None:
    stock.add("foo", SDIST, b"bytes")
    stock.outcome = Outcome.LOCAL
    counters = Counters(SharedCounters.single_process().slice(0, COUNTER_COLUMNS))
    hits = FastPathEvents(counters.observe)
    async with serving(
        stock, fast=True, on_hit=hits.hit, observers=[counters.observe], counters=counters
    ) as site:
        async with hits.running():
            page = await site.get("/simple/foo/")
            more = {"If-None-Match": page.headers["ETag"]} if revalidates else {}
            for _ in range(5):
                await site.get("/simple/foo/", headers=more)
            parsed = len(site.lines.fields)
        now = await shown(site)
    assert parsed == (2 if revalidates else 1)
    status, times = ("304", 5) if revalidates else ("200", 6)
    assert total(now, "requests", kind="page", outcome="local", status=status) == times
    assert total(now, "requests", kind="page") == 6
    assert total(now, "sent_bytes", kind="page") == len(page.body) * (1 if revalidates else 6)
    fast = now["waystation_answer_seconds_count"][labels(kind="page", fast="yes")]
    assert fast == 6 - parsed


async def test_errors_inside_are_counted(stock: FakeIndex, site: Site) -> None:
    stock.error = ZeroDivisionError()
    await site.get("/simple/foo/")
    assert total(await shown(site), "requests", kind="page", status="500", outcome="none") == 1


async def test_values_of_now_are_summed_over_processes_and_end_with_them() -> None:
    memory = new_memory(2)
    rows = [SharedCounters.shared(memory, number) for number in range(2)]
    os.close(memory)
    first, second = (Counters(row.slice(0, COUNTER_COLUMNS)) for row in rows)
    for counters, connections in ((first, 2), (second, 3)):
        counters.set(connections, CONNECTIONS)
        counters.set(1, BREAKER_OPEN, "other")
    shown = first.shown()
    assert [value for _, value in shown.series(CONNECTIONS)] == [5]
    assert {labels[0]: value for labels, value in shown.series(BREAKER_OPEN)}["other"] == 1
    Counters(rows[1].slice(0, COUNTER_COLUMNS))  # the successor of a process that was killed
    assert [value for _, value in first.shown().series(CONNECTIONS)] == [2]


async def test_the_process_is_described_as_monitoring_expects(site: Site) -> None:
    now = await shown(site)
    for name in ("process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"):
        assert now[name][labels()] > 0
    assert 0 <= time.time() - now["process_start_time_seconds"][labels()] < 86_400
