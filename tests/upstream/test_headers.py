"""What headers grant, as tables (RFC 9111, RFC 9110)."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from multidict import CIMultiDict

from proxy.upstream.headers import (
    cache_lifetime,
    content_length,
    content_range,
    is_strong_tag,
    last_serial,
    retry_after,
)

NOW = 1_790_000_000.0


def http_date(offset: float) -> str:
    return formatdate(NOW + offset, usegmt=True)


@pytest.mark.parametrize(
    ("fields", "lifetime"),
    [
        ({}, None),
        ({"Cache-Control": "public"}, None),
        ({"Cache-Control": "max-age=600, public"}, 600),
        ({"cache-control": "MAX-AGE = 600"}, 600),
        ({"Cache-Control": 'max-age="600"'}, 600),
        ({"Cache-Control": "max-age=600,max-age=5"}, 600),
        ({"Cache-Control": "max-age=600, s-maxage=60"}, 60),
        ({"Cache-Control": "s-maxage=0, max-age=600"}, 0),
        ({"Cache-Control": "max-age=600", "Age": "100"}, 500),
        ({"Cache-Control": "max-age=600", "Age": "700"}, 0),
        ({"Cache-Control": "max-age=600", "Age": "-5"}, 600),
        ({"Cache-Control": "max-age=600", "Age": "soon"}, 600),
        ({"Cache-Control": "max-age=600", "Date": http_date(-9999)}, 600),
        ({"Cache-Control": "max-age=600", "Date": http_date(9999)}, 600),
        ({"Cache-Control": "max-age=-1"}, 0),
        ({"Cache-Control": "max-age=1.5"}, 0),
        ({"Cache-Control": "max-age"}, 0),
        ({"Cache-Control": "max-age=99999999999999999999"}, 2**31),
        ({"Cache-Control": "max-age=٣"}, 0),
        ({"Cache-Control": "no-cache, max-age=600"}, 0),
        ({"Cache-Control": 'no-cache="Set-Cookie", max-age=600'}, 0),
        ({"Cache-Control": 'x="a, max-age=5", max-age=600'}, 600),
        ({"Expires": http_date(300), "Date": http_date(0)}, 300),
        ({"Expires": http_date(300), "Date": http_date(200)}, 100),
        ({"Expires": http_date(300)}, 300),
        ({"Expires": http_date(-300), "Date": http_date(0)}, 0),
        ({"Expires": "0"}, 0),
        ({"Expires": "-1"}, 0),
        ({"Expires": "Mon, 99 Foo 2026"}, 0),
        ({"Expires": http_date(300), "Cache-Control": "max-age=60"}, 60),
        ({"Expires": http_date(300), "Date": http_date(0), "Age": "50"}, 250),
    ],
)
def test_lifetime(fields: dict[str, str], lifetime: float | None) -> None:
    assert cache_lifetime(CIMultiDict(fields), NOW).lifetime == lifetime


@pytest.mark.parametrize(
    ("control", "must_revalidate"),
    [
        ("max-age=600", False),
        ("must-revalidate", True),
        ("proxy-revalidate", True),
        ("no-cache", True),
        ("s-maxage=60", True),
    ],
)
def test_must_revalidate(control: str, must_revalidate: bool) -> None:
    headers = CIMultiDict({"Cache-Control": control})
    assert cache_lifetime(headers, NOW).must_revalidate is must_revalidate


@pytest.mark.parametrize(
    ("fields", "storable"),
    [
        ({}, True),
        ({"Cache-Control": "max-age=600, public"}, True),
        ({"Cache-Control": "no-cache"}, True),
        ({"Cache-Control": "No-Store"}, False),
        ({"Cache-Control": "private, max-age=600"}, False),
        ({"Vary": "Accept, Accept-Encoding"}, True),
        ({"Vary": "Authorization"}, True),
        ({"Vary": "*"}, False),
        ({"Vary": "Accept, cookie"}, False),
    ],
)
def test_storable(fields: dict[str, str], storable: bool) -> None:
    assert cache_lifetime(CIMultiDict(fields), NOW).storable is storable


def test_several_lines_of_a_header_are_one_list() -> None:
    headers = CIMultiDict([("Cache-Control", "public"), ("Cache-Control", "no-store")])
    assert not cache_lifetime(headers, NOW).storable
    assert not cache_lifetime(CIMultiDict([("Vary", "Accept"), ("Vary", "Cookie")]), NOW).storable


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("120", 120),
        ("0", 0),
        ("-1", None),
        ("soon", None),
        ("1e3", None),
        ("999999999", 86_400),
        (http_date(30), 30),
        (http_date(-30), 0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_retry_after(text: str, wait: int | None) -> None:
    assert retry_after(CIMultiDict({"Retry-After": text}), NOW) == wait
    assert retry_after(CIMultiDict(), NOW) is None


@pytest.mark.parametrize(
    ("fields", "wait"),
    [
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) + 90)}, 90),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) - 90)}, 0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2147483648"}, 86_400),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, None),
        ({"X-RateLimit-Remaining": "0"}, None),
        ({"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": str(int(NOW) + 90)}, None),
    ],
)
def test_a_limit_of_requests_says_when_it_ends(fields: dict[str, str], wait: int | None) -> None:
    assert retry_after(CIMultiDict(fields), NOW) == wait
    assert retry_after(CIMultiDict(fields | {"Retry-After": "5"}), NOW) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 0-9/10", (0, 9, 10)),
        ("bytes 5-9/10", (5, 9, 10)),
        ("bytes 9-5/10", None),
        ("bytes 0-10/10", None),
        ("bytes */10", None),
        ("bytes 0-9/*", (0, 9, None)),
        ("0-9/10", None),
        ("bytes 0-9/10, 3", None),
    ],
)
def test_content_range(text: str, expected: tuple[int, int, int | None] | None) -> None:
    assert content_range(CIMultiDict({"Content-Range": text})) == expected


@pytest.mark.parametrize(
    ("tag", "is_strong"),
    [('"a"', True), ('""', True), ('W/"a"', False), ('"', False), ("a", False), ("", False)],
)
def test_strong_tags(tag: str, is_strong: bool) -> None:
    assert is_strong_tag(tag) == (tag if is_strong else None)


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("", None), ("x", None), ("9" * 30, None), ("-1", None)]
)
def test_serial_and_length_are_numbers_or_nothing(text: str, number: int | None) -> None:
    assert last_serial(CIMultiDict({"X-PyPI-Last-Serial": text})) == number
    assert content_length(CIMultiDict({"Content-Length": text})) == number
