"""Project pages and the project list over HTTP."""

from __future__ import annotations

import gzip
import json
import re
import zlib

import pytest

from proxy.errors import Denied, IndexUnavailable
from proxy.model import File
from proxy.simple.negotiate import MediaType
from tests.support.clock import Clock
from tests.support.fake_index import FakeIndex
from tests.support.site import Answer, Site, serving

JSON = "application/vnd.pypi.simple.v1+json"
V1_HTML = "application/vnd.pypi.simple.v1+html"
TEXT = "text/html; charset=utf-8"
PIP = f"{JSON}, {V1_HTML}; q=0.1, text/html; q=0.01"
UV = f"{JSON}, {V1_HTML};q=0.2, text/html;q=0.01"
POETRY = f"{JSON}, */*;q=0.1"
WHEEL = "foo-1.0-py3-none-any.whl"
SHA = "a" * 64


@pytest.fixture(autouse=True)
def laid_out(stock: FakeIndex) -> None:
    stock.add("foo", WHEEL, b"bytes of foo", requires_python=">=3.8,<4")
    for number in range(20):
        stock.add("large", f"large-{number}-py3-none-any.whl", b"%d" % number)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("application/*", TEXT),
        ("application/x-unknown", TEXT),  # never 406, never 300
        ("garbage;;;=,", TEXT),
        (PIP, JSON),
        (UV, JSON),
        (POETRY, JSON),
        ("application/vnd.pypi.simple.latest+json", JSON),
        (V1_HTML, f"{V1_HTML}; charset=utf-8"),
        (f"{JSON};q=0, text/html", TEXT),
    ],
)
async def test_the_form_is_negotiated_and_named_exactly(
    site: Site, accept: str | None, content_type: str
) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = await site.get("/simple/foo/", headers=headers)
    assert answer.status == 200
    assert answer.headers.getall("Content-Type") == [content_type]
    assert answer.headers.getall("Vary") == ["Accept, Accept-Encoding"]
    assert (answer.body[:1] == b"{") == (content_type == JSON)


async def test_pips_accept_gets_the_vendor_type_and_not_plain_json(site: Site) -> None:
    answer = await site.get("/simple/foo/", headers={"Accept": PIP})
    assert answer.headers["Content-Type"] == "application/vnd.pypi.simple.v1+json"
    assert json.loads(answer.body)["files"][0]["filename"] == WHEEL


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
async def test_clients_that_accept_only_html_get_html(site: Site, accept: str) -> None:
    answer = await site.get("/simple/foo/", headers={"Accept": accept})
    assert b"<!DOCTYPE html>" in answer.body


@pytest.mark.parametrize(
    ("query", "content_type"),
    [
        (f"format={JSON.replace('+', '%2B')}", JSON),
        (f"format={JSON}", JSON),
        ("format=text/html", TEXT),
        ("format=nonsense", JSON),
        ("other=1", JSON),
    ],
)
async def test_the_querys_format_outweighs_accept(
    site: Site, query: str, content_type: str
) -> None:
    answer = await site.get(f"/simple/foo/?{query}", headers={"Accept": JSON})
    assert answer.headers["Content-Type"] == content_type


async def test_requires_python_is_escaped_once_in_html_and_raw_in_json(site: Site) -> None:
    html = await site.get("/simple/foo/")
    assert b'data-requires-python="&gt;=3.8,&lt;4"' in html.body
    assert b"&amp;" not in html.body
    page = json.loads((await site.get("/simple/foo/", headers={"Accept": JSON})).body)
    assert page["files"][0]["requires-python"] == ">=3.8,<4"


async def test_links_lead_back_here_and_are_relative(site: Site) -> None:
    html = (await site.get("/simple/foo/")).body.decode()
    page = json.loads((await site.get("/simple/foo/", headers={"Accept": JSON})).body)
    links = [*re.findall(r'href="([^"#]*)', html), page["files"][0]["url"]]
    assert links and all(re.fullmatch(r"\.\./\.\./files/foo/[0-9a-f]{64}/\S+", x) for x in links)
    assert "example.org" not in html


async def test_gzip_is_sent_to_clients_that_accept_it_with_its_own_strong_tag(site: Site) -> None:
    plain = await site.get("/simple/large/", headers={"Accept": JSON})
    packed = await site.get("/simple/large/", headers={"Accept": JSON, "Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept, Accept-Encoding"
    assert packed.headers["ETag"] != plain.headers["ETag"]


async def test_tags_are_strong_and_differ_between_all_forms(site: Site) -> None:
    tags = [
        (await site.get("/simple/large/", headers={"Accept": a, "Accept-Encoding": e})).headers[
            "ETag"
        ]
        for a in (JSON, V1_HTML, "text/html")
        for e in ("gzip", "identity")
    ]
    assert len(set(tags)) == 6
    assert all(re.fullmatch(r'"[^"]+"', tag) for tag in tags)


async def test_tags_are_the_same_after_a_restart(stock: FakeIndex) -> None:
    tags = []
    for _ in range(2):
        async with serving(stock) as site:
            tags.append((await site.get("/simple/foo/")).headers["ETag"])
    assert tags[0] == tags[1]


@pytest.mark.parametrize("accept", [JSON, V1_HTML, "text/html"])
@pytest.mark.parametrize("coding", ["gzip", "identity"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_304_repeats_the_tag_and_has_no_content_type(
    site: Site, accept: str, coding: str, method: str
) -> None:
    headers = {"Accept": accept, "Accept-Encoding": coding}
    first = await site.get("/simple/large/", headers=headers)
    again = await site.get(
        "/simple/large/", method, headers | {"If-None-Match": first.headers["ETag"]}
    )
    assert (again.status, again.body) == (304, b"")
    for name in ("ETag", "Cache-Control", "Vary"):
        assert again.headers.getall(name) == first.headers.getall(name)
    assert "Content-Type" not in again.headers
    assert "Content-Encoding" not in again.headers
    assert again.headers.get("Content-Length", "0") in ("0", first.headers["Content-Length"])
    assert "Date" in again.headers


async def test_another_tag_or_a_changed_page_is_answered_in_full(
    site: Site, stock: FakeIndex
) -> None:
    tag = (await site.get("/simple/foo/")).headers["ETag"]
    assert (await site.get("/simple/foo/", headers={"If-None-Match": '"x"'})).status == 200
    stock.add("foo", "foo-2.0-py3-none-any.whl", b"2")
    answer = await site.get("/simple/foo/", headers={"If-None-Match": tag})
    assert answer.status == 200 and b"foo-2.0" in answer.body


async def test_a_tag_of_another_form_does_not_match(site: Site) -> None:
    tag = (await site.get("/simple/foo/", headers={"Accept": JSON})).headers["ETag"]
    headers = {"Accept": "text/html", "If-None-Match": tag}
    assert (await site.get("/simple/foo/", headers=headers)).status == 200


@pytest.mark.parametrize("accept", [JSON, "text/html"])
@pytest.mark.parametrize("path", ["/simple/foo/", "/simple/", "/simple/nope/", "/simple/Foo/", "/"])
async def test_head_has_the_headers_of_get_and_no_body(site: Site, path: str, accept: str) -> None:
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    got = await site.get(path, headers=headers)
    head = await site.get(path, "HEAD", headers)
    assert (head.status, head.body) == (got.status, b"")
    assert _comparable(head) == _comparable(got)


def _comparable(answer: Answer) -> dict[str, str]:
    """The headers that do not move with the clock; no length is as good as none."""
    headers = {"Content-Length": "0"} | dict(answer.headers)
    return {name: value for name, value in headers.items() if name != "Date"}


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/simple", "simple/"),
        ("/simple?format=x%2By", "simple/?format=x%2By"),
        ("/simple/foo", "foo/"),
        ("/simple/Foo_Bar", "foo-bar/"),
        ("/simple/Foo.-_Bar/", "../foo-bar/"),
        ("/simple/FOO/?format=text/html&a=b", "../foo/?format=text/html&a=b"),
        ("/pypi/simple/FOO", "foo/"),
        ("/pypi/simple", "simple/"),
        ("/pypi", "pypi/"),
    ],
)
async def test_one_relative_redirect_leads_to_the_page_and_is_not_stored(
    stock: FakeIndex, path: str, location: str
) -> None:
    async with serving(stock, prefix="/pypi") as site:
        for method in ("GET", "HEAD"):
            answer = await site.get(path, method)
            assert answer.status == 301
            assert answer.headers["Location"] == location
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Vary"] == "Accept, Accept-Encoding"


async def test_dots_runs_and_case_lead_to_the_normalized_page(site: Site, stock: FakeIndex) -> None:
    stock.add("jaraco-collections", "jaraco.collections-1.0-py3-none-any.whl", b"1")
    answer = await site.get("/simple/Jaraco..Collections/")
    assert answer.headers["Location"] == "../jaraco-collections/"
    assert (await site.get("/simple/jaraco-collections/")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/%0d%0aSet-Cookie:a=b",
        "/simple/%0d%0aSet-Cookie:a=b",
        "/simple/%0d%0aSet-Cookie:a=b/",
        "/simple/foo%0d%0aSet-Cookie:a=b",
        "/simple/foo%0a/",
        "/files/foo/-/%0d%0aSet-Cookie:a=b",
    ],
)
async def test_line_breaks_never_reach_a_header(site: Site, path: str) -> None:
    answer = await site.get(path)
    assert answer.status == 404
    assert "Set-Cookie" not in answer.headers
    assert "Location" not in answer.headers


async def test_a_query_cannot_break_a_redirect(site: Site) -> None:
    answer = await site.get("/simple/foo?%0d%0aSet-Cookie:a=b")
    assert answer.headers["Location"] == "foo/?%0d%0aSet-Cookie:a=b"
    assert "Set-Cookie" not in answer.headers


async def test_a_query_that_is_no_text_is_not_http(site: Site) -> None:
    sent = b"GET /simple/foo?\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    status = (await site.raw(sent)).split(b"\r\n", 1)[0]
    assert status == b"HTTP/1.0 400 Bad Request"


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/%2e%2e",
        "//evil.example",
        "//evil.example/simple/foo",
    ],
)
async def test_no_redirect_to_another_authority(site: Site, path: str) -> None:
    answer = await site.get(path)
    assert answer.status == 404
    assert "Location" not in answer.headers


@pytest.mark.parametrize("accept", [JSON, "text/html", "*/*"])
async def test_an_unknown_project_is_404_and_not_an_empty_page(site: Site, accept: str) -> None:
    answer = await site.get("/simple/nope/", headers={"Accept": accept})
    assert answer.status == 404
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_a_project_without_files_is_200_and_empty(site: Site, stock: FakeIndex) -> None:
    stock.page_of("claimed")
    answer = await site.get("/simple/claimed/", headers={"Accept": JSON})
    assert (answer.status, json.loads(answer.body)["files"]) == (200, [])


@pytest.mark.parametrize(
    "name",
    ["%3Cimg%20src=x%3E", "-foo", "foo-", "f%C3%B3o", "a%2fb", "..", "%2e%2e", "a%00b", "%FF"],
)
async def test_an_invalid_name_is_404_and_not_echoed(site: Site, name: str) -> None:
    for path in (f"/simple/{name}/", f"/simple/{name}"):
        answer = await site.get(path)
        assert answer.status == 404
        assert b"<" not in answer.body and b"img" not in answer.body


async def test_hostile_texts_are_escaped_and_do_not_run(site: Site, stock: FakeIndex) -> None:
    hostile = '"><script>alert(1)</script>'
    stock.add("bar", "bar-1.0-py3-none-any.whl", b"1", yanked=hostile, requires_python=hostile)
    answer = await site.get("/simple/bar/")
    assert b"<script" not in answer.body
    assert b"&lt;script&gt;" in answer.body
    policy = answer.headers["Content-Security-Policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'; sandbox allow-downloads"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_the_list_names_all_projects_in_both_forms(site: Site) -> None:
    page = json.loads((await site.get("/simple/", headers={"Accept": JSON})).body)
    assert page["projects"] == [{"name": "foo"}, {"name": "large"}]
    html = await site.get("/simple/")
    assert re.findall(rb'href="([^"]*)"', html.body) == [b"foo/", b"large/"]
    assert html.headers["Cache-Control"] == "max-age=300"
    assert html.headers["Vary"] == "Accept, Accept-Encoding"


async def test_the_list_has_a_tag_and_is_revalidated(site: Site, stock: FakeIndex) -> None:
    tag = (await site.get("/simple/", headers={"Accept": JSON})).headers["ETag"]
    headers = {"Accept": JSON, "If-None-Match": tag}
    assert (await site.get("/simple/", headers=headers)).status == 304
    stock.page_of("new")
    answer = await site.get("/simple/", headers=headers)
    assert answer.status == 200 and b'"new"' in answer.body


async def test_a_large_list_is_compressed(site: Site, stock: FakeIndex) -> None:
    for number in range(100):
        stock.page_of(f"project-{number}")
    answer = await site.get("/simple/", headers={"Accept": JSON, "Accept-Encoding": "gzip"})
    assert len(json.loads(zlib.decompress(answer.body, 31))["projects"]) == 102


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (None, "no-cache"),  # private pages are asked for each time
        (100.9, "max-age=100"),
        (5000.0, "max-age=600"),
        (0.5, "no-cache, max-age=0"),
        (-1.0, "no-cache, max-age=0"),  # no client may cache a stale page
    ],
)
async def test_cache_control_gives_the_remaining_freshness(
    stock: FakeIndex, clock: Clock, left: float | None, expected: str
) -> None:
    stock.describe("foo", fresh_until=None if left is None else clock() + left)
    async with serving(stock, clock=clock) as site:
        answer = await site.get("/simple/foo/")
        assert answer.headers["Cache-Control"] == expected
        assert "Age" not in answer.headers
        again = await site.get("/simple/foo/", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.headers["Cache-Control"] == expected


NEW, ANY = 1, None
"""Seconds since its revalidation that a page may have; None: as many as its lifetime allows."""


@pytest.mark.parametrize(
    ("headers", "never", "no_cache", "always"),
    [
        ({}, ANY, ANY, ANY),
        ({"Cache-Control": ""}, ANY, ANY, ANY),
        ({"Cache-Control": "no-cache"}, ANY, NEW, NEW),
        ({"Cache-Control": "No-Cache"}, ANY, NEW, NEW),
        ({"Cache-Control": "max-age=0, no-cache"}, ANY, NEW, NEW),
        ({"Cache-Control": "max-age=0"}, ANY, ANY, NEW),
        ({"Cache-Control": "Max-Age=00"}, ANY, ANY, NEW),
        ({"Cache-Control": 'max-age="0"'}, ANY, ANY, NEW),
        ({"Cache-Control": "max-age=0, must-revalidate"}, ANY, ANY, NEW),
        ({"Cache-Control": "max-age=60"}, ANY, 60, 60),
        ({"Cache-Control": "max-age=99999999999999999999"}, ANY, ANY, ANY),
        ({"Cache-Control": "max-age=-1"}, ANY, ANY, ANY),
        ({"Cache-Control": "max-age"}, ANY, ANY, ANY),
        ({"Cache-Control": "x-no-cache, s-max-age=0"}, ANY, ANY, ANY),
        ({"Cache-Control": "no-store"}, ANY, ANY, ANY),
        ({"Cache-Control": "max-stale=60, min-fresh=60"}, ANY, ANY, ANY),
        ({"Cache-Control": "only-if-cached"}, ANY, ANY, ANY),
        ({"Pragma": "no-cache"}, ANY, NEW, NEW),
        ({"Pragma": "no-cache", "Cache-Control": "max-age=0"}, ANY, ANY, NEW),
    ],
)
async def test_how_old_a_page_may_be_is_up_to_the_client_and_the_setting(
    stock: FakeIndex,
    clock: Clock,
    headers: dict[str, str],
    never: int | None,
    no_cache: int | None,
    always: int | None,
) -> None:
    for setting, age in (("never", never), ("no-cache", no_cache), ("always", always)):
        async with serving(stock, clock=clock, client_refresh=setting) as site:
            await site.get("/simple/foo/", headers=headers)
        assert stock.checked_after == (0.0 if age is None else clock() - age), setting


async def test_yanks_come_and_go(site: Site, stock: FakeIndex) -> None:
    def listed(yanked: bool | str) -> None:
        stock.page_of("bar", File("bar-1.0.tar.gz", "https://x/", {"sha256": SHA}, yanked=yanked))

    for yanked, attribute in (("why, oh", b'data-yanked="why, oh"'), (True, b'data-yanked=""')):
        listed(yanked)
        assert attribute in (await site.get("/simple/bar/")).body
        page = json.loads((await site.get("/simple/bar/", headers={"Accept": JSON})).body)
        assert page["files"][0]["yanked"] == yanked
    listed(False)
    assert b"yanked" not in (await site.get("/simple/bar/")).body
    assert b"yanked" not in (await site.get("/simple/bar/", headers={"Accept": JSON})).body


async def test_a_local_side_that_cannot_be_read_is_503(site: Site, stock: FakeIndex) -> None:
    stock.error = IndexUnavailable("private", "permission denied")
    for path in ("/simple/foo/", "/simple/", f"/files/foo/-/{WHEEL}"):
        answer = await site.get(path)
        assert answer.status == 503
        assert answer.headers["Retry-After"].isdigit()
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_refusal_by_policy_is_403(site: Site, stock: FakeIndex) -> None:
    stock.error = Denied("foo", "malware")
    assert (await site.get("/simple/foo/")).status == 403


async def test_a_page_of_many_files_is_the_same_as_one_of_few(site: Site, stock: FakeIndex) -> None:
    """It is rendered in a thread."""
    files = [File(f"many-{n}-py3-none-any.whl", "https://x/", {"sha256": SHA}) for n in range(1000)]
    stock.page_of("many", *files)
    answer = await site.get("/simple/many/", headers={"Accept": JSON, "Accept-Encoding": "gzip"})
    page = json.loads(gzip.decompress(answer.body))
    assert [file["filename"] for file in page["files"]] == [file.filename for file in files]


async def test_a_forged_host_changes_nothing(site: Site) -> None:
    usual = await site.get("/simple/foo/")
    for forged in (
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
        {"X-Forwarded-Prefix": "/evil", "Forwarded": "host=evil.example"},
    ):
        answer = await site.get("/simple/foo/", headers=forged)
        assert (answer.status, answer.body) == (usual.status, usual.body)
        assert answer.headers["ETag"] == usual.headers["ETag"]
        redirect = await site.get("/simple/Foo", headers=forged)
        assert redirect.headers["Location"] == "foo/"


def test_all_forms_are_tried_here() -> None:
    assert {form.content_type for form in MediaType} == {JSON, f"{V1_HTML}; charset=utf-8", TEXT}
