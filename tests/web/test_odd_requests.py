"""Requests that are unusual, hostile or wrong: what people mean is done, nothing is a 500."""

from __future__ import annotations

import random

import pytest

from tests.support.fake_index import FakeIndex
from tests.support.site import Site
from tests.support.sockets import connected

DATES = [
    "Mon, 01 Jan 2024 00:00:00 +9999",
    "Mon, 01 Jan 2024 00:00:00 -2400",
    "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
    "Mon, 01 Jan 0001 00:00:00 +1400",
    "Fri, 31 Dec 9999 23:59:59 -1400",
    "Mon, 32 Jan 2024 00:00:00 GMT",
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Mon, 01 Jan 2024 99:99:99 GMT",
    "Mon, 01 Jan 2024",
    ", , , :",
    "0",
    "\u0663",
]
ODD = {
    **{f"If-Modified-Since: {date}": ("If-Modified-Since", date) for date in DATES},
    **{f"If-Unmodified-Since: {date}": ("If-Unmodified-Since", date) for date in DATES},
    **{f"If-Range: {date}": ("If-Range", date) for date in DATES},
}
NAMES = (
    *("Accept", "Accept-Encoding", "Authorization", "Cache-Control", "Connection", "Cookie"),
    *("Content-Length", "Content-Type", "Expect", "Host", "If-Match", "If-Modified-Since"),
    *("If-None-Match", "If-Range", "If-Unmodified-Since", "Range", "Transfer-Encoding"),
    *("Upgrade", "User-Agent", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
)
PIECES = (
    *("bytes=", "0-", "-1", "q=", "nan", "1e999", "-0", '"', "W/", "*", "*/*", ";", ",", "=", "/"),
    *("\xff", "\x80", "[", "]", "::1", ":", "99999999999999999999", "chunked", "gzip", "%00"),
    *("Mon, 01 Jan 2024 00:00:00 ", "+9999", "GMT", "max-age=", "boundary=", "Basic ", "{", "}"),
    *("\t", " ", "text/html", "charset=", "close", "keep-alive", "websocket", "a", "http://"),
)


@pytest.mark.parametrize(("name", "value"), ODD.values(), ids=ODD)
async def test_a_date_that_is_none_is_ignored(
    site: Site, stock: FakeIndex, name: str, value: str
) -> None:
    file = stock.add("foo", "foo-1.0.zip", b"content", uploaded="2026-01-01T00:00:00Z")
    path = f"/files/foo/{file.address_digest}/foo-1.0.zip"
    answer = await site.get(path, headers={name: value, "Range": "bytes=0-2"})
    assert answer.status in (200, 206, 304, 412)
    assert (await site.get("/simple/foo/", headers={name: value})).status == 200


async def test_no_header_leads_to_an_internal_error(
    site: Site, stock: FakeIndex, caplog: pytest.LogCaptureFixture
) -> None:
    file = stock.add("foo", "foo-1.0.zip", b"content", uploaded="2026-01-01T00:00:00Z")
    paths = (
        "/",
        "/simple/",
        "/simple/foo/",
        f"/files/foo/{file.address_digest}/foo-1.0.zip",
        "/healthz",
    )
    chance = random.Random(1)
    for _ in range(300):
        lines = [f"GET {chance.choice(paths)} HTTP/1.1", "Host: x", "Connection: close"]
        for _ in range(chance.randint(1, 3)):
            value = "".join(chance.choices(PIECES, k=chance.randint(0, 5)))
            lines.append(f"{chance.choice(NAMES)}: {value}")
        async with connected(site.port) as (reader, writer):
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
            writer.write_eof()
            received = await reader.read()
        assert b" 500 " not in received[:16], lines
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/simple//foo/", "../../foo/"),
        ("/simple///foo//", "../../../../foo/"),
        ("/simple/foo//", "../"),
        ("/simple//foo", "../foo"),
        ("/simple/index.html", "./"),
        ("/simple/foo/index.html?a=b", "./?a=b"),
    ],
)
async def test_what_people_mean_is_redirected_to(
    site: Site, stock: FakeIndex, target: str, location: str
) -> None:
    stock.page_of("foo")
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = (await site.raw(head.encode())).decode()
    assert received.startswith("HTTP/1.1 301 ")
    assert f"\r\nLocation: {location}\r\n" in received


@pytest.mark.parametrize("target", ["http://y/healthz", "HTTPS://y:8/healthz", "http://x/healthz"])
async def test_an_absolute_target_makes_host_irrelevant(site: Site, target: str) -> None:
    received = await site.raw(
        f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert received.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("target", ["ftp://x/healthz", "x:80", "http:///healthz"])
async def test_other_targets_are_refused(site: Site, target: str) -> None:
    received = await site.raw(
        f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert received.split(b" ", 2)[1] == b"400"


async def test_a_client_that_has_ended_its_side_gets_its_answers(
    site: Site, stock: FakeIndex
) -> None:
    file = stock.add("foo", "foo-1.0.zip", bytes(5_000_000))
    for path, length in (
        (f"/files/foo/{file.address_digest}/foo-1.0.zip", 5_000_000),
        ("/simple/foo/", 1),
    ):
        for _ in range(2):
            async with connected(site.port) as (reader, writer):
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                writer.write_eof()
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ") and len(body) >= length


async def test_all_that_was_asked_before_the_end_is_answered(site: Site) -> None:
    async with connected(site.port) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        writer.write_eof()
        assert (await reader.read()).count(b"alive\n") == 2


async def test_a_body_whose_encoding_is_broken_is_no_error_of_ours(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    answer = await site.post("/simple/foo/", b"no gzip" * 9, headers)
    assert answer.status == 405
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []
