"""The kind cooldown, and as-of: when which files of a page pass."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Denied
from proxy.model import File, ProjectPage, normalize
from proxy.policies import AsOf, Cooldown, PageView, parse_names
from proxy.simple.page import clean_upload_time
from tests.support.judging import NOW, judge, shown
from tests.support.policies import upload_time

HOUR, DAY, WEEK = 3600.0, 86400.0, 7 * 86400.0
SDIST, WHEEL, LATE = (
    "demo-1.0.tar.gz",
    "demo-1.0-py3-none-any.whl",
    "demo-1.0-cp313-cp313-win_amd64.whl",
)
COOLDOWN = {"kind": "cooldown", "age": "7d"}


def uploaded(name: str, ago: float | None) -> File:
    """``ago``: seconds before ``NOW``."""
    return File(
        name, "", {"sha256": "a" * 64}, uploaded=None if ago is None else upload_time(NOW - ago)
    )


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ({SDIST: WEEK}, [SDIST]),
        ({SDIST: WEEK - 1}, []),
        # The sdist waits for the wheel that came 40 minutes later.
        ({SDIST: WEEK + 1, WHEEL: WEEK - 2400}, []),
        ({SDIST: WEEK + 2400, WHEEL: WEEK}, [SDIST, WHEEL]),
        # A wheel that came three days later waits alone.
        ({SDIST: 2 * WEEK, WHEEL: 2 * WEEK, LATE: 2 * WEEK - 3 * DAY}, [SDIST, WHEEL, LATE]),
        ({SDIST: WEEK + DAY, WHEEL: WEEK + DAY, LATE: 5 * DAY}, [SDIST, WHEEL]),
        ({SDIST: WEEK + DAY, WHEEL: WEEK - 1}, [SDIST]),  # a second after the batch
        ({SDIST: WEEK + DAY - 1, WHEEL: WEEK - 1}, []),  # its last second
        # A time in the future is now.
        ({SDIST: -365 * DAY}, []),
        ({SDIST: None}, []),
        ({SDIST: WEEK, WHEEL: None}, [SDIST]),
    ],
)
def test_a_file_passes_with_the_batch_of_its_version(
    ages: dict[str, float | None], expected: list[str]
) -> None:
    assert shown([uploaded(*each) for each in ages.items()], COOLDOWN) == expected


def test_a_late_file_of_a_batch_hides_nothing_that_has_passed() -> None:
    hour = {"kind": "cooldown", "age": "1h"}
    early, late = uploaded(SDIST, 2 * HOUR), uploaded(WHEEL, 0)
    assert shown([early], hour) == [SDIST]
    assert shown([early, late], hour) == [SDIST]
    assert shown([early, uploaded(WHEEL, 1.5 * HOUR)], hour) == [SDIST, WHEEL]
    assert shown([uploaded(SDIST, HOUR + 60), uploaded(WHEEL, 120)], hour) == []


def test_versions_wait_by_themselves_and_the_page_changes_with_the_next_that_passes() -> None:
    files = [uploaded("demo-1.tar.gz", 9 * DAY), uploaded("demo-2.tar.gz", 6 * DAY)]
    files.append(uploaded("demo-3.tar.gz", 5 * DAY))
    judged = judge(files, COOLDOWN)
    assert [file.filename for file in judged.page.files] == ["demo-1.tar.gz"]
    assert judged.not_after == NOW + DAY
    (verdict,) = judged.refusals["demo-2.tar.gz"]
    assert verdict.reason == "demo 2 is of 2026-05-22T20:27Z, allowed from 2026-05-29T20:27Z"
    assert shown(files, COOLDOWN, now=NOW + DAY) == ["demo-1.tar.gz", "demo-2.tar.gz"]
    assert shown(files, COOLDOWN, now=NOW + DAY - 1) == ["demo-1.tar.gz"]


@pytest.mark.parametrize(
    ("unknown", "first_seen", "passes"),
    [
        ("refuse", None, False),
        ("allow", None, True),
        ("first-seen", None, False),
        ("first-seen", NOW - WEEK, True),
        ("first-seen", NOW - WEEK + 1, False),
    ],
)
def test_a_file_without_a_time(unknown: str, first_seen: float | None, passes: bool) -> None:
    seen = {} if first_seen is None else {SDIST: first_seen}
    table = {**COOLDOWN, "unknown": unknown}
    assert shown([uploaded(SDIST, None)], table, first_seen=seen) == [SDIST] * passes


def test_locked_addresses_may_pass() -> None:
    judged = judge([uploaded(SDIST, 0)], {**COOLDOWN, "locked": "allow"})
    assert judged.page.files == ()
    judged.check(SDIST, "a" * 64)
    for digest in (None, "-", "md5-" + "a" * 32):
        with pytest.raises(Denied):
            judged.check(SDIST, digest)
    with pytest.raises(Denied):
        judge([uploaded(SDIST, 0)], COOLDOWN).check(SDIST, "a" * 64)


@pytest.mark.parametrize(
    "until", [datetime.fromtimestamp(NOW + 60, UTC), "2026-05-28T20:27:40+00:00"]
)
def test_an_exemption_ends_at_its_instant(until: Any) -> None:
    row = {"policy": ["p0"], "project": "DEMO", "until": until, "reason": "approved"}
    judged = judge([uploaded(SDIST, 0)], COOLDOWN, exempt=[row])
    assert judged.page.files
    assert judged.not_after == NOW + 60
    (verdict,) = judged.exempted[SDIST]
    assert (verdict.exemption, verdict.refuses) == ("approved", False)
    assert shown([uploaded(SDIST, 0)], COOLDOWN, exempt=[row], now=NOW + 59.9) == [SDIST]
    assert shown([uploaded(SDIST, 0)], COOLDOWN, exempt=[row], now=NOW + 60) == []


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ({"project": "d*"}, True),
        ({"project": "other"}, False),
        ({"project": "demo", "version": "==1.0"}, True),
        ({"project": "demo", "version": "==2"}, False),
        ({"digest": "sha256:" + "a" * 64}, True),
        ({"digest": "b" * 64}, False),
        ({"project": "demo", "version": "==1.0", "digest": "b" * 64}, False),
        ({"project": "demo", "policy": ["other"]}, False),
    ],
)
def test_every_field_of_an_exemption_has_to_match(fields: dict[str, Any], matches: bool) -> None:
    row = {"policy": "p0", "forever": True, "reason": "approved", **fields}
    tables: list[dict[str, Any]] = [COOLDOWN]
    if "policy" in fields:
        row["policy"] = ["p1"]
        tables.append({"kind": "files", "projects": ["other"]})
    assert shown([uploaded(SDIST, 0)], *tables, exempt=[row]) == [SDIST] * matches


INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001
FORMS = st.sampled_from(["{}Z", "{}+00:00", "{}+02:00"])


@given(INSTANTS, st.integers(-2, 2), st.sampled_from([0, 1, 999_999, 500_000]), FORMS)
def test_texts_of_times_are_compared_as_times(
    instant: datetime, seconds: int, fraction: int, form: str
) -> None:
    """As far as the form of the text goes, ``.`` sorts before ``Z``."""
    bound = int(instant.replace(tzinfo=UTC).timestamp())
    time = datetime.fromtimestamp(bound + seconds, UTC).replace(microsecond=fraction)
    text = clean_upload_time(form.format(time.replace(tzinfo=None).isoformat()))
    assert text
    page = ProjectPage(normalize("demo"), (File(SDIST, "", uploaded=text),))
    moment = datetime.fromisoformat(text).timestamp()
    now = bound + WEEK
    view = PageView(page, now, parse_names(page))
    assert bool(list(Cooldown(WEEK, batch=1).judge(view))) == (now < min(moment, now) + WEEK)
    assert bool(list(AsOf(bound).judge(view))) == (moment >= bound)


def test_as_of_shows_the_uploads_of_before_the_instant() -> None:
    page = ProjectPage(
        normalize("demo"),
        (
            uploaded("demo-1.tar.gz", 2),
            uploaded("demo-2.tar.gz", 0),
            uploaded("demo-3.tar.gz", None),
        ),
    )
    findings = list(AsOf(NOW).judge(PageView(page, NOW, parse_names(page))))
    assert [list(each.files) for each in findings] == [[1], [2]]
    assert findings[0].reason == "demo 2 was not uploaded before 2026-05-28T20:26:40Z"
