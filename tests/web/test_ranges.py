"""Conditions and ranges, row by row."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict

from proxy.web.ranges import Plan, plan

TAG = '"sha256-aa"'
WHEN = datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
DATE = "Tue, 02 Jan 2024 03:04:05 GMT"
LATER = "Tue, 02 Jan 2024 03:04:06 GMT"
EARLIER = "Tue, 02 Jan 2024 03:04:04 GMT"
WHOLE = Plan(200, 0, 1000)
NOT_MODIFIED, FAILED, UNSATISFIABLE = Plan(304), Plan(412), Plan(416)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, WHOLE),
        ({"Range": "bytes=0-9"}, Plan(206, 0, 10)),
        ({"Range": "bytes=100-"}, Plan(206, 100, 1000)),
        ({"Range": "bytes=990-5000"}, Plan(206, 990, 1000)),
        ({"Range": "BYTES=5-5"}, Plan(206, 5, 6)),
        ({"Range": "bytes=-500"}, Plan(206, 500, 1000)),
        ({"Range": "bytes=-5000"}, Plan(206, 0, 1000)),
        ({"Range": "bytes=-0"}, UNSATISFIABLE),
        ({"Range": "bytes=1000-"}, UNSATISFIABLE),
        ({"Range": "bytes=1000-1001"}, UNSATISFIABLE),
        ({"Range": "bytes=0-9,20-29"}, WHOLE),
        ({"Range": "lines=1-2"}, WHOLE),
        ({"Range": "bytes=9-5"}, WHOLE),
        ({"Range": "bytes=-"}, WHOLE),
        ({"Range": "bytes=a-b"}, WHOLE),
        ({"Range": "bytes=" + "9" * 30 + "-"}, UNSATISFIABLE),
        ({"Range": "bytes=" + "9" * 5000 + "-"}, WHOLE),
        ({"Range": "bytes=5-" + "9" * 30}, Plan(206, 5, 1000)),
        ({"Range": "bytes=0-9", "If-Range": TAG}, Plan(206, 0, 10)),
        ({"Range": "bytes=0-9", "If-Range": '"other"'}, WHOLE),
        ({"Range": "bytes=0-9", "If-Range": f"W/{TAG}"}, WHOLE),
        ({"Range": "bytes=0-9", "If-Range": DATE}, Plan(206, 0, 10)),
        ({"Range": "bytes=0-9", "If-Range": LATER}, WHOLE),
        ({"Range": "bytes=0-9", "If-Range": "garbage"}, WHOLE),
        ({"If-None-Match": TAG}, NOT_MODIFIED),
        ({"If-None-Match": f'"x", W/{TAG}'}, NOT_MODIFIED),
        ({"If-None-Match": "*"}, NOT_MODIFIED),
        ({"If-None-Match": '"x"'}, WHOLE),
        ({"If-None-Match": '"x"', "If-Modified-Since": LATER}, WHOLE),
        ({"If-None-Match": TAG, "Range": "bytes=0-9"}, NOT_MODIFIED),
        ({"If-Modified-Since": DATE}, NOT_MODIFIED),
        ({"If-Modified-Since": LATER}, NOT_MODIFIED),
        ({"If-Modified-Since": EARLIER}, WHOLE),
        ({"If-Modified-Since": "garbage"}, WHOLE),
        ({"If-Match": TAG}, WHOLE),
        ({"If-Match": "*"}, WHOLE),
        ({"If-Match": '"x"'}, FAILED),
        ({"If-Unmodified-Since": EARLIER}, FAILED),
        ({"If-Unmodified-Since": DATE}, WHOLE),
    ],
)
def test_get(headers: dict[str, str], expected: Plan) -> None:
    assert plan("GET", CIMultiDict(headers), 1000, TAG, WHEN) == expected


def test_head_knows_no_range() -> None:
    assert plan("HEAD", CIMultiDict({"Range": "bytes=0-9"}), 1000, TAG, WHEN) == WHOLE
    assert plan("HEAD", CIMultiDict({"If-None-Match": TAG}), 1000, TAG, WHEN) == NOT_MODIFIED


def test_an_empty_file_has_no_part() -> None:
    for wanted in ("bytes=0-", "bytes=-5"):
        assert plan("GET", CIMultiDict({"Range": wanted}), 0, TAG, WHEN) == UNSATISFIABLE


def test_without_tag_and_date_no_condition_holds() -> None:
    for name in ("If-None-Match", "If-Modified-Since"):
        assert plan("GET", CIMultiDict({name: TAG}), 1000).status == 200
    assert plan("GET", CIMultiDict({"Range": "bytes=0-1", "If-Range": TAG}), 1000).status == 200
