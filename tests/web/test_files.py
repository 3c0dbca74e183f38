"""Files over HTTP: whole, in parts, on conditions, while they arrive, and when they go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

from proxy.errors import GoneUpstream, StoreDamaged, UpstreamError, UpstreamTimeout
from proxy.model import Blob
from proxy.storage.disk_store import DiskBlob
from proxy.storage.in_memory import BytesBlob
from tests.support.content import random_bytes, sha256
from tests.support.download_rig import open_rig
from tests.support.fake_index import FakeIndex
from tests.support.site import Answer, Site, serving
from tests.support.sockets import reset
from tests.support.upstream import Fault

NAME = "foo-1.0.tar.gz"
SMALL = random_bytes(1000)
LARGE = random_bytes(300_000)
UPLOADED = "2024-02-03T04:05:06.789Z"
MODIFIED = "Sat, 03 Feb 2024 04:05:06 GMT"
Laid = Callable[[bytes], str]


def listed(stock: FakeIndex, content: bytes, blob: Blob | None = None, **described: Any) -> str:
    """The address of a file with this content."""
    described = {
        "hashes": {"sha256": sha256(content)},
        "size": len(content),
        "uploaded": UPLOADED,
    } | described
    file = stock.add("foo", NAME, blob or BytesBlob(content), **described)
    return f"/files/foo/{file.address_digest}/{NAME}"


def on_disk(folder: Path, content: bytes, name: str = "stored") -> DiskBlob:
    path = folder / name
    path.write_bytes(content)
    return DiskBlob(path, len(content))


@pytest.fixture(params=["memory", "disk", "arriving"])
async def laid(
    request: pytest.FixtureRequest, stock: FakeIndex, tmp_path: Path
) -> AsyncIterator[Laid]:
    """Lays out a file whose bytes are in memory, on the disk, or still arriving."""
    async with open_rig(tmp_path) as upstream:

        def lay(content: bytes) -> str:
            if request.param == "arriving":
                upstream.serve(content, Fault(rate=(max(1, len(content) // 20), 0.002)), name=NAME)
                download = upstream.start(content, name=NAME, size=len(content))
                return listed(stock, content, download)
            blob = on_disk(tmp_path, content) if request.param == "disk" else None
            return listed(stock, content, blob)

        yield lay


@pytest.mark.parametrize("content", [b"", b"x", SMALL, LARGE], ids=len)
async def test_a_file_comes_whole_with_all_its_headers(
    site: Site, laid: Laid, content: bytes
) -> None:
    answer = await site.get(laid(content), headers={"Accept-Encoding": "gzip, deflate, br"})
    assert (answer.status, answer.body) == (200, content)
    headers = {name.lower(): value for name, value in answer.headers.items() if name != "Date"}
    assert headers.pop("cache-status").startswith("waystation; ")
    expected = {
        "Content-Length": str(len(content)),
        "Content-Type": "application/octet-stream",
        "ETag": f'"sha256-{sha256(content)}"',
        "Last-Modified": MODIFIED,
        "Accept-Ranges": "bytes",
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Server": "waystation",
    }
    assert headers == {name.lower(): value for name, value in expected.items()}


async def test_head_has_the_headers_of_get_and_ignores_range(site: Site, laid: Laid) -> None:
    path = laid(SMALL)
    head = await site.get(path, "HEAD", {"Range": "bytes=0-9"})
    got = await site.get(path)
    assert (head.status, head.body) == (200, b"")
    assert {k: v for k, v in head.headers.items() if k != "Date"} == {
        k: v for k, v in got.headers.items() if k != "Date"
    }


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, None),
        ("bytes=-500", -500, None),
        ("bytes=0-", 0, None),
        ("bytes=5-5", 5, 6),
        ("bytes=990-99999999", 990, None),
        ("BYTES=1-2", 1, 3),
        ("bytes=-99999999", 0, None),  # more than there is: the whole file
    ],
)
async def test_a_range_is_206_with_exactly_these_bytes(
    site: Site, laid: Laid, content: bytes, asked: str, start: int, stop: int | None
) -> None:
    answer = await site.get(laid(content), headers={"Range": asked})
    part = content[start:stop]
    first = content.index(part)
    assert (answer.status, answer.body) == (206, part)
    assert answer.headers["Content-Length"] == str(len(part))
    assert (
        answer.headers["Content-Range"] == f"bytes {first}-{first + len(part) - 1}/{len(content)}"
    )
    assert answer.headers["ETag"] == f'"sha256-{sha256(content)}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=99999-"])
async def test_a_range_beyond_the_end_is_416_with_the_size(
    site: Site, laid: Laid, asked: str
) -> None:
    answer = await site.get(laid(SMALL), headers={"Range": asked})
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["Content-Range"] == "bytes */1000"


@pytest.mark.parametrize(
    "asked", ["bytes=0-9,20-29", "items=0-9", "bytes=9-0", "bytes=x-y", "bytes", "bytes=-", "0-9"]
)
async def test_several_unknown_and_malformed_ranges_are_ignored(
    site: Site, laid: Laid, asked: str
) -> None:
    answer = await site.get(laid(SMALL), headers={"Range": asked})
    assert (answer.status, answer.body) == (200, SMALL)
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (f'"sha256-{sha256(SMALL)}"', 206),
        (f'W/"sha256-{sha256(SMALL)}"', 200),  # strong comparison (RFC 9110 section 13.1.5)
        ('"sha256-of another file"', 200),
        (MODIFIED, 206),
        ("Sat, 03 Feb 2024 04:05:07 GMT", 200),
        ("nonsense", 200),
    ],
)
async def test_if_range_is_met_only_by_the_same_bytes(
    site: Site, laid: Laid, condition: str, status: int
) -> None:
    headers = {"Range": "bytes=10-19", "If-Range": condition}
    answer = await site.get(laid(SMALL), headers=headers)
    assert (answer.status, answer.body) == (status, SMALL[10:20] if status == 206 else SMALL)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": f'"sha256-{sha256(SMALL)}"'}, 304),
        ({"If-None-Match": f'W/"sha256-{sha256(SMALL)}"'}, 304),
        ({"If-None-Match": f'"x", "sha256-{sha256(SMALL)}"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": MODIFIED}, 200),
        ({"If-Modified-Since": MODIFIED}, 304),
        ({"If-Modified-Since": "Sat, 03 Feb 2024 04:05:05 GMT"}, 200),
        ({"If-Modified-Since": "nonsense"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": f'"sha256-{sha256(SMALL)}"'}, 200),
        ({"If-Unmodified-Since": "Sat, 03 Feb 2024 04:05:05 GMT"}, 412),
        ({"If-Unmodified-Since": MODIFIED}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditions_are_kept(
    site: Site, laid: Laid, method: str, headers: dict[str, str], status: int
) -> None:
    answer = await site.get(laid(SMALL), method, headers)
    assert answer.status == status
    if status == 200:
        assert answer.body == (SMALL if method == "GET" else b"")
        return
    assert answer.body == b""
    assert "Content-Type" not in answer.headers
    assert answer.headers["ETag"] == f'"sha256-{sha256(SMALL)}"'
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_requests_to_bypass_caches_change_nothing(site: Site, laid: Laid) -> None:
    headers = {"Range": "bytes=0-9", "Cache-Control": "no-cache"}
    assert (await site.get(laid(SMALL), headers=headers)).body == SMALL[:10]


async def test_a_sibling_in_gzip_is_another_file(
    site: Site, stock: FakeIndex, tmp_path: Path
) -> None:
    plain, packed = b"plain tar" * 100, b"\x1f\x8b another file" * 100
    for name, content in (("a-1.0.tar", plain), ("a-1.0.tar.gz", packed)):
        stock.add("a", name, on_disk(tmp_path, content, name), hashes={"sha256": sha256(content)})
    address = f"/files/a/{sha256(plain)}/a-1.0.tar"
    answer = await site.get(address, headers={"Accept-Encoding": "gzip, br"})
    assert answer.body == plain
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    "spelling", ["foo-1.0+cu1-py3-none-any.whl", "foo-1.0%2Bcu1-py3-none-any.whl"]
)
async def test_both_spellings_of_a_plus_work(site: Site, stock: FakeIndex, spelling: str) -> None:
    file = stock.add("foo", "foo-1.0+cu1-py3-none-any.whl", b"plus")
    assert (await site.get(f"/files/foo/{file.address_digest}/{spelling}")).body == b"plus"
    assert b"foo-1.0%2Bcu1-py3" in (await site.get("/simple/foo/")).body


@pytest.mark.parametrize(
    "rest",
    [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%252e%252e%252fetc%252fpasswd",
        "..%5c..%5cetc%5cpasswd",
        "%00",
        f"{NAME}%00",
        f"{NAME}%00.whl",
        f"{NAME}%0d%0a",
        f"{NAME}/",
        f".%2f{NAME}",
        f"%2f{NAME}",
        "..",
        "%2e",
        f"{NAME};x=1",
        f"{NAME}%20",
        "C:%5cfoo",
        "con",
        "f" * 300,
        "f%C3%B3o-1.0.tar.gz",
        "%ff%fe",
        "https:%2f%2fevil.example%2fx.whl",
        "foo-9.9.tar.gz",
    ],
)
async def test_only_listed_names_are_served(site: Site, stock: FakeIndex, rest: str) -> None:
    listed(stock, SMALL)
    for digest in (sha256(SMALL), "-"):
        answer = await site.get(f"/files/foo/{digest}/{rest}")
        assert answer.status == 404
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        f"/files/foo/{'0' * 64}/{NAME}",
        f"/files/bar/-/{NAME}",
        f"/files/%2e%2e/-/{NAME}",
        f"/files/foo/..%2f/{NAME}",
        f"/files/foo/md5-xyz/{NAME}",
        f"/files/foo/{'A' * 64}/{NAME}",
        f"/files/{NAME}",
        "/files/https://evil.example/x.whl",
        "/files/",
        "/etc/passwd",
    ],
)
async def test_no_other_address_leads_to_a_file(site: Site, stock: FakeIndex, path: str) -> None:
    listed(stock, SMALL)
    assert (await site.get(path)).status == 404


async def test_raw_traversal_in_the_target_is_404(site: Site, stock: FakeIndex) -> None:
    listed(stock, SMALL)
    sent = b"GET /files/foo/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert (await site.raw(sent)).startswith(b"HTTP/1.1 404 ")


async def test_a_file_is_served_under_any_spelling_of_its_project(
    site: Site, stock: FakeIndex
) -> None:
    """Nothing is gained by a redirect: the digest says which bytes are meant."""
    path = listed(stock, SMALL)
    assert (await site.get(path.replace("/foo/", "/Foo/"))).body == SMALL


async def test_a_file_without_sha256_is_addressed_and_tagged_by_what_it_has(
    site: Site, stock: FakeIndex
) -> None:
    path = listed(stock, SMALL, hashes={"md5": "0" * 32})
    assert path == f"/files/foo/md5-{'0' * 32}/{NAME}"
    answer = await site.get(path)
    assert answer.headers["ETag"] == f'"md5-{"0" * 32}"'


async def test_a_file_without_any_digest_is_not_kept_for_ever(site: Site, stock: FakeIndex) -> None:
    path = listed(stock, SMALL, hashes={})
    assert path == f"/files/foo/-/{NAME}"
    answer = await site.get(path)
    assert answer.headers["Cache-Control"] == "public, max-age=600"
    assert "ETag" not in answer.headers
    assert (await site.get(path, headers={"Range": "bytes=1-2"})).body == SMALL[1:3]


async def test_metadata_is_sent_as_it_is_and_without_a_coding(site: Site, stock: FakeIndex) -> None:
    metadata = b"Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n" * 20
    file = stock.add("foo", NAME, b"x", metadata={"sha256": sha256(metadata)})
    stock.blobs["foo", f"{NAME}.metadata"] = BytesBlob(metadata)
    path = f"/files/foo/{file.address_digest}/{NAME}.metadata"
    answer = await site.get(path, headers={"Accept-Encoding": "zstd,gzip,deflate"})
    assert answer.body == metadata
    assert answer.headers["ETag"] == f'"sha256-{sha256(metadata)}"'
    assert "Content-Encoding" not in answer.headers


async def test_provenance_is_json_and_may_change(site: Site, stock: FakeIndex) -> None:
    file = stock.add("foo", NAME, b"x", provenance="https://x.example/p")
    stock.blobs["foo", f"{NAME}.provenance"] = BytesBlob(b"{}")
    answer = await site.get(f"/files/foo/{file.address_digest}/{NAME}.provenance")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "public, max-age=600"


class Scripted(Blob):
    """A blob that does what a test says: gives pieces, waits, breaks."""

    def __init__(self, *steps: bytes | Exception | asyncio.Event, size: int | None) -> None:
        self._size = size
        self.steps = steps
        self.given = 0
        self.closed = asyncio.Event()

    @property
    def size(self) -> int | None:
        return self._size

    @property
    def needs_download(self) -> bool:
        return True

    async def length(self) -> int | None:
        return self._size

    async def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                    continue
                self.given += 1
                yield step
        finally:
            self.closed.set()


async def test_head_reads_nothing(site: Site, stock: FakeIndex) -> None:
    blob = Scripted(b"x", size=1)
    answer = await site.get(listed(stock, b"x", blob), "HEAD")
    assert (answer.status, answer.headers["Content-Length"]) == (200, "1")
    assert blob.given == 0


async def test_a_file_of_unknown_length_is_sent_in_chunks(site: Site, stock: FakeIndex) -> None:
    answer = await site.get(listed(stock, b"", Scripted(b"abc", b"de", size=None), size=None))
    assert (answer.status, answer.body) == (200, b"abcde")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Accept-Ranges" not in answer.headers  # a promise that could not be kept


@pytest.mark.parametrize("error", [UpstreamError("u", "no"), UpstreamTimeout("u", "late")])
async def test_an_error_before_the_first_byte_has_its_status(
    site: Site, stock: FakeIndex, error: Exception
) -> None:
    answer = await site.get(listed(stock, SMALL, Scripted(error, size=1000)))
    assert answer.status == (504 if isinstance(error, UpstreamTimeout) else 502)
    assert answer.headers["Retry-After"].isdigit()
    assert "Content-Length" in answer.headers and "ETag" not in answer.headers


async def test_a_file_that_is_gone_upstream_is_404(site: Site, stock: FakeIndex) -> None:
    answer = await site.get(listed(stock, SMALL, Scripted(GoneUpstream("u"), size=1000)))
    assert answer.status == 404


async def test_a_damaged_file_is_500_and_not_wrong_bytes(
    site: Site, stock: FakeIndex, tmp_path: Path
) -> None:
    blob = on_disk(tmp_path, LARGE)
    path = listed(stock, LARGE, blob)
    blob.path.write_bytes(b"short")
    answer = await site.get(path)
    assert answer.status == 500
    assert str(tmp_path).encode() not in answer.body


BREAKS = [UpstreamError("u", "broke off"), StoreDamaged("key"), OSError(5, "I/O error")]


@pytest.mark.parametrize("error", BREAKS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("size", [1000, None])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_what_breaks_off_never_looks_complete(
    stock: FakeIndex, error: Exception, size: int | None, version: str
) -> None:
    """Also not to HTTP/1.0, where the end of the connection is the end of the answer."""
    path = listed(stock, SMALL, Scripted(b"half", error, size=size), size=size)
    async with serving(stock) as site:
        received = b""
        async with site.connection() as (reader, writer):
            writer.write(f"GET {path} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
            with pytest.raises(ConnectionResetError):
                while piece := await reader.read(65536):
                    received += piece
        line = await site.lines.next()
    assert b"internal error" not in received  # no second answer within the first
    assert b"0\r\n\r\n" not in received
    assert line["status"] == 200
    assert line["bytes"] == 4
    assert line["trouble"] == ("internal error" if isinstance(error, OSError) else str(error))


@pytest.mark.parametrize("size", [True, False])
async def test_wrong_bytes_are_never_a_complete_answer(
    stock: FakeIndex, tmp_path: Path, size: bool
) -> None:
    async with open_rig(tmp_path) as upstream, serving(stock) as site:
        upstream.serve(LARGE, Fault(corrupt=True), name=NAME)
        download = upstream.start(LARGE, name=NAME, size=len(LARGE) if size else None)
        path = listed(stock, LARGE, download, size=len(LARGE) if size else None)
        with pytest.raises(aiohttp.ClientError):
            await site.get(path)
        await upstream.all_ended()
        assert upstream.stored() == []


async def test_small_wrong_bytes_are_an_honest_502(stock: FakeIndex, tmp_path: Path) -> None:
    async with open_rig(tmp_path) as upstream, serving(stock) as site:
        upstream.serve(SMALL, Fault(corrupt=True), name=NAME)
        path = listed(stock, SMALL, upstream.start(SMALL, name=NAME, size=len(SMALL)))
        assert (await site.get(path)).status == 502


async def test_the_first_bytes_do_not_wait_for_the_last(stock: FakeIndex, tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with open_rig(tmp_path) as upstream, serving(stock) as site:
        upstream.serve(LARGE, Fault(gate=gate, gate_at=200_000), name=NAME)
        path = listed(stock, LARGE, upstream.start(LARGE, name=NAME, size=len(LARGE)))
        async with site.connection() as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert (await reader.readexactly(100_000)) == LARGE[:100_000]
            gate.set()
            assert (await reader.read(-1)) == LARGE[100_000:]
        assert b"Content-Length: 300000" in head


async def test_all_clients_get_all_bytes_from_one_download(
    stock: FakeIndex, tmp_path: Path
) -> None:
    async with open_rig(tmp_path) as upstream, serving(stock) as site:
        upstream.serve(LARGE, Fault(rate=(30_000, 0.005)), name=NAME)
        path = listed(stock, LARGE, upstream.start(LARGE, name=NAME, size=len(LARGE)))
        answers = await asyncio.gather(*(site.get(path) for _ in range(20)))
        assert {sha256(answer.body) for answer in answers} == {sha256(LARGE)}
        assert upstream.upstream.count(NAME) == 1


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a memory file system")
async def test_a_file_is_sent_from_a_file_system_without_nowait_reads(
    site: Site, stock: FakeIndex
) -> None:
    """Such file systems refuse to read without waiting: a thread reads."""
    content = random_bytes(3_000_000)
    with TemporaryDirectory(dir="/dev/shm") as folder:
        path = listed(stock, content, on_disk(Path(folder), content))
        answers = await asyncio.gather(*(site.get(path) for _ in range(3)))
    assert [sha256(answer.body) for answer in answers] == [sha256(content)] * 3


async def test_two_files_that_arrive_at_once_are_not_mixed_up(
    stock: FakeIndex, tmp_path: Path
) -> None:
    """Their readers come to the same offsets at the same time."""
    contents = {f"foo-{number}.tar.gz": random_bytes(900_000, seed=number) for number in range(2)}
    async with open_rig(tmp_path) as upstream, serving(stock) as site:
        paths = {}
        for name, content in contents.items():
            upstream.serve(content, Fault(rate=(200_000, 0.005)), name=name)
            blob = upstream.start(content, name=name, size=len(content))
            digest = sha256(content)
            stock.add("foo", name, blob, hashes={"sha256": digest}, size=len(content))
            paths[f"/files/foo/{digest}/{name}"] = digest
        asked = list(paths) * 10
        answers = await asyncio.gather(*(site.get(path) for path in asked))
        assert [sha256(answer.body) for answer in answers] == [paths[path] for path in asked]


async def test_a_client_that_leaves_frees_what_was_read_and_is_logged(stock: FakeIndex) -> None:
    blob = Scripted(b"first", asyncio.Event(), size=1000)
    path = listed(stock, SMALL, blob)
    async with serving(stock) as site:
        async with site.connection() as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await reader.readuntil(b"first")).startswith(b"HTTP/1.1 200 OK\r\n")
            reset(writer)
            await blob.closed.wait()
        line = await site.lines.next()
    assert (line["status"], line["bytes"]) == (200, 5)
    assert line["trouble"] == "the client left, or the server stopped"


async def test_a_client_that_leaves_before_there_is_an_answer_is_logged(stock: FakeIndex) -> None:
    blob = Scripted(asyncio.Event(), size=1000)
    path = listed(stock, SMALL, blob)
    async with serving(stock) as site:
        async with site.connection() as (_, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            while not stock.asked:
                await asyncio.sleep(0)
            reset(writer)
            await blob.closed.wait()
        line = await site.lines.next()
    assert (line["status"], line["bytes"]) == (499, 0)


async def test_a_client_that_leaves_does_not_end_the_download_of_others(
    stock: FakeIndex, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    async with open_rig(tmp_path) as upstream, serving(stock) as site:
        upstream.serve(LARGE, Fault(gate=gate, gate_at=200_000), name=NAME)
        path = listed(stock, LARGE, upstream.start(LARGE, name=NAME, size=len(LARGE)))
        async with site.connection() as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readexactly(1000)
            other: asyncio.Task[Answer] = asyncio.create_task(site.get(path))
            reset(writer)
        await site.lines.next()
        gate.set()
        assert (await other).body == LARGE
        assert upstream.upstream.count(NAME) == 1
