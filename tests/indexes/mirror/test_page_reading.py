"""Documents of any size and shape: pages are read, the rest ends soon in an error, alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.errors import UnreadablePage
from proxy.indexes.mirror.page_reading import MAX_ORDINARY_INLINE, MAX_OTHER_INLINE, PageReader
from proxy.model import ProjectName, ProjectPage
from tests.support.waiting import until

DEMO = ProjectName("demo")
URL = "https://example.com/simple/demo/"
JSON = "application/vnd.pypi.simple.v1+json"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def dense() -> bytes:
    return b"<a href='x'>y</a>" * 400_000


async def read(document: bytes, content_type: str = "text/html") -> ProjectPage:
    return await PageReader("upstream", lambda origin: True).read(DEMO, URL, content_type, document)


def links(count: int) -> bytes:
    title = "<!DOCTYPE html><title>Links for demo</title>"
    link = '<a href="../../f/demo-{}.zip#sha256={}" data-requires-python="&gt;=3.9">x</a><br>\n'
    return (title + "".join(link.format(number, SHA256) for number in range(count))).encode()


def listed(count: int, **keys: object) -> bytes:
    url = "https://example.com/f/demo-{}.zip"
    files = [
        {"filename": f"demo-{n}.zip", "url": url.format(n), "hashes": {"sha256": SHA256}} | keys
        for n in range(count)
    ]
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": files}).encode()


@pytest.mark.parametrize(
    ("write", "content_type", "count"),
    [
        (links, "text/html", 10),
        (links, "text/html", 2_000),
        (links, "text/html", 20_000),
        (lambda count: links(count).decode().encode("utf-16"), "text/html; charset=utf-16", 10),
        (listed, JSON, 10),
        (listed, JSON, 120_000),
        (lambda count: listed(count, other=1), JSON, 10),
        (lambda count: listed(count, other=1), JSON, 6_000),
        (lambda count: listed(count, url="f/demo-1.zip "), JSON, 6_000),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else None,
)
async def test_pages_of_all_sizes_are_read(
    write: Callable[[int], bytes], content_type: str, count: int
) -> None:
    page = await read(write(count), content_type)
    assert len(page.files) == count
    assert page.files[1].filename == "demo-1.zip"
    assert page.files[1].sha256 == SHA256


def test_both_ways_of_reading_are_tried_with_large_pages() -> None:
    assert len(links(10)) < MAX_OTHER_INLINE < len(links(20_000))
    assert MAX_OTHER_INLINE < len(listed(6_000, other=1)) < MAX_ORDINARY_INLINE
    assert len(listed(120_000)) > MAX_ORDINARY_INLINE


# Functions: the documents are megabytes, and most test processes need few of them.
HOSTILE: dict[str, Callable[[], bytes]] = {
    "anchors": dense,
    "unquoted anchors": lambda: b"<a href=x>y</a>" * 400_000,
    "unquoted files": lambda: b"".join(
        b"<a href=demo-%d.zip>" % number for number in range(25_000)
    ),
    "unusual tags of all the length that is read": lambda: (
        (b"<a " + b"a=b " * 1_000 + b">") * 15_000
    ),
    "bases of unusual form": lambda: b"<base x=y>" * 300_000,
    "open anchors": lambda: b"<a href=x>" * 600_000,
    "files": lambda: b"".join(b"<a href=demo-%d.zip>" % number for number in range(300_000)),
    "paragraphs": lambda: b"<p>" * 3_100_000,
    "divisions": lambda: b"<div>" * 500_000,
    "attributes": lambda: b"<a " + b"".join(b"a%d=b " % number for number in range(500_000)) + b">",
    "equals signs": lambda: b"<a " + b"=" * 5_000_000 + b">",
    "entities": lambda: b"<a href='" + b"&#x10ffff;&notin" * 300_000 + b"'>",
    "digits": lambda: b"<a href='&#" + b"9" * 5_000_000 + b";'>",
    "angles": lambda: b"<" * 5_000_000,
    "open tags": lambda: b"<a " * 1_500_000,
    "open quotes": lambda: b"<a b=\"' " * 600_000,
    "comments": lambda: b"<!--" * 1_000_000,
    "end tags": lambda: b"</a " * 1_000_000,
    "processing": lambda: b"<?" * 2_000_000,
    "sections": lambda: b"<![CDATA[" * 500_000,
    "scripts": lambda: b"<script>" * 500_000,
    "titles": lambda: b"<title>links for " * 300_000,
    "bases": lambda: b"<base>" * 500_000,
    "levels": lambda: b"<a href='" + b"../" * 20_000 + b"x'>",
}


@pytest.mark.slow
@pytest.mark.parametrize("write", HOSTILE.values(), ids=HOSTILE)
async def test_html_made_to_be_slow_is_an_error(write: Callable[[], bytes]) -> None:
    with pytest.raises(UnreadablePage):
        await read(write())


HOSTILE_JSON: dict[str, Callable[[], bytes]] = {
    "files": lambda: listed(260_000),
    "empty files": lambda: b'{"files":[' + b"{}," * 5_000_000 + b"{}]}",
    "lists": lambda: b'{"files":[' + b"[]," * 5_000_000 + b"[]]}",
    "depth": lambda: b'{"files":' + b"[" * 5_000_000,
    "unknown values": lambda: b'{"files":[],"meta":{},"x":[' + b"[]," * 16_000_000 + b"[]]}",
    "a number": lambda: b'{"files":[],"meta":{"api-version":' + b"9" * 5_000_000 + b"}}",
    "a name": lambda: b'{"files":[],"name":"' + b"\\u0061" * 2_000_000 + b'"}',
}


@pytest.mark.slow
@pytest.mark.parametrize("write", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
async def test_json_made_to_be_slow_is_an_error(write: Callable[[], bytes]) -> None:
    with pytest.raises(UnreadablePage):
        await read(write(), JSON)


@pytest.mark.slow
async def test_other_pages_are_read_while_a_dense_one_is() -> None:
    reader = PageReader("upstream", lambda origin: True)
    reading = asyncio.create_task(reader.read(DEMO, URL, "text/html", dense()))
    await until(lambda: bool(_processes()), 10)
    for document in (links(1_000), listed(1_000)):
        kind = JSON if document[:1] == b"{" else "text/html"
        assert len((await reader.read(DEMO, URL, kind, document)).files) == 1_000
    assert not reading.done()
    with pytest.raises(UnreadablePage):
        await reading
    assert not _processes()


async def test_parsing_stops_when_the_last_caller_is_cancelled() -> None:
    reading = asyncio.create_task(read(dense()))
    await until(lambda: bool(_processes()), 10)
    reading.cancel()
    await asyncio.wait({reading})
    assert not _processes()


def _processes() -> list[str]:
    """Numbers of the parse processes that this process has started and not ended."""
    tasks = Path("/proc/self/task").iterdir()
    children = [number for task in tasks for number in (task / "children").read_text().split()]
    return [number for number in children if "parse_process" in _command(number)]


def _command(number: str) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_text()
    except OSError:  # the process has just ended
        return ""
