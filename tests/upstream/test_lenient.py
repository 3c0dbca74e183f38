"""Answers that pip (requests) and uv (reqwest) accept from an index directly are accepted here.

Each was tried with both. Where only one accepts an answer, and no byte can become wrong by that,
it is accepted as well.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.errors import DigestMismatch, UnreadablePage, UpstreamError
from proxy.model import ProjectName
from proxy.simple import parse_page
from proxy.storage.disk_store import DiskStore
from proxy.upstream.digest_check import Expected
from proxy.upstream.downloads import Downloads
from proxy.upstream.remote import Remote, UpstreamDocument, Validators
from tests.support.content import read_blob
from tests.support.raw_upstream import (
    HTML,
    LENGTH,
    OK,
    Make,
    RawUpstream,
    chunked,
    coded,
    lines,
    plain,
)
from tests.support.remotes import open_remote


def status(line: bytes, *more: bytes) -> Make:
    return plain(*more, start=b"HTTP/1.1 " + line)


def whole_part(body: bytes) -> bytes:
    return status(b"206 Part", b"Content-Range: bytes 0-%d/%d" % (len(body) - 1, len(body)))(body)


def twice(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data))


def members(data: bytes) -> bytes:
    return gzip.compress(data[:50]) + gzip.compress(data[50:])


LONG = b"x" * 60_000

HEADS: dict[str, Make] = {
    "plain": plain(),
    # start lines
    "no reason": status(b"200"),
    "reason in Latin-1": status(b"200 Tr\xe8s bien"),
    "long reason": status(b"200 " + LONG),
    "HTTP/1.0": lines(b"HTTP/1.0 200 OK", HTML),
    "HTTP/1.2": plain(start=b"HTTP/1.2 200 OK"),
    "spaces in the start line": plain(start=b"HTTP/1.1  200 OK"),
    "empty line first": plain(start=b"\r\n" + OK),
    **{f"status {code}": status(b"%d Word" % code) for code in (201, 202, 203, 207, 226, 250, 299)},
    "206 without a range": status(b"206 Part"),
    "206 of all": whole_part,
    "100 first": plain(start=b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK),
    "empty lines first": plain(start=b"\r\n\r\n\n" + OK),
    "102 and 103 first": plain(
        start=b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n" + OK
    ),
    # fields
    "lines end with LF": plain(b"X-A: 1", end=b"\n"),
    "folded value": plain(b"X-A: one\r\n two\r\n\tthree"),
    "folded type": lines(OK, b"Content-Type:\r\n text/html", LENGTH),
    "continuation first": plain(start=OK + b"\r\n X-A: 1"),
    "space before the colon": lines(OK, HTML, b"Content-Length : %d"),
    "name with a space": plain(b"X A: 1"),
    "name with odd characters": plain(b"X(a)@/b: 1"),
    "name outside ASCII": plain(b"X-\xfc: 1"),
    "no name": plain(b": 1"),
    "long name": plain(LONG + b": 1"),
    "no colon": plain(b"nonsense"),
    "value outside UTF-8": plain(b"X-A: \xfc"),
    "NUL and CR in a value": plain(b"X-A: a\0b\rc"),
    "control characters in a value": plain(b"X-A: \x01\x1b\x7f"),
    "no value": plain(b"X-A:"),
    "long value": plain(b"X-A: " + LONG + LONG),
    "long head": plain(*(b"X-%d: " % n + LONG for n in range(7))),
    "100 fields": plain(*(b"X-%d: 1" % n for n in range(97))),
    "type outside UTF-8": lines(OK, b"Content-Type: text/html; x=\xfc", LENGTH),
    "tag outside UTF-8": plain(b'ETag: "\xfc"'),
    "tag with a control character": plain(b'ETag: "\x01"'),
    "bare tag": plain(b"ETag: abc"),
    "long tag": plain(b'ETag: "' + LONG + b'"'),
    "date outside UTF-8": plain(b"Last-Modified: Mo, 03 M\xe4rz"),
    "dates that are none": plain(b"Date: soon", b"Expires: 0", b"Age: old", b"Last-Modified: x"),
    "dates far away": plain(b"Date: Mon, 01 Jan 0001 00:00:00 GMT", b"Expires: 9999"),
    "nonsense in Cache-Control": plain(b"Cache-Control: max-age=\xb2, \xfc"),
    "nonsense in the serial": plain(b"X-PyPI-Last-Serial: \xb2"),
    "cookies that are none": plain(b"Set-Cookie: a b=; ;;=\xfc", b"Set-Cookie:"),
    "long cookie": plain(b"Set-Cookie: a=" + LONG),
    "upgrade offered": plain(b"Upgrade: websocket, h2c", b"Connection: Upgrade"),
    "connection both ways": plain(b"Connection: close, Keep-Alive"),
    # lengths
    "no length": lines(OK, HTML),
    "length twice": lines(OK, HTML, LENGTH, LENGTH),
    "length twice in a line": lines(OK, HTML, b"Content-Length: %d, %d"),
    "length with zeros": lines(OK, HTML, b"Content-Length: 000%d"),
    "empty length": lines(OK, HTML, b"Content-Length:"),
    "length in words": lines(OK, HTML, b"Content-Length: all"),
    "negative length": lines(OK, HTML, b"Content-Length: -1"),
    "bytes after the length": lambda body: plain()(body) + b"\r\nmore",
    # transfer codings
    "chunked": chunked(),
    "chunked in capitals": chunked(coding=b"CHUNKED "),
    "chunked twice": chunked(coding=b"chunked\r\nTransfer-Encoding: chunked"),
    "chunked in HTTP/1.0": chunked(start=b"HTTP/1.0 200 OK"),
    "chunked and identity": chunked(coding=b"identity, chunked"),
    "identity after chunked": chunked(coding=b"chunked, identity"),
    "chunked with a length": chunked(b"Content-Length: 3"),
    "chunked with an empty length": chunked(b"Content-Length:"),
    "chunk sizes with zeros": chunked(size=b"%032X"),
    "chunk sizes with spaces": chunked(size=b"%x  "),
    "chunk extensions": chunked(size=b'%x;a=1;b="c"'),
    "long chunk extensions": chunked(size=b"%x;a=" + b"v" * 9000),
    "trailers": chunked(last=b"0\r\nX-A: 1\r\nX-B: " + LONG + b"\xfc\r\n\r\n"),
    "zeros in the last chunk": chunked(last=b"000\r\n\r\n"),
    "bytes after the last chunk": chunked(last=b"0\r\n\r\n\r\nmore"),
    **{
        f"{coding or 'empty'} as transfer coding": lines(
            OK, HTML, b"Transfer-Encoding: " + coding.encode(), LENGTH
        )
        for coding in ("", "identity", "utf-8", "none", "binary")
    },
    "transfer coding that is none, and no length": lines(OK, HTML, b"Transfer-Encoding: 8bit"),
    # content codings that are none
    **{
        f"{label} as content coding": coded(label.encode("latin-1"))
        for label in (
            *("aws-chunked", "utf-8", "UTF8", "none", "binary", "identity", "8bit", "base64"),
            *("iso-8859-1", "null", "br", "compress", "charset=utf-8; x", "\xfc", ",", "gzip"),
        )
    },
    "two content codings that are none": coded(b"utf-8\r\nContent-Encoding: none"),
}

CODED: dict[str, Make] = {
    "gzip": coded(b"gzip", gzip.compress),
    "gzip in capitals": coded(b"GZIP", gzip.compress),
    "x-gzip": coded(b"x-gzip", gzip.compress),
    "gzip with others that are none": coded(b"aws-chunked, gzip, utf-8", gzip.compress),
    "gzip said twice": coded(b"gzip\r\nContent-Encoding: gzip", gzip.compress),
    "gzip and gzip": coded(b"gzip, gzip", twice),
    "gzip members": coded(b"gzip", members),
    "gzip and padding": coded(b"gzip", lambda data: gzip.compress(data) + bytes(512)),
    "gzip and a line end": coded(b"gzip", lambda data: gzip.compress(data) + b"\r\n"),
    "gzip and more": coded(b"gzip", lambda data: gzip.compress(data) + b"more"),
    "deflate": coded(b"deflate", zlib.compress),
    "deflate without a header": coded(b"deflate", lambda data: zlib.compress(data, wbits=-15)),
    "deflate and more": coded(b"deflate", lambda data: zlib.compress(data) + b"more"),
    "deflate that is gzip": coded(b"deflate", gzip.compress),
    "gzip that is deflate": coded(b"gzip", zlib.compress),
    "deflate in gzip": coded(b"deflate, gzip", lambda it: gzip.compress(zlib.compress(it))),
}

PAGES: dict[str, Make] = {
    **{f"page with status {code}": status(b"%d Word" % code) for code in (300, 302, 305, 306)},
    **{
        f"type {label!r}": lines(OK, b"Content-Type: " + label.encode(), LENGTH)
        for label in (
            *("", "TEXT/HTML", "text/html;", "text/html; charset=", "text/html; charset=utf8"),
            *("text/html; charset=x", "text/html; charset=latin-1", "text/html; charset=utf-16"),
            *('text/html; charset="utf-8"', "text/html, text/html", "text/plain", "html", "*/*"),
            *("application/octet-stream", "application/vnd.pypi.simple.v1+html"),
        )
    },
    "no type": lines(OK, LENGTH),
    "two types": plain(HTML),
    "UTF-16": lambda body: plain()(body.decode().encode("utf-16")),
    "UTF-16 called UTF-8": lambda body: lines(
        OK, b"Content-Type: text/html; charset=utf-8", LENGTH
    )(body.decode().encode("utf-16")),
    "byte order mark": lambda body: plain()(b"\xef\xbb\xbf" + body),
}

REFUSED: dict[str, Make] = {
    "another length": lines(OK, HTML, LENGTH, b"Content-Length: 5"),
    "HTTP/2": plain(start=b"HTTP/2 200 OK"),
    "no HTTP": plain(start=b"ICY 200 OK"),
    "cut by length": lambda body: plain()(body)[:-9],
    "cut in a chunk": lambda body: chunked(last=b"")(body)[:-9],
    "no last chunk": chunked(last=b""),
    "broken chunk size": chunked(size=b"g%x"),
    "cut gzip": coded(b"gzip", lambda data: gzip.compress(data)[:-30]),
    "wrong sum of gzip": coded(b"gzip", lambda data: gzip.compress(data)[:-8] + bytes(8)),
    "endless head": lambda body: OK + b"\r\n" + b"X-A: 1\r\n" * 200_000,
    "endless line": lambda body: OK + b"\r\nX-A: " + b"x" * 2_000_000,
    "a part": status(b"206 Part", b"Content-Range: bytes 5-9/10"),
}


@pytest.fixture
async def upstream(wheel: Path) -> AsyncIterator[RawUpstream]:
    async with RawUpstream(wheel) as running:
        yield running


async def page_of(remote: Remote, upstream: RawUpstream) -> list[str]:
    project = ProjectName(upstream.project)
    found = await remote.page(project)
    assert isinstance(found, UpstreamDocument)
    page = parse_page(project, found.body, found.content_type, found.url, "pypi")
    return [file.sha256 or "" for file in page.files]


@pytest.mark.parametrize("make", [pytest.param(it, id=name) for name, it in HEADS.items()])
async def test_pages_and_files_that_installers_accept(upstream: RawUpstream, make: Make) -> None:
    upstream.page = upstream.file = make
    async with open_remote(f"{upstream.origin}/simple/", retries=0) as remote:
        assert await page_of(remote, upstream) == [upstream.sha256]
        async with remote.open(f"{upstream.origin}/x.whl") as body:
            assert b"".join([chunk async for chunk in body.chunks]) == upstream.content


@pytest.mark.parametrize("make", [pytest.param(it, id=name) for name, it in CODED.items()])
async def test_content_codings_come_off_pages_and_files(
    upstream: RawUpstream, make: Make, tmp_path: Path
) -> None:
    upstream.page = upstream.file = make
    async with open_remote(f"{upstream.origin}/simple/", retries=0) as remote:
        assert await page_of(remote, upstream) == [upstream.sha256]
        downloads = Downloads(DiskStore(tmp_path / "store"), tmp_path, retries=0)
        hashes = {"sha256": upstream.sha256}
        expected = Expected("pypi", "demo-1.0-py3-none-any.whl", hashes, None, 2**20)
        url = f"{upstream.origin}/x.whl"

        async def done(key: str, size: int) -> None:
            assert (key, size) == (upstream.sha256, len(upstream.content))

        download = downloads.start(
            url, expected, lambda start, etag: remote.open(url, start=start, etag=etag), done
        )
        assert await read_blob(download) == upstream.content
        await downloads.close(5)


BROKEN_ENDS: dict[str, Make] = {
    "a size that is no number": chunked(last=b"badsize\r\n"),
    "no size": chunked(last=b"\r\n\r\n"),
    "a sign": chunked(last=b"-1\r\n\r\n"),
    "no last chunk": chunked(last=b""),
    "a cut last chunk": chunked(last=b"0\r"),
    "a length that is too large": lambda body: plain()(body).replace(b"Length: ", b"Length: 1"),
}


@pytest.mark.parametrize("make", BROKEN_ENDS.values(), ids=BROKEN_ENDS)
async def test_a_file_that_its_digest_proves_is_whole_whatever_follows_it(
    upstream: RawUpstream, make: Make, tmp_path: Path
) -> None:
    """The whole answer arrives at once: the error must not overtake the bytes."""
    upstream.file = make
    async with open_remote(f"{upstream.origin}/simple/", retries=0) as remote:
        downloads = Downloads(DiskStore(tmp_path / "store"), tmp_path, retries=0)
        hashes = {"sha256": upstream.sha256}
        expected = Expected("pypi", "demo-1.0-py3-none-any.whl", hashes, None, 2**22)
        url = f"{upstream.origin}/x.whl"

        async def done(key: str, size: int) -> None:
            assert (key, size) == (upstream.sha256, len(upstream.content))

        download = downloads.start(url, expected, lambda *_: remote.open(url), done)
        assert await read_blob(download) == upstream.content
        await downloads.close(5)


@pytest.mark.parametrize("make", [pytest.param(it, id=name) for name, it in PAGES.items()])
async def test_pages_that_are_listings_whatever_they_are_called(
    upstream: RawUpstream, make: Make
) -> None:
    upstream.page = make
    async with open_remote(f"{upstream.origin}/simple/", retries=0) as remote:
        assert await page_of(remote, upstream) == [upstream.sha256]


@pytest.mark.parametrize("make", [pytest.param(it, id=name) for name, it in REFUSED.items()])
async def test_pages_that_may_be_wrong_are_refused(upstream: RawUpstream, make: Make) -> None:
    upstream.page = make
    async with open_remote(f"{upstream.origin}/simple/", retries=0) as remote:
        with pytest.raises((UpstreamError, UnreadablePage, DigestMismatch)):
            await page_of(remote, upstream)


async def test_a_tag_that_cannot_be_sent_back_does_no_harm(upstream: RawUpstream) -> None:
    upstream.page = plain(b'ETag: "\xfc\x01"', b"Last-Modified: \xfc")
    async with open_remote(f"{upstream.origin}/simple/", retries=0) as remote:
        first = await remote.page(ProjectName(upstream.project))
        assert isinstance(first, UpstreamDocument)
        validators = Validators(first.etag, first.last_modified)
        assert isinstance(
            await remote.page(ProjectName(upstream.project), validators), UpstreamDocument
        )
