"""What holds for pages in either form."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import UnreadablePage
from proxy.model import File, ProjectName, ProjectPage
from proxy.simple import parse_page
from proxy.simple.render import page_html, page_json
from tests.support.page_strategies import PROJECT, URL, VENDOR_JSON, WHEEL, pages, read_html

ANCHOR = f'<a href="{WHEEL}">{WHEEL}</a>'
PAGE_JSON = json.dumps({"files": [{"filename": WHEEL, "url": WHEEL, "hashes": {}}]})


def own_addresses(_: ProjectName, files: Sequence[File]) -> list[str]:
    return [file.url for file in files]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (VENDOR_JSON, PAGE_JSON),
        ("Application/Vnd.PyPI.Simple.v1+JSON; charset=utf-8", PAGE_JSON),
        ("application/json", PAGE_JSON),
        ("", f" \r\n\t{PAGE_JSON}"),
        ("", f"\ufeff{PAGE_JSON}"),
        (VENDOR_JSON, f"\ufeff{PAGE_JSON}"),
        ("application/octet-stream", PAGE_JSON),
        ("text/plain", PAGE_JSON),
        ("text/html", ANCHOR),
        ("application/vnd.pypi.simple.v1+html", ANCHOR),
        ("", ANCHOR),
        ("binary/octet-stream", ANCHOR),
        ("text/html", "{" + ANCHOR),
    ],
)
def test_the_form_is_recognised_by_type_and_by_body(content_type: str, body: str) -> None:
    page = parse_page(PROJECT, body.encode(), content_type, URL, "upstream")
    assert [file.filename for file in page.files] == [WHEEL]
    assert (page.project, page.source, page.versions) == (PROJECT, "upstream", ("1.0",))


@pytest.mark.parametrize("content_type", [VENDOR_JSON, "application/json"])
def test_what_claims_to_be_json_has_to_be(content_type: str) -> None:
    with pytest.raises(UnreadablePage, match="upstream") as raised:
        parse_page(PROJECT, ANCHOR.encode(), content_type, URL, "the mirror")
    assert raised.value.index == "the mirror"


def test_errors_do_not_repeat_what_upstream_sent() -> None:
    for content_type in (VENDOR_JSON, "text/html"):
        with pytest.raises(UnreadablePage) as raised:
            parse_page(PROJECT, b"top secret", content_type, URL, "upstream")
        assert "secret" not in str(raised.value)
        assert raised.value.__suppress_context__ or raised.value.__context__ is None


CONTENT_TYPES = st.sampled_from(
    ["", "text/html", VENDOR_JSON, "text/html; charset=utf-16", "text/html; charset=idna", "a; b"]
)
MARKUP = st.sampled_from(
    [b"<", b">", b"<!", b"<![", b"<!--", b"-->", b"<?", b"</a", b"<a href=", b'"', b"'", b"&#",
     b"x", b"<base href=", b"http://[", b"//[", b"<meta name=pypi:repository-version content=",
     b"1.0", b"foo-1.0.zip", b"holy-grail-1.0.zip", b"=", b" ", b"<title>", b"Index of",
     b"&#99999999;", b"\xff", b"\0", b'{"files":', b"[", b"]", b"}",
     b'{"filename":"holy-grail-1.0.zip","url":"a"}',
     b"<![CDATA[", b"<script>", b"99e999", b"NaN", b'"\\ud800"', b","]
)  # fmt: skip


@given(st.binary() | st.lists(MARKUP, max_size=12).map(b"".join), CONTENT_TYPES)
@example(b"<a href=" + b"&#" + b"9" * 5000 + b";>", "text/html")
@example(b"<p>&#" + b"9" * 5000 + b";", "text/html")
@example(b"<meta name='pypi:repository-version' content='x'>", "text/html")
@example(b"https://example.com/", "")
@example(b"<?xml version='1.0'?><a/>", "")
@example(b"<div>" * 5000, "text/html")
@example(b"<a href='http://['>x</a><base href='//['>", "text/html")
@example(b"[" * 100_000, VENDOR_JSON)
@example(b'{"files":' + b"[" * 100_000, VENDOR_JSON)
@example(b'{"files":[],"x":' + b'{"a":' * 100_000, "")
@example(b'{"files":[],"meta":{"api-version":NaN}}', VENDOR_JSON)
@example(b'{"files":[],"meta":{"api-version":' + b"9" * 5000 + b"}}", VENDOR_JSON)
@example(b'{"files":[],"x":1e999}', VENDOR_JSON)
@example(b'{"files":[],"x":"\xff"}', VENDOR_JSON)
@example(b'{"files":[],"x":"\\ud800"}', VENDOR_JSON)
def test_any_bytes_are_a_page_or_unreadable(body: bytes, content_type: str) -> None:
    try:
        page = parse_page(PROJECT, body, content_type, URL, "upstream")
    except UnreadablePage:
        return
    assert page.project == PROJECT
    assert page_json(page, own_addresses)
    assert page_html(page, own_addresses)


@given(pages(with_extra=True))
def test_json_comes_back_as_it_went(page: ProjectPage) -> None:
    again = parse_page(PROJECT, page_json(page, own_addresses), VENDOR_JSON, URL, "")
    assert again == msgspec.structs.replace(page, files=again.files)
    assert [simplified(file) for file in again.files] == [simplified(file) for file in page.files]


@given(pages(with_extra=False))
def test_html_comes_back_as_far_as_it_can_say(page: ProjectPage) -> None:
    again = parse_page(PROJECT, page_html(page, own_addresses), "text/html", URL, "")
    assert again.status == page.status
    assert [in_html(file) for file in again.files] == [in_html(file) for file in page.files]


def simplified(file: File) -> File:
    return msgspec.structs.replace(file, hashes=dict(file.hashes))


def in_html(file: File) -> File:
    """With the one hash that HTML has room for; with escapes already undone, as in reading."""
    best = next((name for name in ("sha256", "blake2b", "md5") if name in file.hashes), None)
    specifier = file.requires_python
    return msgspec.structs.replace(
        file,
        hashes={best: file.hashes[best]} if best else {},
        requires_python=specifier and specifier.replace("&gt;", ">").replace("&lt;", "<"),
    )


def test_quarantined_projects_offer_nothing() -> None:
    body = f'<meta name="pypi:project-status" content="quarantined">{ANCHOR}'
    page = read_html(body)
    assert page.files == ()
    assert page.status is not None
    assert page.status.status == "quarantined"


def test_no_page_needs_a_library_that_is_slow_to_import() -> None:
    program = f"""
import sys
from proxy.model import normalize
from proxy.simple import parse_page
for body in ({PAGE_JSON.encode()!r}, {ANCHOR.encode()!r}):
    assert parse_page(normalize("holy-grail"), body, "", {URL!r}, "").files
slow = {{"bs4", "pypi_simple", "asyncio", "email", "tarfile", "zipfile", "packaging.markers"}}
assert not slow & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
