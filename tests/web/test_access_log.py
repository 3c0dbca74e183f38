"""The line per request."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import re

import pytest
from aiohttp import web

from proxy.errors import NoSuchProject, UpstreamError
from proxy.events import AnswerServed, Outcome, RequestKind
from proxy.model import ProjectName
from proxy.runtime.log_format import JsonFormatter, LineHandler, PlainFormatter
from proxy.web.access_log import AccessLog, tool
from proxy.web.access_log import log as access_log
from proxy.web.fast_path_events import MAX_HITS, FastPathEvents
from proxy.web.response_cache import Cacheable, CachedResponse
from tests.support.fake_index import FakeIndex
from tests.support.site import Site, serving

PIP = 'pip/26.3 {"ci":null,"cpu":"x86_64","implementation":{"name":"CPython"}}'
FIELDS = ["client", "method", "path", "status", "outcome", "bytes", "tool", "ms"]


@pytest.fixture
def path(stock: FakeIndex) -> str:
    return (
        f"/files/foo/{stock.add('foo', 'foo-1.0.tar.gz', b'bytes').address_digest}/foo-1.0.tar.gz"
    )


async def test_a_line_has_the_client_the_request_and_the_outcome(
    stock: FakeIndex, path: str
) -> None:
    async with serving(stock) as site:
        answer = await site.get("/simple/foo/", headers={"User-Agent": PIP})
        line = await site.lines.next()
    assert list(line) == FIELDS
    assert line.pop("ms") > 0
    assert line == {
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/simple/foo/",
        "status": 200,
        "outcome": "hit",
        "bytes": len(answer.body),
        "tool": "pip/26.3",
    }


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("what", ["page", "file"])
async def test_every_outcome_is_logged(
    stock: FakeIndex, path: str, outcome: Outcome, what: str
) -> None:
    stock.outcome = outcome
    async with serving(stock) as site:
        await site.get("/simple/foo/" if what == "page" else path)
        line = await site.lines.next()
    assert line["outcome"] == outcome.value


async def test_the_outcome_of_one_request_is_not_that_of_the_next(site: Site, path: str) -> None:
    await site.get(path)
    await site.get("/healthz")
    while (line := await site.lines.next())["path"] != "/healthz":
        assert line["outcome"] == "hit"
    assert line["outcome"] == "-"


@pytest.mark.parametrize(
    ("method", "headers", "status", "sent"),
    [
        ("GET", {}, 200, 5),
        ("HEAD", {}, 200, 0),
        ("GET", {"Range": "bytes=1-2"}, 206, 2),
        ("GET", {"Range": "bytes=9-"}, 416, 0),
        ("GET", {"If-None-Match": "*"}, 304, 0),
        ("POST", {}, 405, 23),
    ],
)
async def test_status_and_bytes_are_those_that_were_sent(
    stock: FakeIndex, path: str, method: str, headers: dict[str, str], status: int, sent: int
) -> None:
    async with serving(stock) as site:
        await site.get(path, method, headers)
        line = await site.lines.next()
    assert (line["method"], line["status"], line["bytes"]) == (method, status, sent)


async def test_errors_are_logged_with_their_status(stock: FakeIndex) -> None:
    async with serving(stock) as site:
        for error, status in ((NoSuchProject("x"), 404), (UpstreamError("u", "down"), 502)):
            stock.error = error
            await site.get("/simple/x/")
            assert (await site.lines.next())["status"] == status


@pytest.mark.parametrize("path", ["/simple/x/", f"/files/x/{'0' * 64}/x-1.0.tar.gz"])
async def test_a_404_has_one_line_with_its_reason(
    stock: FakeIndex, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(stock) as site:
        await site.get(path)
        line = await site.lines.next()
    assert (line["status"], [each.message for each in caplog.records]) == (404, ["request"])
    assert line["reason"].startswith(("no such project", "project x has no file"))


@pytest.mark.parametrize("close", ["", "Connection: close\r\n"])
async def test_a_client_that_closes_once_it_has_all_is_no_trouble(
    stock: FakeIndex, close: str
) -> None:
    data = bytes(3_000_000)
    digest = stock.add("foo", "foo-1.0.tar.gz", data).address_digest
    asked = f"GET /files/foo/{digest}/foo-1.0.tar.gz HTTP/1.1\r\nHost: x\r\n{close}\r\n"
    async with serving(stock) as site:
        for _ in range(30):
            async with site.connection() as (reader, writer):
                writer.write(asked.encode())
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(data))
                writer.transport.abort()
            line = await site.lines.next()
            assert (line["bytes"], line.get("trouble")) == (len(data), None)


async def test_a_client_that_closes_early_is_logged(stock: FakeIndex) -> None:
    digest = stock.add("foo", "foo-1.0.tar.gz", bytes(50_000_000)).address_digest
    asked = f"GET /files/foo/{digest}/foo-1.0.tar.gz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving(stock) as site:
        async with site.connection() as (reader, writer):
            writer.write(asked.encode())
            await reader.readexactly(1000)
            writer.transport.abort()
        assert "client left" in (await site.lines.next())["trouble"]


async def test_no_secret_is_logged(stock: FakeIndex, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hunter2"
    async with serving(stock) as site:
        await site.get(
            f"/simple/foo/?token={secret}",
            headers={
                "Authorization": f"Basic {secret}",
                "Cookie": secret,
                "X-Api-Key": secret,
                "User-Agent": f"pip {secret}",
                "Referer": f"https://user:{secret}@x/",
            },
        )
        sent = f"GET http://user:{secret}@x/simple/foo/ HTTP/1.1\r\nHost: x\r\n\r\n"
        await site.raw(sent.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode())
        lines = [await site.lines.next() for _ in range(2)]
    assert [line["path"] for line in lines] == ["/simple/foo/"] * 2
    assert secret not in repr(lines) + caplog.text


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (PIP, "pip/26.3"),
        ('uv/0.13.9 {"x":1}', "uv/0.13.9"),
        ("poetry/2.1.1 CPython/3.11.7 Linux/6", "poetry/2.1.1"),
        ("python-requests/2.34.2", "python-requests/2.34.2"),
        ("Mozilla/5.0 (X11; Linux)", "Mozilla/5.0"),
        ("", "-"),
        ("curl", "-"),
        ("\x1b[31m/1", "-"),
        ("a" * 1000 + "/1", "-"),
        ("pip/" + "1" * 1000, "pip/" + "1" * 40),
        ("piṕ/1", "-"),
    ],
)
def test_the_tool_is_the_head_of_the_user_agent(user_agent: str, expected: str) -> None:
    assert tool(user_agent) == expected


@pytest.mark.parametrize("form", [PlainFormatter, JsonFormatter])
async def test_lines_of_answers_before_parsing_look_like_all_others(
    stock: FakeIndex, path: str, form: type[PlainFormatter | JsonFormatter]
) -> None:
    stream = io.StringIO()
    handler = LineHandler(form(), stream)
    used: list[str] = []
    log = AccessLog(handler)
    hits = FastPathEvents(log.observe, used.append)
    async with (
        serving(stock, observers=[log.observe], fast=True, on_hit=hits.hit) as site,
        log.running(),
        hits.running(),
    ):
        for _ in range(3):
            await site.get(path, headers={"User-Agent": PIP})
        assert len(site.lines.fields) == 1  # two were answered before they were parsed
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    alike = {re.sub(r"20\S+Z", "TIME", re.sub(r'(ms"?[=:])[\d.]+', r"\1MS", x)) for x in lines}
    assert len(alike) == 1
    if form is JsonFormatter:
        logged = json.loads(lines[-1])
        assert (logged["path"], logged["outcome"], logged["tool"]) == (path, "hit", "pip/26.3")
    assert set(used) == {path.split("/")[3]}


class Counting(io.StringIO):
    """Counts writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


async def test_groups_of_answers_before_parsing_share_a_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, access_log.name)
    stream, served = (
        Counting(),
        AnswerServed(
            client="", method="GET", path="/simple/foo/", kind=RequestKind.PAGE, status=200
        ),
    )
    log = AccessLog(LineHandler(PlainFormatter(), stream))
    hits = FastPathEvents(log.observe)
    mark = Cacheable("main", ProjectName("foo"), Outcome.HIT, 0)
    response = CachedResponse(web.Response(), mark, served)
    async with log.running(), hits.running():
        for _ in range(50 * MAX_HITS):
            hits.hit(response, "192.0.2.1", 1.0, 2.0)
            await asyncio.sleep(0)
    assert len(stream.getvalue().splitlines()) == 50 * MAX_HITS
    assert stream.writes < 50


class Full(io.StringIO):
    """As a file on a full disk, for as long as it is."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


async def test_a_log_that_cannot_be_written_for_a_while_goes_on_after(
    stock: FakeIndex, path: str
) -> None:
    stream = Full()
    log = AccessLog(LineHandler(PlainFormatter(), stream))
    hits = FastPathEvents(log.observe)
    async with serving(stock, fast=True, on_hit=hits.hit) as site:
        for _ in range(2):
            await site.get(path)
        async with log.running(), hits.running():
            pass
        stream.full = False
        await site.get(path)
        async with log.running(), hits.running():
            pass
    assert len(stream.getvalue().splitlines()) == 1
