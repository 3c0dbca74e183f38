"""The choice of a form, as clients really ask for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simple.negotiate import MediaType, accepts_gzip, choose_media

V1 = "application/vnd.pypi.simple.v1"
LATEST = "application/vnd.pypi.simple.latest"
JSON, HTML_V1, TEXT_HTML = MediaType.JSON, MediaType.HTML_V1, MediaType.TEXT_HTML


def test_the_headers_are_exact() -> None:
    assert JSON.content_type == "application/vnd.pypi.simple.v1+json"
    assert HTML_V1.content_type == "application/vnd.pypi.simple.v1+html; charset=utf-8"
    assert TEXT_HTML.content_type == "text/html; charset=utf-8"
    assert [form for form in MediaType if form.is_json] == [JSON]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, TEXT_HTML),
        ("", TEXT_HTML),
        ("*/*", TEXT_HTML),
        ("text/html", TEXT_HTML),
        (f"{V1}+json, {V1}+html; q=0.1, text/html; q=0.01", JSON),  # pip
        (f"{V1}+json, {V1}+html;q=0.2, text/html;q=0.01", JSON),  # uv
        (f"{V1}+json, */*;q=0.1", JSON),  # Poetry
        (f"{V1}+json", JSON),
        (f"{V1}+html", HTML_V1),
        (f"{LATEST}+json", JSON),
        (f"{LATEST}+html", HTML_V1),
        (f"{V1.upper()}+JSON", JSON),
        ("application/*", TEXT_HTML),
        ("text/*", TEXT_HTML),
        ("application/*, text/*;q=0.1", TEXT_HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT_HTML),
        ("text/html, */*", TEXT_HTML),
        (f"{V1}+html, */*", HTML_V1),
        (f"text/html, {V1}+html, {V1}+json", JSON),
        (f"text/html;q=0.9, {V1}+json;q=0.8", TEXT_HTML),
        (f"{V1}+json;q=0, */*", TEXT_HTML),
        (f"{V1}+json;q=0", TEXT_HTML),
        ("text/html;q=0, */*", HTML_V1),
        (f"{V1}+json;q=0.001, {V1}+html;q=0.002", HTML_V1),
        (f"{V1}+json ; Q = 0.3 , text/html ; q=0.2", JSON),
        (f"{V1}+json;charset=utf-8;q=1.000", JSON),
        (f"{V1}+json;q=2, text/html;q=0.1", TEXT_HTML),
        (f"{V1}+json;q=nan", TEXT_HTML),
        (f";;,/,*,=, {V1}+json;;", JSON),
        ("garbage", TEXT_HTML),
        ("application/json", TEXT_HTML),
    ],
)
def test_the_accept_table(accept: str | None, form: MediaType) -> None:
    assert choose_media(accept) is form


def test_html_only_clients_get_html() -> None:
    assert choose_media("*/*") is choose_media("text/html") is choose_media(None) is TEXT_HTML


def test_nothing_acceptable_is_html() -> None:
    assert choose_media("application/x-unknown") is TEXT_HTML


@pytest.mark.parametrize(
    ("format", "form"),
    [
        (f"{V1}+json", JSON),
        (f"{V1} json", JSON),
        (f"{LATEST}+json", JSON),
        (f"{V1}+html", HTML_V1),
        (f"{LATEST} html", HTML_V1),
        ("text/html", TEXT_HTML),
    ],
)
def test_the_format_of_the_query_wins(format: str, form: MediaType) -> None:
    assert choose_media(f"{V1}+json;q=0.5, {V1}+html;q=0.4, text/html", format) is form


@pytest.mark.parametrize("format", ["", "json", "*/*", f"{V1}+json;q=1", f"{V1}+json,text/html"])
def test_an_unknown_format_is_ignored(format: str) -> None:
    assert choose_media(f"{V1}+html", format) is HTML_V1


@pytest.mark.parametrize(
    ("header", "yes"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate", True),
        ("zstd,gzip,deflate", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("gzip;q=0.001", True),
        ("*", True),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("br", False),
        ("identity", False),
        ("gzip;q=x", False),
    ],
)
def test_gzip_is_sent_where_it_is_accepted(header: str | None, yes: bool) -> None:
    assert accepts_gzip(header) is yes


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_is_too_odd(header: str, format: str) -> None:
    assert choose_media(header, format) in MediaType
    assert accepts_gzip(header) in (True, False)
