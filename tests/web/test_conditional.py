"""Conditions and ranges, row by row."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict

from proxy.web.conditional import RangeResult, evaluate

TAG = '"sha256-aa"'
WHEN = datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
DATE = "Tue, 02 Jan 2024 03:04:05 GMT"
SECOND_LATER = "Tue, 02 Jan 2024 03:04:06 GMT"
EARLIER = "Tue, 02 Jan 2024 03:04:04 GMT"
WHOLE = RangeResult(200, 0, 1000)
NOT_MODIFIED, FAILED, UNSATISFIABLE = RangeResult(304), RangeResult(412), RangeResult(416)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, WHOLE),
        ({"Range": "bytes=0-9"}, RangeResult(206, 0, 10)),
        ({"Range": "bytes=100-"}, RangeResult(206, 100, 1000)),
        ({"Range": "bytes=990-5000"}, RangeResult(206, 990, 1000)),
        ({"Range": "BYTES=5-5"}, RangeResult(206, 5, 6)),
        ({"Range": "bytes=-500"}, RangeResult(206, 500, 1000)),
        ({"Range": "bytes=-5000"}, RangeResult(206, 0, 1000)),
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
        ({"Range": "bytes=5-" + "9" * 30}, RangeResult(206, 5, 1000)),
        ({"Range": "bytes=0-9", "If-Range": TAG}, RangeResult(206, 0, 10)),
        ({"Range": "bytes=0-9", "If-Range": '"other"'}, WHOLE),
        ({"Range": "bytes=0-9", "If-Range": f"W/{TAG}"}, WHOLE),
        ({"Range": "bytes=0-9", "If-Range": DATE}, RangeResult(206, 0, 10)),
        ({"Range": "bytes=0-9", "If-Range": SECOND_LATER}, WHOLE),
        ({"Range": "bytes=0-9", "If-Range": "garbage"}, WHOLE),
        ({"If-None-Match": TAG}, NOT_MODIFIED),
        ({"If-None-Match": f'"x", W/{TAG}'}, NOT_MODIFIED),
        ({"If-None-Match": "*"}, NOT_MODIFIED),
        ({"If-None-Match": '"x"'}, WHOLE),
        ({"If-None-Match": '"x"', "If-Modified-Since": SECOND_LATER}, WHOLE),
        ({"If-None-Match": TAG, "Range": "bytes=0-9"}, NOT_MODIFIED),
        ({"If-Modified-Since": DATE}, NOT_MODIFIED),
        ({"If-Modified-Since": SECOND_LATER}, NOT_MODIFIED),
        ({"If-Modified-Since": EARLIER}, WHOLE),
        ({"If-Modified-Since": "garbage"}, WHOLE),
        ({"If-Match": TAG}, WHOLE),
        ({"If-Match": "*"}, WHOLE),
        ({"If-Match": '"x"'}, FAILED),
        ({"If-Unmodified-Since": EARLIER}, FAILED),
        ({"If-Unmodified-Since": DATE}, WHOLE),
    ],
)
def test_get(headers: dict[str, str], expected: RangeResult) -> None:
    assert evaluate("GET", CIMultiDict(headers), 1000, TAG, WHEN) == expected


def test_head_knows_no_range() -> None:
    assert evaluate("HEAD", CIMultiDict({"Range": "bytes=0-9"}), 1000, TAG, WHEN) == WHOLE
    assert evaluate("HEAD", CIMultiDict({"If-None-Match": TAG}), 1000, TAG, WHEN) == NOT_MODIFIED


def test_an_empty_file_has_no_part() -> None:
    for wanted in ("bytes=0-", "bytes=-5"):
        assert evaluate("GET", CIMultiDict({"Range": wanted}), 0, TAG, WHEN) == UNSATISFIABLE


def test_without_tag_and_date_no_condition_is_met() -> None:
    for name in ("If-None-Match", "If-Modified-Since"):
        assert evaluate("GET", CIMultiDict({name: TAG}), 1000).status == 200
    assert evaluate("GET", CIMultiDict({"Range": "bytes=0-1", "If-Range": TAG}), 1000).status == 200
