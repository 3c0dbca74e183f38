"""Connections: what is accepted on them, how many, how slow, by TLS, and how they end."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import cast

import aiohttp
import pytest

from proxy.errors import ConfigurationError
from proxy.storage.disk_store import DiskBlob
from proxy.storage.in_memory import BytesBlob
from proxy.web.server import Server, tls_context
from tests.support.content import random_bytes
from tests.support.fake_index import FakeIndex
from tests.support.pki import Authority
from tests.support.site import LIMIT, Site, serving


def transport_of(writer: asyncio.StreamWriter) -> asyncio.Transport:
    return cast(asyncio.Transport, writer.transport)  # uvloop's is no subclass


HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
LARGE = random_bytes(20_000_000)


SMUGGLED = {
    "CL and TE": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two CL": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "two equal CL": HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "CL list": HEAD + b"Content-Length: 1, 1\r\n\r\na",
    "CL signed": HEAD + b"Content-Length: +1\r\n\r\na",
    "CL empty": HEAD + b"Content-Length: \r\n\r\na",
    "TE unknown": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE list": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "bare LF": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "bare LF in the head": HEAD + b"X: y\nContent-Length: 1\r\n\r\n",
    "bare CR": HEAD + b"X: y\rz: a\r\n\r\n",
    "folded line": HEAD + b"X: y\r\n Content-Length: 1\r\n\r\n",
    "blank before the colon": HEAD + b"Content-Length : 1\r\n\r\na",
    "no token": HEAD + b"X(Y): z\r\n\r\n",
    "NUL": HEAD + b"X: a\x00b\r\n\r\n",
    "no version": b"GET /healthz\r\nHost: x\r\n\r\n",
    "HTTP/2 in clear": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 50,
}


@pytest.mark.parametrize("sent", SMUGGLED.values(), ids=SMUGGLED)
async def test_ambiguous_requests_are_refused_and_the_connection_closed(
    site: Site, sent: bytes
) -> None:
    received = await site.raw(sent + HEAD + b"X-Second: yes\r\n\r\n")
    assert received.split(b" ", 2)[1] == b"400"
    assert received.count(b"HTTP/1.") == 1
    assert b"alive\n" not in received
    assert b"Python" not in received and b"aiohttp" not in received
    assert b"X-Second" not in received  # nothing is echoed


async def test_what_is_not_http_is_one_line_in_the_log_and_no_traceback(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await site.raw(SMUGGLED["two CL"])
    line = await site.lines.next()
    assert (line["status"], line["bytes"]) == (400, 34)
    assert line["trouble"]
    assert not any(record.exc_info for record in caplog.records)


async def test_a_second_request_on_a_connection_is_answered(site: Site) -> None:
    sent = HEAD + b"\r\n" + HEAD + b"Connection: close\r\n\r\n"
    assert (await site.raw(sent)).count(b"alive\n") == 2


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (HEAD + b"X: " + b"a" * 9000 + b"\r\n\r\n", b"431"),
        (HEAD + b"X" * 9000 + b": a\r\n\r\n", b"431"),
        (HEAD + b"".join(b"X%d: y\r\n" % number for number in range(500)) + b"\r\n", b"431"),
    ],
    ids=["target", "header", "name of a header", "many headers"],
)
async def test_oversized_requests_are_refused_and_the_connection_closed(
    site: Site, sent: bytes, status: bytes
) -> None:
    received = await site.raw(sent)
    assert received.split(b" ", 2)[1] == status


async def test_headers_of_real_clients_fit(site: Site) -> None:
    answer = await site.get("/healthz", headers={"User-Agent": "pip/26.3 " + "{x}" * 2000})
    assert answer.status == 200


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"],
)
async def test_the_body_of_a_get_is_ignored(site: Site, body: bytes) -> None:
    sent = HEAD + body + HEAD + b"Connection: close\r\n\r\n"
    received = await site.raw(sent)
    assert received.count(b"HTTP/1.1 200 OK") == received.count(b"alive\n") == 2


async def test_expect_continue_is_kept_and_other_expectations_are_not(site: Site) -> None:
    close = b"Connection: close\r\n\r\n"
    received = await site.raw(HEAD + b"Expect: 100-continue\r\n" + close)
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    received = await site.raw(HEAD + b"Expect: a miracle\r\n" + close)
    assert received.startswith(b"HTTP/1.1 417 ")


async def test_http_1_0_closes_and_can_keep(site: Site) -> None:
    assert b"alive" in await site.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    kept = b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert (await site.raw(kept + b"GET /healthz HTTP/1.0\r\n\r\n")).count(b"alive\n") == 2


async def test_an_idle_connection_is_closed(stock: FakeIndex) -> None:
    async with serving(stock, keepalive_timeout=0.3) as site:
        assert await site.raw(b"") == b""
        assert (await site.raw(HEAD + b"\r\n")).endswith(b"alive\n")


async def test_a_request_that_only_drips_is_cut_off(stock: FakeIndex) -> None:
    async with serving(stock, keepalive_timeout=0.5) as site, site.connection() as (read, write):
        with pytest.raises(ConnectionError):
            for byte in HEAD * 1000:
                write.write(bytes([byte]))
                await write.drain()
                try:
                    async with asyncio.timeout(0.05):
                        assert await read.read(1) == b""
                        raise ConnectionResetError
                except TimeoutError:
                    continue


async def test_a_second_request_that_only_drips_is_cut_off(stock: FakeIndex) -> None:
    async with serving(stock, keepalive_timeout=0.5) as site:
        received = await site.raw(HEAD + b"\r\n" + HEAD)
    assert received.count(b"alive\n") == 1


@pytest.mark.parametrize("what", ["file in memory", "file on disk", "page"])
async def test_a_client_that_takes_nothing_is_cut_off(
    stock: FakeIndex, tmp_path: Path, what: str
) -> None:
    on_disk = tmp_path / "stored"
    on_disk.write_bytes(LARGE)
    blob = DiskBlob(on_disk, len(LARGE)) if what == "file on disk" else BytesBlob(LARGE)
    stock.add("foo", "foo-1.0.tar.gz", blob, size=len(LARGE))
    path = "/files/foo/-/foo-1.0.tar.gz"
    if what == "page":
        path = "/simple/foo/"
        stock.describe("foo", extra={"_padding": LARGE.hex()})
    accept = "Accept: application/vnd.pypi.simple.v1+json\r\n"
    async with serving(stock, write_timeout=0.5) as site, site.connection() as (reader, writer):
        transport_of(writer).pause_reading()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{accept}\r\n".encode())
        line = await site.lines.next()
        assert line["trouble"]
        transport_of(writer).resume_reading()
        with pytest.raises(ConnectionError):
            while await reader.read(2**20):
                pass


async def test_a_client_that_is_slow_but_steady_gets_all(stock: FakeIndex) -> None:
    file = stock.add("foo", "foo-1.0.tar.gz", LARGE)
    sent = (
        f"GET /files/foo/{file.address_digest}/foo-1.0.tar.gz HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    async with serving(stock, write_timeout=0.5) as site, site.connection() as (reader, writer):
        writer.write(sent)
        await reader.readuntil(b"\r\n\r\n")
        got = 0
        while got < len(LARGE):
            got += len(await reader.read(2**20))
            await asyncio.sleep(0.05)  # it takes a second in all, twice the limit
        line = await site.lines.next()
    assert (line["bytes"], "trouble" in line) == (len(LARGE), False)


async def test_connections_above_the_limit_are_refused_and_later_ones_served(
    stock: FakeIndex,
) -> None:
    async with serving(stock, max_connections=2) as site:
        async with site.connection() as (one, first), site.connection() as (two, second):
            for reader, writer in ((one, first), (two, second)):
                writer.write(HEAD + b"\r\n")
                await reader.readuntil(b"alive\n")
            received = await site.raw(HEAD + b"\r\n")
            head, _, body = received.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"Retry-After: 5" in head and b"Connection: close" in head
            assert f"Content-Length: {len(body)}".encode() in head
            first.write(HEAD + b"\r\n")  # an accepted connection is still served
            await one.readuntil(b"alive\n")
        async with asyncio.timeout(LIMIT):
            while not (await site.raw(HEAD + b"Connection: close\r\n\r\n")).endswith(b"alive\n"):
                pass


async def test_a_refused_client_sees_the_answer(stock: FakeIndex) -> None:
    async with serving(stock, max_connections=1) as site, site.connection() as (reader, writer):
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"alive\n")
        answers = await asyncio.gather(*(site.get("/healthz") for _ in range(20)))
        assert {answer.status for answer in answers} == {503}


@pytest.mark.parametrize("fast", [True, False])
async def test_https_with_certificate_and_key(stock: FakeIndex, tmp_path: Path, fast: bool) -> None:
    file = stock.add("foo", "foo-1.0.tar.gz", LARGE)
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    client_tls = ssl.create_default_context(cafile=authority.bundle)
    tls = tls_context(str(certificate), str(key))
    async with serving(stock, tls=tls, fast=fast) as site, aiohttp.ClientSession() as client:
        root = f"https://127.0.0.1:{site.port}"
        for _ in range(2):
            async with client.get(f"{root}/simple/foo/", ssl=client_tls) as page:
                assert page.status == 200
                assert b"http:" not in await page.read()
        address = f"{root}/files/foo/{file.address_digest}/foo-1.0.tar.gz"
        async with client.get(address, ssl=client_tls) as answer:
            assert await answer.read() == LARGE
        assert (await site.raw(HEAD + b"\r\n")) == b""  # plain HTTP is not understood here


@pytest.mark.parametrize("wrong", ["no certificate", "another key", "encrypted key"])
def test_a_wrong_certificate_names_the_setting(tmp_path: Path, wrong: str) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("one")
    if wrong == "no certificate":
        certificate.write_text("nothing")
    elif wrong == "another key":
        _, key = authority.issue("two")
    else:
        key.write_text(ENCRYPTED)
    with pytest.raises(ConfigurationError) as caught:
        tls_context(str(certificate), str(key))
    assert caught.value.key == "tls_certificate"
    assert caught.value.remedy


async def test_a_port_in_use_and_a_strange_host_name_their_settings(stock: FakeIndex) -> None:
    async with serving(stock) as site:
        for options, key in (
            ({"host": "127.0.0.1", "port": site.port}, "port"),
            ({"host": "192.0.2.1", "port": 0}, "host"),
        ):
            server = Server(aiohttp.web.Application(), **options)  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError) as caught:
                await server.start()
            assert caught.value.key == key


async def test_stopping_lets_a_running_answer_finish_and_takes_no_new_one(stock: FakeIndex) -> None:
    file = stock.add("foo", "foo-1.0.tar.gz", LARGE)
    sent = (
        f"GET /files/foo/{file.address_digest}/foo-1.0.tar.gz HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    async with serving(stock, grace=LIMIT) as site, site.connection() as (reader, writer):
        writer.write(sent)
        await reader.readuntil(b"\r\n\r\n")
        stopping = asyncio.create_task(site.server.stop())
        await asyncio.sleep(0)
        with pytest.raises(ConnectionError):
            await site.raw(HEAD + b"\r\n")
        assert await reader.readexactly(len(LARGE)) == LARGE
        assert await reader.read(1) == b""
        await stopping


async def test_stopping_has_an_end(stock: FakeIndex) -> None:
    file = stock.add("foo", "foo-1.0.tar.gz", LARGE)
    sent = (
        f"GET /files/foo/{file.address_digest}/foo-1.0.tar.gz HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    async with serving(stock, grace=0.2) as site, site.connection() as (reader, writer):
        writer.write(sent)
        await reader.readuntil(b"\r\n\r\n")
        transport_of(writer).pause_reading()
        await site.server.stop()
        line = await site.lines.next()
    assert line["trouble"] == "the client left, or the server stopped"


ENCRYPTED = """-----BEGIN ENCRYPTED PRIVATE KEY-----
-----END ENCRYPTED PRIVATE KEY-----
"""
