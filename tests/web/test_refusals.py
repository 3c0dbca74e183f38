"""What clients see of refusals, and which events these cause."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from proxy.events import AnswerServed, Event, FileRefused
from proxy.model import ProjectStatus
from proxy.runtime import SharedCounters
from proxy.web import COUNTER_COLUMNS, Counters, FastPathEvents, MetricLabels, RefusalEvents
from proxy.web.errors import phrase
from tests.support.clock import Clock
from tests.support.fake_index import FakeIndex
from tests.support.judging import policies_of
from tests.support.policies import FakePolicy, GuardedFake
from tests.support.site import serving

WHEEL, SDIST = "foo-1.0-py3-none-any.whl", "foo-1.0.tar.gz"
REASON = "foo: an sdist; see wiki/sdists"
NO_SDISTS = {"kind": "files", "sdists": False, "reason": "see wiki/sdists"}


@pytest.fixture
def index() -> FakeIndex:
    made = FakeIndex("main", {"foo": []})
    for name in (WHEEL, SDIST):
        made.add("foo", name, name.encode() * 10, metadata=True, provenance="https://example.com/p")
        made.add_sibling("foo", f"{name}.metadata", b"Metadata-Version: 2.1")
        made.add_sibling("foo", f"{name}.provenance", b"{}")
    return made


def guarded(index: FakeIndex, *tables: dict[str, Any]) -> GuardedFake:
    return GuardedFake(index, policies_of(*tables))


def address(index: FakeIndex, name: str, digest: str | None = None) -> str:
    (page,) = index.pages.values()
    owner = name.removesuffix(".metadata").removesuffix(".provenance")
    return f"/files/foo/{digest or page.file(owner).address_digest}/{name}"


@pytest.mark.parametrize("digest", [None, "-"])
@pytest.mark.parametrize("suffix", ["", ".metadata", ".provenance"])
@pytest.mark.parametrize(
    ("method", "headers"),
    [("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=0-3"}), ("GET", {"If-None-Match": "*"})],
)
async def test_every_request_for_a_refused_file_is_answered_with_the_reason(
    index: FakeIndex, digest: str | None, suffix: str, method: str, headers: dict[str, str]
) -> None:
    async with serving(guarded(index, NO_SDISTS), help_text="ask #python") as site:
        path = address(index, SDIST + suffix, digest)
        answer = await site.get(path, method, headers)
        raw = await site.raw(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert answer.status == 403
        assert raw.startswith(f"HTTP/1.0 403 Refused by rule p0: {REASON}\r\n".encode())
        assert answer.headers["Waystation-Rule"] == "p0"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        lines = answer.body.decode().splitlines()
        explained = f"http://127.0.0.1:{site.port}/+explain/foo/{SDIST}{suffix}"
        expected = [f"Refused by rule p0: {REASON}", f"More about it: {explained}", "ask #python"]
        assert lines == ([] if method == "HEAD" else expected)


async def test_a_project_with_nothing_left_stays_listed(index: FakeIndex) -> None:
    """Its page is there and is empty; an installer that gets no page would go elsewhere."""
    index.add("bar", "bar-1.0-py3-none-any.whl", b"bar")
    site_of = GuardedFake(index, [FakePolicy(lambda file: file.filename.startswith("foo"))])
    async with serving(site_of, fast=True, twice=True) as site:
        headers = {"Accept": "application/vnd.pypi.simple.v1+json"}
        page = await site.get("/simple/foo/", headers=headers)
        assert page.status == 200
        assert (json.loads(page.body)["files"], json.loads(page.body)["versions"]) == ([], [])
        names = json.loads((await site.get("/simple/", headers=headers)).body)["projects"]
        assert [each["name"] for each in names] == ["bar", "foo"]


async def test_a_program_gets_a_problem_document(index: FakeIndex) -> None:
    async with serving(guarded(index, NO_SDISTS), help_text="ask", prefix="/pypi") as site:
        path = "/pypi" + address(index, SDIST)
        answer = await site.get(path, headers={"Accept": "application/json"})
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert json.loads(answer.body) == {
            "title": "Refused by a rule",
            "status": 403,
            "detail": f"Refused by rule p0: {REASON}",
            "rule": "p0",
            "explained-at": f"http://127.0.0.1:{site.port}/+explain/foo/{SDIST}",
            "help": "ask",
        }


async def test_a_project_that_is_denied_as_a_whole_has_no_page(index: FakeIndex) -> None:
    table = {"kind": "deny", "projects": ["foo"], "show": "hide"}
    async with serving(guarded(index, table), fixed_url=False) as site:
        answer = await site.get("/simple/foo/")
        assert answer.status == 403
        assert answer.headers["Waystation-Rule"] == "p0"
        assert f"http://127.0.0.1:{site.port}/+explain/foo\n" in answer.body.decode()
    assert index.asked == []


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("short", "short"),
        ("two\r\nlines\tand \x00\x7f", "two lines and ?"),
        ("größer als 日本", "gr?er als ?"),
        ("x" * 150, "x" * 150),
        ("x" * 151, "x" * 147 + "..."),
        ("ä" * 200, "?"),
    ],
)
def test_a_phrase_is_short_printable_ascii(sentence: str, expected: str) -> None:
    assert phrase(sentence) == expected


async def test_a_hostile_reason_ends_no_line_of_the_head(index: FakeIndex) -> None:
    reason = "bad\r\nSet-Cookie: x=1\r\n\r\nbody \ud800"
    index.describe("foo", status=ProjectStatus("archived", reason))
    async with serving(guarded(index, {"kind": "status", "refuse": ["archived"]})) as site:
        answer = await site.get(address(index, SDIST))
        assert (answer.status, answer.headers["Waystation-Rule"]) == (403, "p0")
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("status", "reason", "notice"),
    [
        ("archived", None, "archived"),
        ("deprecated", "use\r\nother: b\u00e4r", "deprecated; use other: b?r"),
        ("active", "fine", None),
    ],
)
async def test_the_status_of_a_project_is_in_a_header(
    index: FakeIndex, status: str, reason: str | None, notice: str | None, fast: bool
) -> None:
    index.describe("foo", status=ProjectStatus(status, reason))
    async with serving(index, fast=fast, twice=fast) as site:
        answer = await site.get("/simple/foo/")
        assert (answer.status, answer.headers.get("Waystation-Notice")) == (200, notice)


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ([], "public, max-age=31536000, immutable"),
        ([NO_SDISTS], "private, max-age=31536000, immutable"),
        ([{**NO_SDISTS, "mode": "observe"}], "public, max-age=31536000, immutable"),
    ],
)
async def test_no_shared_cache_keeps_what_a_policy_may_refuse_later(
    index: FakeIndex, tables: list[dict[str, Any]], expected: str
) -> None:
    async with serving(guarded(index, *tables)) as site:
        answer = await site.get(address(index, WHEEL))
        assert answer.headers["Cache-Control"] == expected
        answer = await site.get(address(index, WHEEL, "-"))
        assert answer.headers["Cache-Control"] == expected[:7].strip(",") + ", max-age=600"


@pytest.mark.parametrize("fast", [False, True])
async def test_a_page_is_reused_for_a_short_time_where_policies_may_learn_more(
    index: FakeIndex, clock: Clock, fast: bool
) -> None:
    index.describe("foo", fresh_until=clock() + 500, stale_until=clock() + 500, checked=clock())
    for changing, expected in ((False, "max-age=500"), (True, "max-age=60")):
        policy = FakePolicy(lambda file: file.filename == SDIST)
        policy.is_changing = changing
        site_index = GuardedFake(index, [policy], clock)
        async with serving(site_index, fast=fast, twice=fast, clock=clock) as site:
            assert (await site.get("/simple/foo/")).headers["Cache-Control"] == expected


class Refusals:
    def __init__(self) -> None:
        self.refused: list[FileRefused] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, FileRefused):
            self.refused.append(event)


async def test_refusals_are_events_and_counted_by_rule(index: FakeIndex, clock: Clock) -> None:
    """What an observing policy lets pass is announced once an hour for each file and client."""
    heard, rules = (
        Refusals(),
        [("main", "p0", "enforce", "files"), ("main", "p1", "observe", "deny")],
    )
    labels = MetricLabels(refusals=tuple(rules))
    counters = Counters(SharedCounters.single_process().slice(0, COUNTER_COLUMNS), labels)
    refusals = RefusalEvents(heard, lambda rule: {"p0": "files", "p1": "deny"}[rule], clock)
    observed = {"kind": "deny", "projects": ["foo"], "mode": "observe"}
    async with serving(
        guarded(index, NO_SDISTS, observed), fast=True, observers=[refusals.observe]
    ) as site:
        for _ in range(3):
            assert (await site.get(address(index, WHEEL))).status == 200
            assert (await site.get(address(index, SDIST))).status == 403
            await site.get("/simple/foo/")
        clock.advance(3600)
        await site.get(address(index, WHEEL) + "?another=request")
        await site.get(address(index, WHEEL) + ".metadata")
    for event in heard.refused:
        counters.observe(event)
    found = [(event.mode, event.filename) for event in heard.refused]
    assert found.count(("enforce", SDIST)) == 3
    assert found.count(("observe", WHEEL)) == 2
    assert found.count(("observe", f"{WHEEL}.metadata")) == 1
    counters.observe(msgspec.structs.replace(heard.refused[0], rule="of-a-reload"))
    other = [("other", "other", mode, "other") for mode in ("enforce", "observe")]
    expected = {rules[0]: 3, rules[1]: 3, other[0]: 0, other[1]: 1}
    assert dict(counters.shown().refusals()) == expected
    first = next(event for event in heard.refused if event.mode == "observe")
    assert (first.rule, first.kind, first.index) == ("p1", "deny", "main")
    assert (first.project, first.client, first.reason) == ("foo", "127.0.0.1", "foo is denied")


async def test_an_observing_policy_changes_no_byte_of_an_answer(index: FakeIndex) -> None:
    answers = []
    for tables in ([], [{"kind": "deny", "projects": ["*"], "mode": "observe"}]):
        async with serving(guarded(index, *tables)) as site:
            for path in ("/simple/foo/", address(index, WHEEL), address(index, SDIST)):
                answer = await site.get(path)
                kept = {key: value for key, value in answer.headers.items() if key != "Date"}
                answers.append((answer.status, kept, answer.body))
    assert answers[:3] == answers[3:]


async def test_the_event_of_an_answer_names_observing_rules_on_both_paths(
    index: FakeIndex,
) -> None:
    served: list[AnswerServed] = []
    table = {"kind": "deny", "projects": ["foo"], "mode": "observe"}

    def note(event: Event) -> None:
        if isinstance(event, AnswerServed):
            served.append(event)

    fast = FastPathEvents(note)
    async with (
        serving(guarded(index, table), fast=True, observers=[note], on_hit=fast.hit) as site,
        fast.running(),
    ):
        for _ in range(2):
            await site.get(address(index, WHEEL))
    assert [event.cached for event in served] == [False, True]
    assert {event.observed for event in served} == {(("p0", "foo is denied"),)}
