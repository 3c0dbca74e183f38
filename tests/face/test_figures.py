"""Figures over time: gaps, restarts, damaged records, plots; and what happened lately."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from proxy.events import AnswerServed, FileRefused, Outcome, RequestKind, UpstreamFailed
from proxy.face import RANGES, CountedInterval, History, Recent
from proxy.face.past_figures import by_columns
from proxy.face.recent import most_asked
from proxy.model import ProjectName
from proxy.presentation import Series, plot, sparkline
from proxy.runtime import SharedCounters
from proxy.storage import Key, MemoryRecords, RecordKind
from proxy.web import COUNTER_COLUMNS, Counters, Figures, figures_of
from tests.support.clock import Clock

HOUR, DAY, MONTH = RANGES


def counters() -> Counters:
    return Counters(SharedCounters([memoryview(bytearray(8 * COUNTER_COLUMNS)).cast("Q")]))


def history(records: MemoryRecords, clock: Clock, *, samples: bool = True) -> History:
    return History(counters(), records, "s", samples=samples, shared=False, clock=clock)


def served(outcome: Outcome = Outcome.HIT, status: int = 200, sent: int = 10) -> AnswerServed:
    return AnswerServed(
        client="127.0.0.1",
        method="GET",
        path="/files/x",
        kind=RequestKind.FILE,
        project=ProjectName("demo"),
        filename="demo-1.0.tar.gz",
        status=status,
        outcome=outcome,
        sent=sent,
        timings=((0.0, 2.0), (0.0, 3.0)),
    )


def test_figures_equal_the_counters() -> None:
    counted = counters()
    for event in (served(), served(Outcome.MISS), served(status=502), served(status=403)):
        counted.observe(event)
    found = figures_of(counted)
    assert (found.here, found.fetched, found.failed, found.refused) == (2, 2, 2, 2)
    assert (found.sent, found.saved, found.timed) == (80, 60, 8)
    assert found.since(Figures(here=1)) and found.since(Figures(here=3)) is None


async def test_the_past_survives_a_restart_and_a_clock_that_was_set_back(clock: Clock) -> None:
    records = MemoryRecords()
    first = history(records, clock)
    first.add(CountedInterval(Figures(here=5), 10.0), clock())
    await first.close()
    clock.now += 600
    second = history(records, clock)
    await second.start()
    second.add(CountedInterval(Figures(here=7), 10.0), clock())
    total, intervals = await second.totals(HOUR)
    assert total.here == 12 and sum(each is not None for each in intervals) == 2
    clock.now -= 300
    total, _ = await second.totals(HOUR)
    assert total.here == 5  # what lies ahead is not shown
    second.add(CountedInterval(Figures(here=1), 10.0), clock())
    assert (await second.totals(DAY))[0].here == 6
    await second.close()


@pytest.mark.parametrize("data", [b"\x00damaged", b"\x81\xa21h\x90", b"x" * 2**21])
async def test_a_record_that_is_not_ours_is_ignored_and_the_log_says_so(
    clock: Clock, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    records = MemoryRecords()
    await records.put(Key(RecordKind.ACTIVITY, "s", "history"), data)
    await records.put(Key(RecordKind.ACTIVITY, "s", "recent-0"), data)
    past, recent = history(records, clock), Recent(records, "s", 0, clock)
    await past.start()
    await recent.start()
    assert (await past.totals(MONTH))[0] == Figures()
    assert await recent.all() == ([], {})
    assert len([each for each in caplog.messages if "damaged" in each]) == 2
    await past.close()
    await recent.close()


async def test_what_processes_saw_is_shown_together(clock: Clock) -> None:
    records = MemoryRecords()
    one, other = Recent(records, "s", 0, clock), Recent(records, "s", 1, clock)
    await one.start()
    await other.start()
    one.observe(served())
    other.observe(served())
    other.observe(UpstreamFailed("main", "page of \udcff", "broken"))
    refusal = {"index": "main", "kind": "cooldown", "client": "1.2.3.4", "reason": "too new"}
    one.observe(
        FileRefused(
            rule="week", mode="enforce", project=ProjectName("x"), filename="x.whl", **refusal
        )
    )
    await other.close()
    happenings, popular = await one.all()
    assert {each.kind for each in happenings} == {"failed", "refused"}
    assert "1.2.3.4" not in str(happenings)
    assert most_asked(popular, 1, clock()) == [("demo", 4)]
    await one.close()


def test_projects_of_the_last_days_are_added_up() -> None:
    popular = {10: Counter(a=3), 9: Counter(a=1, b=9), 1: Counter(c=99)}
    assert most_asked(popular, 1, 10 * 86400.0) == [("a", 3)]
    assert most_asked(popular, 5, 10 * 86400.0) == [("b", 9), ("a", 4)]


@pytest.mark.parametrize("values", [[], [None], [0.0], [5.0, 5.0], [1e15, 1.0], [None, 2.0, None]])
@pytest.mark.parametrize("stacked", [True, False])
def test_any_values_make_a_plot(values: list[float | None], stacked: bool) -> None:
    series = [Series("a<b>", values), Series("c", values)]
    drawn = str(plot('Bytes "sent"', series, ["10:00", "11:00"], stacked=stacked))
    assert "nan" not in drawn and "inf" not in drawn and "style=" not in drawn
    assert 'role="img"' in drawn and "&#34;sent&#34;" in drawn
    assert "nan" not in sparkline("x", values)


def test_a_gap_is_no_zero() -> None:
    counted = CountedInterval(Figures(here=20), 10.0)
    intervals = [counted, None, counted, counted]
    values = by_columns(intervals, lambda each: each.here, 4, per_second=True)
    assert values == [2.0, None, 2.0, 2.0]
    drawn = str(plot("x", [Series("a", values)], ["", ""], stacked=False))
    (path,) = re.findall(r'class="series p1" d="([^"]+)"', drawn)
    assert path.count("M") == 2
