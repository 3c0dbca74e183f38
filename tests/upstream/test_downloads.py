"""Files on their way: shared, tailed, verified before they are complete for anybody."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import DigestMismatch, UpstreamError
from proxy.upstream.download import WITHHELD
from tests.support.content import random_bytes, read_blob, sha256
from tests.support.download_rig import DownloadRig, Script, UpstreamStep, open_rig, received
from tests.support.upstream import Fault

CONTENT = random_bytes(3_000_001)
BROKEN_OFF = Fault(truncate=1_000_000)


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[DownloadRig]:
    async with open_rig(tmp_path) as made:
        yield made


async def test_fifty_readers_share_one_fetch(it: DownloadRig) -> None:
    gate = asyncio.Event()
    it.serve(CONTENT, Fault(gate=gate, gate_at=1_500_000))
    downloads = [it.start(CONTENT) for _ in range(50)]
    readers = [asyncio.create_task(read_blob(download)) for download in downloads]
    gate.set()
    assert {sha256(got) for got in await asyncio.gather(*readers)} == {sha256(CONTENT)}
    await it.all_ended()
    assert it.upstream.count("x-1.0") == 1
    assert it.done == [(sha256(CONTENT), len(CONTENT))]
    assert it.stored() == [sha256(CONTENT)]
    assert it.spooled() == []


async def test_the_first_bytes_do_not_wait_for_the_rest(it: DownloadRig) -> None:
    gate = asyncio.Event()
    it.serve(CONTENT, Fault(gate=gate, gate_at=1000 + WITHHELD))
    async with aclosing(it.start(CONTENT).chunks()) as chunks:
        first = await asyncio.wait_for(anext(chunks), 10)
        gate.set()
        assert first + b"".join([piece async for piece in chunks]) == CONTENT


async def test_a_late_reader_starts_at_the_first_byte(it: DownloadRig) -> None:
    gate = asyncio.Event()
    it.serve(CONTENT, Fault(gate=gate, gate_at=2_000_000))
    async with aclosing(it.start(CONTENT).chunks()) as first:
        got = await anext(first)
        while len(got) < 1_500_000:
            got += await anext(first)
        late = it.downloads.join("x-1.0.tar.gz")
        assert late is not None
        reading = asyncio.create_task(read_blob(late))
        gate.set()
        assert await reading == CONTENT
        assert got + b"".join([piece async for piece in first]) == CONTENT
    assert it.upstream.count("x-1.0") == 1


async def test_a_reader_that_leaves_cancels_nothing(it: DownloadRig) -> None:
    gate = asyncio.Event()
    it.serve(CONTENT, Fault(gate=gate, gate_at=1_000_000))
    download = it.start(CONTENT)
    async with aclosing(download.chunks()) as first:
        await anext(first)
        second = asyncio.create_task(read_blob(download))
        third = asyncio.create_task(read_blob(download))
        await asyncio.sleep(0)
    third.cancel()
    gate.set()
    assert await second == CONTENT
    await it.all_ended()
    assert it.stored() == [sha256(CONTENT)]


async def test_a_download_without_readers_is_fetched_to_the_end(it: DownloadRig) -> None:
    it.serve(CONTENT)
    it.start(CONTENT)
    await it.all_ended()
    assert it.stored() == [sha256(CONTENT)]


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (100, 2_000_000), (1_500_000, None)])
async def test_ranges_of_a_running_download_are_the_same_slices(
    it: DownloadRig, start: int, stop: int | None
) -> None:
    it.serve(CONTENT)
    assert await read_blob(it.start(CONTENT), start, stop) == CONTENT[start:stop]


async def test_a_range_past_the_end_or_beyond_is_cut(it: DownloadRig) -> None:
    it.serve(CONTENT)
    download = it.start(CONTENT)
    assert await read_blob(download, len(CONTENT) - 5, 10**9) == CONTENT[-5:]
    assert await read_blob(download, len(CONTENT)) == b""
    assert await read_blob(download, 10**9, 10**9 + 5) == b""


async def test_a_finished_download_can_still_be_read(it: DownloadRig) -> None:
    it.serve(CONTENT)
    download = it.start(CONTENT)
    await it.all_ended()
    assert it.downloads.join("x-1.0.tar.gz") is None
    assert await read_blob(download, 5) == CONTENT[5:]
    await it.store.delete(sha256(CONTENT))
    assert await read_blob(download) == CONTENT


@pytest.mark.parametrize("chunked", [False, True])
async def test_wrong_bytes_are_never_a_complete_answer_and_never_stored(
    it: DownloadRig, chunked: bool
) -> None:
    it.serve(CONTENT, Fault(corrupt=True, chunked=chunked))
    download = it.start(CONTENT)
    parts = [(0, None), (0, 10), (5, 1_000_000), (len(CONTENT) - 1, None)]
    got = await asyncio.gather(
        *(received(download.chunks(*part), DigestMismatch) for part in parts)
    )
    assert len(got[0]) < len(CONTENT)
    assert got[1] == b""
    assert len(got[2]) < 1_000_000 - 5
    assert got[3] == b""
    await it.all_ended()
    assert (it.stored(), it.spooled(), it.done) == ([], [], [])
    assert it.upstream.count("x-1.0") == 1


async def test_a_small_file_is_right_before_its_first_byte(it: DownloadRig) -> None:
    it.serve(CONTENT[:WITHHELD], Fault(corrupt=True))
    assert await received(it.start(CONTENT[:WITHHELD]).chunks(), DigestMismatch) == b""


async def test_the_end_waits_for_the_check_even_when_all_bytes_are_here(it: DownloadRig) -> None:
    gate = asyncio.Event()
    it.serve(CONTENT, Fault(gate=gate, gate_at=len(CONTENT), chunked=True))
    download = it.start(CONTENT, size=len(CONTENT))
    async with aclosing(download.chunks()) as chunks:
        got = await anext(chunks)
        while len(got) < len(CONTENT) - WITHHELD:
            got += await anext(chunks)
        last = asyncio.ensure_future(anext(chunks))
        await asyncio.wait({last}, timeout=0.1)
        assert not last.done()
        gate.set()
        assert got + await last == CONTENT


async def test_the_strongest_hash_that_is_offered_decides(it: DownloadRig) -> None:
    it.serve(CONTENT)
    right: dict[str, Any] = {
        "sha512": hashlib.sha512(CONTENT).hexdigest(),
        "blake2b": hashlib.blake2b(CONTENT, digest_size=32).hexdigest(),
        "md5": hashlib.md5(CONTENT).hexdigest(),
    }
    for name, value in right.items():
        assert await read_blob(it.start(**{name: value, "shake": "0"})) == CONTENT
        await it.all_ended()
    wrong: dict[str, Any] = {"sha512": "0" * 128, "sha256": sha256(CONTENT)}
    assert len(await received(it.start(**wrong).chunks(), DigestMismatch)) < len(CONTENT)


async def test_without_any_hash_the_sha256_of_the_bytes_is_reported(it: DownloadRig) -> None:
    it.serve(CONTENT)
    assert await read_blob(it.start()) == CONTENT
    await it.all_ended()
    assert it.done == [(sha256(CONTENT), len(CONTENT))]


async def test_another_length_than_the_index_names_fails_before_the_first_byte(
    it: DownloadRig,
) -> None:
    it.serve(CONTENT)
    assert await received(it.start(CONTENT, size=5).chunks(), DigestMismatch) == b""
    assert await received(it.start(limit=1000).chunks(), DigestMismatch) == b""


async def test_more_bytes_than_there_can_be_end_the_download_at_once(it: DownloadRig) -> None:
    gate = asyncio.Event()  # never set: upstream would go on for ever
    it.serve(CONTENT, *[Fault(chunked=True, gate=gate, gate_at=2_000_000)] * 2)
    assert len(await received(it.start(size=1_000_000).chunks(), DigestMismatch)) < 1_000_000
    assert len(await received(it.start(limit=1_000_000).chunks(), DigestMismatch)) < 1_000_000
    await it.all_ended()
    assert (it.stored(), it.spooled()) == ([], [])


async def test_what_breaks_off_is_resumed_where_it_broke(it: DownloadRig) -> None:
    it.serve(CONTENT, BROKEN_OFF, BROKEN_OFF)
    assert await read_blob(it.start(CONTENT)) == CONTENT
    first, second, third = it.upstream.of("x-1.0")
    assert "Range" not in first.headers
    starts = [int(each.headers["Range"][6:-1]) for each in (second, third)]
    assert 0 < starts[0] < starts[1] < len(CONTENT)
    assert second.headers["If-Range"].startswith('"')


async def test_without_a_strong_tag_it_starts_again_and_readers_see_no_seam(
    it: DownloadRig,
) -> None:
    it.upstream.etags = False
    it.serve(CONTENT, BROKEN_OFF)
    assert await read_blob(it.start(CONTENT)) == CONTENT
    assert "Range" not in it.upstream.of("x-1.0")[1].headers


async def test_when_upstream_ignores_the_range_it_goes_on_without_a_seam(it: DownloadRig) -> None:
    it.serve(CONTENT, BROKEN_OFF, Fault(ranges=False))
    assert await read_blob(it.start(CONTENT)) == CONTENT
    assert it.upstream.count("x-1.0") == 2


async def test_replaced_bytes_are_never_joined_to_the_old_ones(
    it: DownloadRig,
) -> None:
    gate = asyncio.Event()
    it.serve(CONTENT, Fault(truncate=1_000_000, gate=gate, gate_at=999_999))
    download = it.start(CONTENT)
    async with aclosing(download.chunks()) as chunks:
        got = await anext(chunks)
        it.upstream.shelf.contents["x-1.0.tar.gz"] = CONTENT[::-1]
        gate.set()
        got += await received(chunks, DigestMismatch)
    assert got == CONTENT[: len(got)]
    await it.all_ended()
    assert (it.stored(), it.spooled()) == ([], [])


async def test_an_interrupted_second_answer_is_not_resumed_before_it_is_known_to_be_the_same(
    it: DownloadRig,
) -> None:
    half, total = len(CONTENT) // 2, len(CONTENT)
    script = Script(
        UpstreamStep(CONTENT[:half], total, etag='"a"', breaks=True),
        UpstreamStep(CONTENT[::-1][: half // 2], total, etag='"b"', breaks=True),
        UpstreamStep(CONTENT[::-1], total, etag='"b"'),
    )
    await received(it.start(CONTENT, fetch=script).chunks(), DigestMismatch)
    assert [etag for _, etag in script.asked] == [None, '"a"', None]


async def test_what_came_again_and_is_the_same_can_be_resumed(it: DownloadRig) -> None:
    half, total = 1_500_000, len(CONTENT)
    script = Script(
        UpstreamStep(CONTENT[:half], total, etag=None, breaks=True),
        UpstreamStep(CONTENT[: half * 3 // 2], total, etag='"b"', breaks=True),
        UpstreamStep(CONTENT[half * 3 // 2 :], total, start=half * 3 // 2, etag='"b"'),
    )
    assert await read_blob(it.start(CONTENT, fetch=script)) == CONTENT
    assert script.asked == [(0, None), (0, None), (half * 3 // 2, '"b"')]


@pytest.mark.parametrize(
    "wrong",
    [
        UpstreamStep(CONTENT[1_500_001:], len(CONTENT), start=1_500_001),
        UpstreamStep(CONTENT[1_500_000:], len(CONTENT) + 1, start=1_500_000),
        UpstreamStep(CONTENT[1_500_000:], len(CONTENT), start=1_500_000, etag='"b"'),
        UpstreamStep(CONTENT[1_500_000:], len(CONTENT), start=1_500_000, encoding="gzip"),
    ],
)
async def test_a_part_that_does_not_fit_exactly_is_not_used(
    it: DownloadRig, wrong: UpstreamStep
) -> None:
    script = Script(
        UpstreamStep(CONTENT[:1_500_000], len(CONTENT), breaks=True),
        wrong,
        UpstreamStep(CONTENT, len(CONTENT)),
    )
    assert await read_blob(it.start(CONTENT, fetch=script)) == CONTENT
    assert script.asked == [(0, None), (1_500_000, '"a"'), (0, None)]


HALF, TOTAL = 1_500_000, len(CONTENT)


async def test_a_part_of_unknown_length_is_gone_on_with(it: DownloadRig) -> None:
    script = Script(
        UpstreamStep(CONTENT[:HALF], TOTAL, breaks=True),
        UpstreamStep(CONTENT[HALF:], None, start=HALF, stop=TOTAL),
    )
    assert await read_blob(it.start(CONTENT, fetch=script)) == CONTENT


async def test_after_a_part_that_ends_before_the_file_the_next_one_is_asked_for(
    it: DownloadRig,
) -> None:
    starts = range(0, TOTAL, 100_000)  # many more than a broken connection is resumed
    script = Script(*(_part(start, start + 100_000) for start in starts))
    assert await read_blob(it.start(CONTENT, fetch=script)) == CONTENT
    assert [start for start, _ in script.asked] == list(starts)


async def test_parts_of_a_few_bytes_are_followed_by_a_request_for_all(it: DownloadRig) -> None:
    script = Script(
        UpstreamStep(CONTENT[:HALF], TOTAL, breaks=True),
        _part(HALF, HALF + 10),
        UpstreamStep(CONTENT, TOTAL),
    )
    assert await read_blob(it.start(CONTENT, fetch=script)) == CONTENT
    assert [start for start, _ in script.asked] == [0, HALF, 0]


async def test_parts_without_an_end_are_given_up(it: DownloadRig) -> None:
    script = Script(*[UpstreamStep(CONTENT[:HALF], TOTAL, etag=None, stop=HALF)] * 3)
    got = await received(it.start(CONTENT, fetch=script).chunks(), UpstreamError)
    assert got == CONTENT[: len(got)]


async def test_a_file_of_unknown_length_does_not_end_with_a_part_of_unknown_length(
    it: DownloadRig,
) -> None:
    script = Script(
        UpstreamStep(CONTENT[:HALF], None, breaks=True),
        UpstreamStep(CONTENT[HALF:-1], None, start=HALF, stop=TOTAL - 1),
        UpstreamStep(CONTENT, None),
    )
    assert await read_blob(it.start(fetch=script)) == CONTENT


async def test_a_file_of_which_only_the_end_of_the_answer_is_missing_is_whole(
    it: DownloadRig,
) -> None:
    script = Script(UpstreamStep(CONTENT, None, breaks=True))
    assert await read_blob(it.start(CONTENT, fetch=script)) == CONTENT
    assert len(script.asked) == 1


def _part(start: int, stop: int) -> UpstreamStep:
    return UpstreamStep(CONTENT[start:stop], TOTAL, start=start, stop=min(stop, TOTAL))


async def test_nothing_of_an_interrupted_encoded_body_stays_in_the_file(it: DownloadRig) -> None:
    small = CONTENT[:500_000]
    script = Script(
        UpstreamStep(CONTENT, None, encoding="gzip", breaks=True),
        UpstreamStep(small, len(small), encoding="gzip"),
    )
    assert await read_blob(it.start(small, fetch=script)) == small
    await it.all_ended()
    assert it.store.path(sha256(small)).read_bytes() == small


async def test_truncated_stream_is_an_error_and_the_next_request_fetches_again(
    it: DownloadRig,
) -> None:
    it.serve(CONTENT, *[Fault(truncate=500_000, ranges=False)] * 3)
    got = await received(it.start(CONTENT).chunks(), UpstreamError)
    assert got == CONTENT[: len(got)]
    assert it.upstream.count("x-1.0") == 3
    await it.all_ended()
    assert (it.stored(), it.spooled()) == ([], [])
    assert await read_blob(it.start(CONTENT)) == CONTENT


async def test_a_chunked_body_that_ends_early_is_no_end(it: DownloadRig) -> None:
    it.serve(CONTENT, Fault(truncate=500_000, chunked=True))
    assert await read_blob(it.start(CONTENT)) == CONTENT


@pytest.mark.parametrize("keyword", [{"status": 404}, {"status": 503}, {"reset": True}])
async def test_a_failure_before_the_first_byte_is_reported_at_once(
    it: DownloadRig, keyword: dict[str, bool]
) -> None:
    it.serve(CONTENT)
    it.upstream.fault("x-1.0", Fault(**keyword))  # type: ignore[arg-type]
    download = it.start(CONTENT)
    with pytest.raises(UpstreamError):
        await download.length()
    assert await received(download.chunks(), UpstreamError) == b""
    assert it.downloads.join("x-1.0.tar.gz") is None
    assert it.upstream.count("x-1.0") == (2 if "reset" in keyword else 1)  # the client's own try


async def test_the_length_is_known_from_the_index_or_from_upstreams_headers(
    it: DownloadRig,
) -> None:
    gate = asyncio.Event()
    it.serve(CONTENT, Fault(hang=gate))
    known = it.start(size=len(CONTENT))
    assert known.size == await known.length() == len(CONTENT)
    it.serve(CONTENT, Fault(gate=gate), name="y")
    with_length = it.start(name="y")
    assert with_length.size is None
    assert await with_length.length() == with_length.size == len(CONTENT)
    it.serve(CONTENT, Fault(chunked=True, gate=gate), name="z")
    assert await it.start(name="z").length() is None
    gate.set()
    await it.all_ended()


async def test_a_file_of_no_bytes_is_a_file(it: DownloadRig) -> None:
    it.serve(b"")
    assert await read_blob(it.start(b"", size=0)) == b""
    await it.all_ended()
    assert it.stored() == [sha256(b"")]


async def test_a_wrong_label_is_dropped(it: DownloadRig) -> None:
    archive = gzip.compress(CONTENT, 1, mtime=0)
    it.serve(archive, Fault(encoding="gzip"))
    assert await read_blob(it.start(archive, size=len(archive))) == archive
    await it.all_ended()
    assert it.stored() == [sha256(archive)]
    assert it.spooled() == []


async def test_what_upstream_compressed_on_the_way_is_decoded(it: DownloadRig) -> None:
    twofold = gzip.compress(CONTENT[:999_999], 1, mtime=0) + gzip.compress(
        CONTENT[999_999:], 1, mtime=0
    )
    it.serve(twofold, Fault(encoding="gzip", chunked=True))
    assert await read_blob(it.start(CONTENT, size=len(CONTENT))) == CONTENT
    await it.all_ended()
    assert it.stored() == [sha256(CONTENT)]
    assert it.spooled() == []


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (CONTENT, "gzip"),
        (gzip.compress(CONTENT, mtime=0)[:-9], "gzip"),
        (gzip.compress(b"x", mtime=0), "br"),
    ],
)
async def test_an_encoded_body_that_is_right_in_no_reading_is_wrong(
    it: DownloadRig, body: bytes, encoding: str
) -> None:
    it.serve(body, Fault(encoding=encoding))
    assert await received(it.start(b"other").chunks(), DigestMismatch) == b""
    await it.all_ended()
    assert (it.stored(), it.spooled()) == ([], [])


async def test_a_bomb_is_decoded_only_up_to_the_limit(it: DownloadRig) -> None:
    it.serve(gzip.compress(bytes(50_000_000), mtime=0), Fault(encoding="gzip"), name="x.metadata")
    download = it.start(name="x.metadata", limit=1_000_000)
    assert await received(download.chunks(), DigestMismatch) == b""
    await it.all_ended()
    assert it.spooled() == []


async def test_without_a_hash_an_archive_is_itself_and_a_text_is_decoded(it: DownloadRig) -> None:
    packed = gzip.compress(b"Metadata-Version: 2.1\n", mtime=0)
    it.serve(packed, Fault(encoding="gzip"), name="x-1.0.tar.gz")
    it.serve(packed, Fault(encoding="gzip"), name="x-1.0.metadata")
    assert await read_blob(it.start(name="x-1.0.tar.gz")) == packed
    assert await read_blob(it.start(name="x-1.0.metadata")) == b"Metadata-Version: 2.1\n"


async def test_an_encoded_body_that_breaks_off_is_fetched_again(it: DownloadRig) -> None:
    it.serve(gzip.compress(CONTENT, mtime=0), Fault(encoding="gzip", truncate=1_000_000))
    it.upstream.fault("x-1.0", Fault(encoding="gzip"))
    assert await read_blob(it.start(CONTENT, size=len(CONTENT))) == CONTENT
    assert "Range" not in it.upstream.of("x-1.0")[1].headers


async def test_a_store_that_refuses_the_file_costs_no_reader_a_byte(it: DownloadRig) -> None:
    (it.root / "blob").write_text("in the way")
    it.serve(CONTENT)
    download = it.start(CONTENT)
    assert await read_blob(download) == CONTENT
    await it.all_ended()
    assert (it.done, it.spooled()) == ([], [])
    assert await read_blob(download) == CONTENT


async def test_closing_waits_for_what_is_nearly_done(it: DownloadRig) -> None:
    gate = asyncio.Event()
    it.serve(CONTENT, Fault(gate=gate, gate_at=2_000_000))
    async with aclosing(it.start(CONTENT).chunks()) as chunks:
        await anext(chunks)
    closing = asyncio.create_task(it.downloads.close(60))
    gate.set()
    await asyncio.wait_for(closing, 30)
    assert it.stored() == [sha256(CONTENT)]


async def test_closing_ends_hanging_downloads_with_an_error_for_their_readers(
    it: DownloadRig,
) -> None:
    it.serve(CONTENT, Fault(gate=asyncio.Event(), gate_at=2_000_000))
    download = it.start(CONTENT)
    reading = asyncio.create_task(received(download.chunks(), UpstreamError))
    async with aclosing(download.chunks()) as chunks:
        await anext(chunks)
    await asyncio.wait_for(it.downloads.close(0), 10)
    assert len(await reading) < len(CONTENT)
    assert (it.stored(), it.spooled()) == ([], [])


async def test_there_is_room_for_a_file_before_it_is_stored(it: DownloadRig) -> None:
    stored: list[tuple[int, list[str]]] = []

    @asynccontextmanager
    async def room(size: int) -> AsyncIterator[None]:
        stored.append((size, it.stored()))
        yield

    it.downloads = it.make(room=room)
    it.serve(CONTENT)
    it.start(CONTENT)
    await it.all_ended()
    assert stored == [(len(CONTENT), [])]
    assert it.stored() == [sha256(CONTENT)]


async def test_no_descriptor_outlives_its_download(it: DownloadRig) -> None:
    it.serve(CONTENT, name="right")
    it.serve(CONTENT[::-1], name="wrong")
    await read_blob(it.start(CONTENT, name="right"))
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await read_blob(it.start(CONTENT, name="right"))
        await received(it.start(CONTENT, name="wrong").chunks(), DigestMismatch)
        await it.all_ended()
    gc.collect()
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1  # the server's side of a connection


@pytest.mark.parametrize("size", [1000, len(CONTENT)])
@pytest.mark.parametrize("encoding", [None, "gzip"])
async def test_after_wrong_bytes_another_fetch_brings_the_right_ones(
    it: DownloadRig, size: int, encoding: str | None
) -> None:
    """The bytes of the first one are forgotten, wherever they were."""
    content, other = CONTENT[:size], bytes(60_000)
    wrong = UpstreamStep(gzip.compress(other) if encoding else other, None, encoding=encoding)
    script = Script(wrong, UpstreamStep(content, size))
    expected = it.expected(content)
    download = it.downloads.start("x", expected, script, it._done, lambda error: True)
    assert await read_blob(download) == content
    await it.all_ended()
    assert (it.stored(), it.spooled()) == ([sha256(content)], [])
