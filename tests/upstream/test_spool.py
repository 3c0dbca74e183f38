"""Where the bytes of a download are: in a file, in memory where the disk takes none, or gone."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from proxy.errors import DigestMismatch, UpstreamError
from proxy.model import Span
from proxy.runtime.file_io import remove_abandoned
from proxy.upstream.download import Download
from proxy.upstream.downloads import MAX_IN_MEMORY
from proxy.upstream.spool import IN_MEMORY, SMALL_WRITE, Spool, Window
from tests.support.content import random_bytes, read_blob, sha256
from tests.support.download_rig import DownloadRig, open_rig, received
from tests.support.loop_clock import skip
from tests.support.mounts import mounted
from tests.support.stored import stored_keys
from tests.support.upstream import Fault, Upstream
from tests.support.upstream_process import ROOT
from tests.support.waiting import until

CONTENT = random_bytes(6_000_001)
MIB = 2**20
PATIENCE = 60.0
"""Seconds."""


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[DownloadRig]:
    async with open_rig(tmp_path) as made:
        made.downloads = made.make(memory=MIB)
        yield made


@pytest.fixture(params=["full", "read-only", "not a folder"])
def useless(request: pytest.FixtureRequest, it: DownloadRig) -> Iterator[DownloadRig]:
    """The spool takes 1 MiB, or nothing, or cannot be made."""
    if request.param == "not a folder":
        it.spool.write_text("in the way")
        yield it
        return
    with mounted(it.spool, "size=1m" if request.param == "full" else "ro"):
        yield it


async def test_a_disk_that_takes_nothing_costs_no_reader_a_byte(
    useless: DownloadRig, caplog: pytest.LogCaptureFixture
) -> None:
    useless.serve(CONTENT)
    with caplog.at_level(logging.DEBUG, "proxy"):
        download = useless.start(CONTENT)
        got = await asyncio.gather(*(read_blob(download) for _ in range(5)))
        await useless.all_ended()
    assert {sha256(each) for each in got} == {sha256(CONTENT)}
    assert len(caplog.records) == 1
    assert "is not stored" in caplog.text
    assert (useless.stored(), useless.done) == ([], [])
    assert useless.upstream.count("x-1.0") == 1


async def spans(download: Download, start: int = 0, stop: int | None = None) -> bytes:
    """As ``read``, from the file where it lies in one; the others come first each time."""
    got = b""
    async for part in download.spans(start, stop):
        if isinstance(part, Span):
            part = os.pread(part.fd, part.stop - part.start, part.start)  # noqa: PLW2901
        got += part
        await asyncio.sleep(0.005)
    return got


async def test_a_reader_goes_on_from_the_file_to_memory(useless: DownloadRig) -> None:
    useless.serve(CONTENT)
    download = useless.start(CONTENT)
    parts = [(0, None), (0, 10), (500_000, 2_500_000), (len(CONTENT) - 3, None)]
    slow = [spans(download, *part) for part in parts]
    got = await asyncio.gather(*slow, read_blob(download), read_blob(download))
    assert got == [*(CONTENT[slice(*part)] for part in parts), CONTENT, CONTENT]


async def test_wrong_bytes_are_no_complete_answer_from_memory_either(useless: DownloadRig) -> None:
    useless.serve(CONTENT, Fault(corrupt=True))
    download = useless.start(CONTENT)
    parts = [(0, None), (0, 10), (3_000_000, 3_000_001)]
    got = await asyncio.gather(
        *(received(download.chunks(*part), DigestMismatch) for part in parts)
    )
    assert len(got[0]) < len(CONTENT)
    assert got[1:] == [b"", b""]


async def test_ranges_from_memory_wait_for_the_check_without_holding_up_the_rest(
    useless: DownloadRig,
) -> None:
    useless.serve(CONTENT)
    download = useless.start(CONTENT)
    parts = [(0, 10), (2_000_000, 2_500_000), (0, None), (len(CONTENT) - 3, None)]
    got = await asyncio.gather(*(read_blob(download, *part) for part in parts))
    assert got == [CONTENT[slice(*part)] for part in parts]


async def test_a_body_of_unknown_length_passes_through_memory(useless: DownloadRig) -> None:
    useless.serve(CONTENT, Fault(chunked=True))
    download = useless.start(CONTENT)
    assert {*await asyncio.gather(read_blob(download), read_blob(download))} == {CONTENT}


async def test_a_break_is_mended_in_memory_too(useless: DownloadRig) -> None:
    useless.serve(CONTENT, Fault(truncate=2_000_000), Fault(truncate=1_500_000, ranges=False))
    assert await read_blob(useless.start(CONTENT)) == CONTENT


async def test_memory_is_bounded_by_the_slowest_reader(it: DownloadRig) -> None:
    it.spool.write_text("in the way")
    it.serve(CONTENT)
    download = it.start(CONTENT)
    async with aclosing(download.chunks()) as slow:
        first = await anext(slow)
        fast = asyncio.create_task(read_blob(download))
        await until(lambda: download.buffer.window is not None and download.buffer.window.full)
        window = download.buffer.window
        assert window is not None
        assert window.end - window.base < 2 * MIB
        assert not fast.done()
        assert first + b"".join([piece async for piece in slow]) == CONTENT
    assert await fast == CONTENT


@asynccontextmanager
async def stalled_reader(it: DownloadRig) -> AsyncIterator[tuple[Download, AsyncIterator[bytes]]]:
    """A download that goes through memory, and a reader that has taken one piece of it."""
    it.downloads = it.make(memory=MIB, patience=0.2)
    it.spool.write_text("in the way")
    it.serve(CONTENT)
    download = it.start(CONTENT)
    async with aclosing(download.chunks()) as stalled:
        await anext(stalled)
        yield download, stalled


async def test_a_stalled_reader_is_dropped_so_that_others_go_on(it: DownloadRig) -> None:
    async with stalled_reader(it) as (download, stalled):
        assert {*await asyncio.gather(read_blob(download), spans(download))} == {CONTENT}
        with pytest.raises(UpstreamError, match="read too slowly"):
            await anext(stalled)


async def test_a_stalled_reader_does_not_delay_a_reader_of_a_range(it: DownloadRig) -> None:
    async with stalled_reader(it) as (download, _):
        async with asyncio.timeout(20):
            assert await read_blob(download, 0, 10) == CONTENT[:10]


async def test_the_only_reader_may_take_longer_than_patience(it: DownloadRig) -> None:
    it.downloads = it.make(memory=MIB, patience=PATIENCE)
    it.spool.write_text("in the way")
    it.serve(CONTENT)
    download = it.start(CONTENT)
    async with aclosing(download.chunks()) as slow:
        got = await anext(slow)
        await until(lambda: download.buffer.window is not None and download.buffer.window.full)
        await skip(2 * PATIENCE)
        assert got + b"".join([piece async for piece in slow]) == CONTENT


async def test_a_reader_too_late_for_the_first_byte_starts_a_second_download(
    it: DownloadRig,
) -> None:
    it.spool.write_text("in the way")
    it.serve(CONTENT)
    first = it.start(CONTENT)
    async with aclosing(first.chunks()) as chunks:
        got = b""
        while len(got) < 3_000_000:
            got += await anext(chunks)
        assert it.downloads.join("x-1.0.tar.gz") is None
        second = it.start(CONTENT)
        assert second is not first
        assert await read_blob(second) == CONTENT
        assert got + b"".join([piece async for piece in chunks]) == CONTENT
    assert it.upstream.count("x-1.0") == 2


async def test_what_cannot_be_kept_ends_with_its_last_reader(it: DownloadRig) -> None:
    it.spool.write_text("in the way")
    it.serve(CONTENT)
    download = it.start(CONTENT)
    async with aclosing(download.chunks()) as chunks:
        await anext(chunks)
    await it.all_ended()
    with pytest.raises(UpstreamError, match="cannot be stored"):
        await read_blob(download)


async def test_what_cannot_be_kept_and_is_not_read_ends_when_memory_is_full(
    it: DownloadRig,
) -> None:
    it.downloads = it.make(memory=MIB, patience=0.05)
    it.spool.write_text("in the way")
    it.serve(CONTENT)
    download = it.start(CONTENT)
    await it.all_ended()
    with pytest.raises(UpstreamError, match="cannot be stored"):
        await read_blob(download)


async def test_an_encoded_body_needs_the_disk(useless: DownloadRig) -> None:
    useless.downloads = useless.make(retries=0)
    useless.serve(gzip.compress(CONTENT, 1, mtime=0), Fault(encoding="gzip"))
    with pytest.raises(UpstreamError, match="cannot be decoded"):
        await read_blob(useless.start(CONTENT))


async def test_on_disk_a_slow_reader_delays_no_other(it: DownloadRig) -> None:
    it.serve(CONTENT)
    download = it.start(CONTENT)
    async with aclosing(download.chunks()) as slow:
        first = await anext(slow)
        assert await read_blob(download) == CONTENT
        await it.all_ended()
        assert it.stored() == [sha256(CONTENT)]
        assert first + b"".join([piece async for piece in slow]) == CONTENT


def test_a_window_gives_what_it_holds_and_forgets_whole_pieces() -> None:
    window = Window(10, 6)
    window.append(b"abc")
    assert not window.full
    window.append(b"defg")
    assert window.full
    assert (window.read(11, 100), window.read(13, 2), window.read(17, 1)) == (b"bc", b"de", b"")
    window.forget(12)
    assert (window.base, window.end) == (10, 17)
    window.forget(13)
    assert (window.base, window.read(12, 5), window.full) == (13, b"", False)


async def _process(url: str, root: Path) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.support.download_process", url, str(root)]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False])
async def test_memory_stays_flat_however_large_the_file(tmp_path: Path, kept: bool) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        for number in range(20):
            file.write(random_bytes(MIB, number) * 8)
    if not kept:
        (tmp_path / "spool").write_text("in the way")
    async with Upstream() as upstream:
        upstream.shelf.contents["big"] = big
        process = await _process(upstream.files_url + "big", tmp_path)
        out, _ = await asyncio.wait_for(process.communicate(), 120)
    result = json.loads(out.splitlines()[-1])
    entries = list(stored_keys(tmp_path / "blob"))
    assert len(set(result["digests"])) == 1
    assert entries == (result["digests"][:1] if kept else [])
    assert result["grown"] < 24 * MIB


async def test_a_killed_process_leaves_nothing_that_the_next_start_does_not_remove(
    tmp_path: Path,
) -> None:
    async with open_rig(tmp_path) as it:
        it.serve(CONTENT, Fault(gate=asyncio.Event(), gate_at=3_000_000))
        process = await _process(it.upstream.files_url + "x-1.0.tar.gz", tmp_path)
        assert process.stdout
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"arriving\n"
        assert remove_abandoned(it.spool) == 0
        assert len(it.spooled()) == 1
        process.kill()
        await process.communicate()
        assert remove_abandoned(it.spool) == 1
        assert (it.spooled(), it.stored()) == ([], [])
        it.serve(CONTENT)
        assert await read_blob(it.start(CONTENT)) == CONTENT


@pytest.mark.parametrize("size", [0, 1, SMALL_WRITE + 1, IN_MEMORY])
@pytest.mark.parametrize("known", [True, False])
async def test_a_small_file_is_never_in_the_spool_before_it_is_verified(
    it: DownloadRig, size: int, known: bool
) -> None:
    content, gate = CONTENT[:size], asyncio.Event()
    it.serve(content, Fault(gate=gate, gate_at=max(size - 1, 0)))
    download = it.start(content, size=size if known else None)
    reading = asyncio.create_task(read_blob(download))
    await until(lambda: download.buffer.end == max(size - 1, 0))
    assert it.spooled() == []
    gate.set()
    assert await reading == content
    await it.all_ended()
    assert (it.stored(), it.spooled()) == ([sha256(content)], [])


async def test_a_file_that_turns_out_to_be_large_goes_on_in_the_spool(it: DownloadRig) -> None:
    """Its index names no size; readers see no seam, whenever they come, as pieces or as spans."""
    gate = asyncio.Event()
    it.serve(CONTENT, Fault(gate=gate, gate_at=IN_MEMORY - 1000))
    download = it.start(CONTENT)
    early = asyncio.create_task(read_blob(download)), asyncio.create_task(spans(download))
    await until(lambda: download.buffer.end == IN_MEMORY - 1000)
    assert it.spooled() == []
    gate.set()
    late = asyncio.create_task(spans(download))
    found = await asyncio.gather(*early, late, read_blob(download, 100, IN_MEMORY + 100))
    assert [sha256(each) for each in found[:3]] == [sha256(CONTENT)] * 3
    assert found[3] == CONTENT[100 : IN_MEMORY + 100]
    await it.all_ended()
    assert (it.stored(), it.spooled()) == ([sha256(CONTENT)], [])


async def test_beside_many_downloads_a_small_file_uses_the_spool(it: DownloadRig) -> None:
    gate = asyncio.Event()
    names = [f"x-1.{number}.tar.gz" for number in range(MAX_IN_MEMORY + 3)]
    contents = {name: random_bytes(1000) + name.encode() for name in names}
    for name, content in contents.items():
        it.serve(content, Fault(gate=gate, gate_at=500), name=name)
    started = [it.start(content, name=name) for name, content in contents.items()]
    assert [each.buffer.small is None for each in started] == [False] * MAX_IN_MEMORY + [True] * 3
    gate.set()
    assert await asyncio.gather(*map(read_blob, started)) == list(contents.values())
    await it.all_ended()
    assert len(it.stored()) == len(names)
    assert it.spooled() == []


def test_a_spool_file_created_after_its_removal_is_deleted(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.remove()
    spool.open()
    assert list(tmp_path.iterdir()) == []
    spool.close()
