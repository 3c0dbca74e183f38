"""What a Remote asks for and makes of the answers, against a real server."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from pathlib import Path

import pytest

from proxy.errors import (
    ConfigurationError,
    GoneUpstream,
    NoSuchProject,
    UnreadablePage,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from proxy.model import ProjectName
from proxy.upstream.answers import Body
from proxy.upstream.remote import NotModified, Remote, UpstreamDocument, Validators
from proxy.upstream.upstream_options import Timeouts
from tests.support.faults import LOGIN_PAGE
from tests.support.remotes import open_remote
from tests.support.sockets import exchange
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until
from tests.upstream.conftest import METADATA

DEMO = ProjectName("demo")
WHEEL = "demo-1.0-py3-none-any.whl"


async def document(remote: Remote, validators: Validators | None = None) -> UpstreamDocument:
    answer = await remote.page(DEMO, validators)
    assert isinstance(answer, UpstreamDocument)
    return answer


async def everything(body: Body) -> bytes:
    return b"".join([chunk async for chunk in body.chunks])


# pages


async def test_page_as_upstream_sent_it_without_content_coding(upstream: Upstream) -> None:
    async with open_remote(upstream.url) as remote:
        page = await document(remote)
    assert json.loads(page.body)["files"][0]["filename"] == WHEEL
    assert page.content_type == "application/vnd.pypi.simple.v1+json"
    assert (page.url, page.serial, page.lifetime) == (upstream.url + "demo/", 1001, 600.0)
    assert page.storable
    assert not page.must_revalidate
    assert page.etag
    assert page.last_modified


async def test_upstream_sees_one_fixed_set_of_headers(upstream: Upstream) -> None:
    async with open_remote(upstream.url) as remote:
        await remote.page(DEMO)
        await remote.read(upstream.url_of(WHEEL) + ".metadata", 1000)
    page, file = (dict(each.headers) for each in upstream.requests)
    assert page.pop("User-Agent").startswith("waystation/")
    assert page == {
        "Host": f"127.0.0.1:{upstream.port}",
        "Accept": "application/vnd.pypi.simple.v1+json,"
        " application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1",
        "Accept-Encoding": "gzip",
    }
    assert file["Accept-Encoding"] == "identity"
    assert file.keys() == page.keys() | {"User-Agent"}


@pytest.mark.parametrize("slash", ["", "/"])
async def test_address_with_or_without_slash_asks_for_one_simple(
    upstream: Upstream, slash: str
) -> None:
    async with open_remote(upstream.url.rstrip("/") + slash) as remote:
        await remote.page(DEMO)
    assert [each.path for each in upstream.requests] == ["/simple/demo/"]


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "example.com/simple", "https://example.com/simple?a=b"]
)
async def test_address_that_is_no_index_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        async with open_remote(url):
            pass


async def test_validators_are_sent_and_not_modified_renews(upstream: Upstream) -> None:
    async with open_remote(upstream.url) as remote:
        page = await document(remote)
        answer = await remote.page(DEMO, Validators(page.etag, page.last_modified))
    assert isinstance(answer, NotModified)
    assert (answer.lifetime, answer.etag, answer.serial) == (600.0, page.etag, 1001)
    sent = upstream.requests[1].headers
    assert (sent["If-None-Match"], sent["If-Modified-Since"]) == (page.etag, page.last_modified)


async def test_not_modified_with_another_tag_is_asked_again_without_conditions(
    upstream: Upstream,
) -> None:
    other = Fault(status=304, body=b"", headers={"ETag": '"another"'})
    upstream.fault("/demo/", other, times=1)
    async with open_remote(upstream.url) as remote:
        await document(remote, Validators('"mine"'))
    assert ["If-None-Match" in each.headers for each in upstream.requests] == [True, False]


async def test_not_modified_for_the_weak_form_of_the_tag_is_the_same(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(status=304, body=b"", headers={"ETag": 'W/"mine"'}))
    async with open_remote(upstream.url) as remote:
        assert isinstance(await remote.page(DEMO, Validators('"mine"')), NotModified)


async def test_304_without_a_conditional_request_is_an_error(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(status=304, body=b""))
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match="304"):
            await remote.page(DEMO)


async def test_odd_tag_of_upstream_is_sent_back_verbatim(upstream: Upstream) -> None:
    upstream.page_headers = {"ETag": "d41d8cd9-no-quotes"}
    async with open_remote(upstream.url) as remote:
        page = await document(remote)
        answer = await remote.page(DEMO, Validators(page.etag))
    assert isinstance(answer, NotModified)
    assert upstream.requests[1].headers["If-None-Match"] == "d41d8cd9-no-quotes"


@pytest.mark.parametrize("status", [404, 410])
async def test_absent_project(upstream: Upstream, status: int) -> None:
    upstream.fault("/demo/", Fault(status=status))
    async with open_remote(upstream.url) as remote:
        with pytest.raises(NoSuchProject):
            await remote.page(DEMO)
    assert upstream.count() == 1


@pytest.mark.parametrize("status", [400, 401, 403, 406, 418, 451, 501, 599])
async def test_any_other_status_is_never_absence(upstream: Upstream, status: int) -> None:
    upstream.fault("/demo/", Fault(status=status, headers={"Retry-After": "7"}))
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match=f"it answered {status}") as caught:
            await remote.page(DEMO)
    assert "internal-host-7" not in str(caught.value)
    assert caught.value.retry_after == 7
    assert upstream.count() == 1


async def test_403_is_absence_only_if_configured(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(status=403))
    async with open_remote(upstream.url, missing_statuses=frozenset({403, 404})) as remote:
        with pytest.raises(NoSuchProject):
            await remote.page(DEMO)


async def test_html_error_page_with_200_is_left_to_the_parser(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(body=LOGIN_PAGE))
    async with open_remote(upstream.url) as remote:
        page = await document(remote)
    assert (page.body, page.content_type) == (LOGIN_PAGE, "text/html")


async def test_url_of_the_page_is_where_redirects_ended(upstream: Upstream) -> None:
    upstream.fault("/simple/old/", Fault(redirect="../demo/"))
    async with open_remote(upstream.url) as remote:
        answer = await remote.page(ProjectName("old"))
    assert isinstance(answer, UpstreamDocument)
    assert answer.url == upstream.url + "demo/"


async def test_gzip_bomb_of_a_page_stops_early(upstream: Upstream) -> None:
    bomb = gzip.compress(bytes(60 * 2**20), mtime=0)
    coded = {"Content-Encoding": "gzip", "Content-Type": "text/html"}
    upstream.fault("/demo/", Fault(body=bomb, headers=coded))
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UnreadablePage, match="larger than allowed"):
            await remote.page(DEMO)


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_page_larger_than_the_limit(upstream: Upstream, coding: str) -> None:
    noise = os.urandom(3000)
    body = gzip.compress(noise, mtime=0) if coding == "gzip" else noise
    upstream.fault("/demo/", Fault(body=body, headers={"Content-Encoding": coding}))
    async with open_remote(upstream.url, page_limit=2999) as remote:
        with pytest.raises(UpstreamError, match="larger"):
            await remote.page(DEMO)
    async with open_remote(upstream.url, page_limit=4000) as remote:
        assert (await document(remote)).body == noise


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"\x1f\x8b rubbish", "gzip"),
        (gzip.compress(b"x" * 999, mtime=0)[:-9], "gzip"),
    ],
)
async def test_page_that_cannot_be_decoded(upstream: Upstream, body: bytes, coding: str) -> None:
    upstream.fault("/demo/", Fault(body=body, headers={"Content-Encoding": coding}))
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UnreadablePage):
            await remote.page(DEMO)


async def test_page_that_never_comes_is_a_timeout(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(hang=True))
    async with open_remote(upstream.url, timeouts=Timeouts(page=0.2)) as remote:
        with pytest.raises(UpstreamTimeout, match="no answer in time"):
            await remote.page(DEMO)
    assert upstream.count() == 1


async def test_page_that_drips_is_a_timeout(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(rate=(1, 0.02)))
    async with open_remote(upstream.url, timeouts=Timeouts(page=0.3)) as remote:
        with pytest.raises(UpstreamTimeout):
            await remote.page(DEMO)


async def test_only_so_many_pages_are_asked_for_at_once(upstream: Upstream) -> None:
    gate = asyncio.Event()
    upstream.fault("/simple/", Fault(hang=gate))
    async with open_remote(upstream.url) as remote:
        asked = [remote.page(ProjectName(f"p{number}")) for number in range(50)]
        tasks = [asyncio.create_task(each) for each in asked]
        await until(lambda: upstream.count("/simple/") >= 32)
        port = int(upstream.origin.rpartition(":")[2])
        await exchange(port, b"GET /later HTTP/1.0\r\n\r\n")  # after all that were sent before
        assert upstream.count("/simple/") == 32
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in results} == {NoSuchProject}
    assert upstream.count("/simple/") == 50


# small files


async def test_small_file(upstream: Upstream) -> None:
    async with open_remote(upstream.url) as remote:
        assert await remote.read(upstream.url_of(WHEEL) + ".metadata", 1000) == METADATA
        assert json.loads(await remote.read(upstream.url_of(WHEEL) + ".provenance", 99)) == {
            "version": 1
        }


async def test_small_file_over_its_limit_coded_or_not(upstream: Upstream) -> None:
    url = upstream.url_of(WHEEL) + ".metadata"
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match="larger than 10 bytes"):
            await remote.read(url, 10)
        zeros = gzip.compress(bytes(5000), mtime=0)
        upstream.fault(".metadata", Fault(body=zeros, headers={"Content-Encoding": "gzip"}))
        assert await remote.read(url, 5000) == bytes(5000)
        with pytest.raises(UpstreamError, match="larger than allowed"):
            await remote.read(url, 4999)


@pytest.mark.parametrize("status", [404, 410])
async def test_file_that_vanished(upstream: Upstream, status: int) -> None:
    upstream.fault("/files/", Fault(status=status))
    url = upstream.url_of(WHEEL)
    async with open_remote(upstream.url) as remote:
        with pytest.raises(GoneUpstream):
            await remote.read(url, 10)
        with pytest.raises(GoneUpstream):
            await remote.size(url)
        with pytest.raises(GoneUpstream):
            async with remote.open(url):
                pass


async def test_size_asks_by_head_and_then_for_one_byte(upstream: Upstream, wheel: Path) -> None:
    url, size = upstream.url_of(WHEEL), wheel.stat().st_size
    async with open_remote(upstream.url) as remote:
        assert await remote.size(url) == size
        assert [each.method for each in upstream.requests] == ["HEAD"]
        chunked = Fault(chunked=True)
        for fault in (Fault(encoding="gzip"), Fault(status=405), Fault(status=403), chunked):
            upstream.fault("/files/", fault, times=1)
            assert await remote.size(url) == size
            assert upstream.requests[-1].headers["Range"] == "bytes=0-0"
        upstream.fault("/files/", chunked, times=1)
        upstream.fault("/files/", Fault(ranges=False), times=1)
        assert await remote.size(url) == size
        upstream.fault("/files/", chunked)
        assert await remote.size(url) == size  # the part says it
        upstream.heal()
        upstream.fault("/files/", Fault(chunked=True, ranges=False))
        assert await remote.size(url) is None
        upstream.heal()
        upstream.fault("/files/", Fault(status=403))
        with pytest.raises(UpstreamRefused, match="403 Forbidden"):
            await remote.size(url)


@pytest.mark.parametrize("target", ["/files/x", "http://[", "ftp://example.com/x"])
async def test_a_refused_redirect_ends_the_question_for_a_size(
    upstream: Upstream, target: str
) -> None:
    upstream.fault("/files/", Fault(redirect=target))
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match=r"redirects|leads to"):
            await remote.size(upstream.files_url + "x")
    assert [each.method for each in upstream.requests] == ["HEAD"]


# files


async def test_file_arrives_as_it_is(upstream: Upstream, wheel: Path) -> None:
    async with (
        open_remote(upstream.url) as remote,
        remote.open(upstream.url_of(WHEEL)) as body,
    ):
        assert (body.total, body.start, body.encoding) == (wheel.stat().st_size, 0, None)
        assert body.etag
        assert await everything(body) == wheel.read_bytes()


async def test_file_without_length(upstream: Upstream, wheel: Path) -> None:
    upstream.fault("/files/", Fault(chunked=True))
    async with (
        open_remote(upstream.url) as remote,
        remote.open(upstream.url_of(WHEEL)) as body,
    ):
        assert body.total is None
        assert await everything(body) == wheel.read_bytes()


async def test_content_coding_of_a_file_is_passed_on_and_its_bytes_are_unchanged(
    upstream: Upstream, wheel: Path
) -> None:
    upstream.fault("/files/", Fault(encoding="GZIP"))
    async with (
        open_remote(upstream.url) as remote,
        remote.open(upstream.url_of(WHEEL)) as body,
    ):
        assert body.encoding == "gzip"
        assert await everything(body) == wheel.read_bytes()


async def test_truncated_file_raises_and_resumes_at_the_byte(
    upstream: Upstream, wheel: Path
) -> None:
    url, data = upstream.url_of(WHEEL), wheel.read_bytes()
    upstream.fault("/files/", Fault(truncate=700), times=1)
    got = b""
    async with open_remote(upstream.url) as remote:
        async with remote.open(url) as body:
            etag = body.etag
            with pytest.raises(UpstreamError, match="broke off"):
                async for chunk in body.chunks:
                    got += chunk
        assert got == data[:700]
        async with remote.open(url, start=700, etag=etag) as body:
            assert (body.start, body.total, body.etag) == (700, len(data), etag)
            assert got + await everything(body) == data
    assert upstream.requests[1].headers["If-Range"] == etag


@pytest.mark.parametrize("etag", [None, 'W/"weak"', '"changed"', "unquoted"])
async def test_resuming_what_is_not_surely_the_same_starts_at_zero(
    upstream: Upstream, wheel: Path, etag: str | None
) -> None:
    async with (
        open_remote(upstream.url) as remote,
        remote.open(upstream.url_of(WHEEL), start=700, etag=etag) as body,
    ):
        assert body.start == 0
        assert await everything(body) == wheel.read_bytes()
    assert ("Range" in upstream.requests[0].headers) == (etag == '"changed"')


async def test_resuming_past_the_end_starts_at_zero(upstream: Upstream, wheel: Path) -> None:
    async with open_remote(upstream.url) as remote:
        async with remote.open(upstream.url_of(WHEEL)) as body:
            etag = body.etag
        async with remote.open(upstream.url_of(WHEEL), start=10**9, etag=etag) as body:
            assert body.start == 0
            assert await everything(body) == wheel.read_bytes()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-9/100"},
        {"Content-Range": "bytes 701-800/9999"},
        {"Content-Range": "bytes 700-699/9999"},
        {"Content-Range": "bytes 700-9999/9999"},
        {"Content-Range": "pages 700-9/9"},
        {"Content-Range": "bytes */9999"},
        {"Content-Range": ""},
        {"Content-Range": "bytes 700-800/9999", "Content-Encoding": "gzip"},
        {"Content-Range": "bytes 700-800/9999", "ETag": '"other"'},
        {"Content-Type": "multipart/byteranges; boundary=x"},
    ],
)
async def test_a_part_that_cannot_be_used_is_followed_by_a_request_for_all(
    upstream: Upstream, wheel: Path, headers: dict[str, str]
) -> None:
    upstream.fault("/files/", Fault(status=206, body=b"x", headers=headers), times=1)
    async with (
        open_remote(upstream.url) as remote,
        remote.open(upstream.url_of(WHEEL), start=700, etag='"a"') as body,
    ):
        assert (body.start, body.stop) == (0, None)
        assert await everything(body) == wheel.read_bytes()
    assert ["Range" in each.headers for each in upstream.requests] == [True, False]


@pytest.mark.parametrize("status", [400, 403, 404, 416, 501])
async def test_a_refused_range_is_followed_by_a_request_for_all(
    upstream: Upstream, wheel: Path, status: int
) -> None:
    upstream.fault("/files/", Fault(status=status), times=1)
    async with (
        open_remote(upstream.url) as remote,
        remote.open(upstream.url_of(WHEEL), start=700, etag='"a"') as body,
    ):
        assert await everything(body) == wheel.read_bytes()


@pytest.mark.parametrize(
    ("content_range", "sent", "wanted", "total"),
    [
        ("bytes 700-709/5000", b"0123456789", b"0123456789", 5000),
        ("bytes 700-709/*", b"0123456789", b"0123456789", None),
        ("bytes 690-709/5000", b"before the" + b"0123456789", b"0123456789", 5000),
        ("bytes 700-709/5000", b"0123456789 and more", b"0123456789", 5000),
    ],
)
async def test_a_part_says_which_bytes_it_has(
    upstream: Upstream, content_range: str, sent: bytes, wanted: bytes, total: int | None
) -> None:
    fault = Fault(status=206, body=sent, headers={"Content-Range": content_range}, chunked=True)
    upstream.fault("/files/", fault)
    async with (
        open_remote(upstream.url) as remote,
        remote.open(upstream.url_of(WHEEL), start=700, etag='"a"') as body,
    ):
        assert (body.start, body.stop, body.total) == (700, 710, total)
        assert await everything(body) == wanted


async def test_206_without_a_range_request_is_an_error(upstream: Upstream) -> None:
    part = Fault(status=206, body=b"fghij", headers={"Content-Range": "bytes 5-9/10"})
    upstream.fault("/files/", part)
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match="206"):
            async with remote.open(upstream.url_of(WHEEL)):
                pass


async def test_reader_that_leaves_early_is_not_waited_for(upstream: Upstream) -> None:
    never = asyncio.Event()
    upstream.fault("/files/", Fault(gate=never, gate_at=100))
    async with (
        asyncio.timeout(2),
        open_remote(upstream.url) as remote,
        remote.open(upstream.url_of(WHEEL)) as body,
    ):
        assert await anext(body.chunks)


async def test_spelling_of_a_file_address_is_kept(upstream: Upstream) -> None:
    upstream.fault("/files/", Fault(body=b"x"))
    async with open_remote(upstream.url) as remote:
        await remote.read(upstream.files_url + "a%2Bb/%7Ec/x+y~.whl?sig=a%2Fb%7E+c#sha256=0", 9)
        await remote.read(upstream.files_url + "a b/ä.whl", 9)
    assert [each.path for each in upstream.requests] == [
        "/files/a%2Bb/%7Ec/x+y~.whl?sig=a%2Fb%7E+c",
        "/files/a%20b/%C3%A4.whl",
    ]


# keys


async def test_fingerprint_differs_by_upstream_and_user_and_names_neither() -> None:
    prints = []
    for url in (
        "https://example.com/simple",
        "https://example.com/simple/",
        "https://example.org/",
    ):
        async with open_remote(url) as remote:
            prints.append(remote.fingerprint)
    assert prints[0] == prints[1] != prints[2]
    async with open_remote("https://example.com/simple/", user="u", password="p") as remote:
        assert remote.fingerprint != prints[0]
    async with open_remote("https://u:p@example.com/simple/") as again:
        assert again.fingerprint == remote.fingerprint
        assert again.url == "https://example.com/simple/"
