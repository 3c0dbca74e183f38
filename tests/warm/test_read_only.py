"""A cache on a medium that can only be read: an isolated machine works with it as it is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from proxy.composition.cache import open_cache
from proxy.storage.keys import Key, RecordKind
from proxy.storage.records import DiskRecords
from tests.support.mounts import read_only
from tests.support.permissions import readable_alone
from tests.support.running import OURS, Done, command, environment
from tests.support.warm_site import WarmSite, warm_site

TARGET = ("--python", "3.12", "--platform", "linux")
INSTALLED = """
import subprocess, sys, urllib.request
server = subprocess.Popen(
    [sys.executable, "-m", "proxy", "serve", "--offline", "--port", "0", *sys.argv[1:]],
    stdout=subprocess.PIPE, text=True,
)
address = server.stdout.readline().split()[-1]
for path in ("simple/top/", "simple/dep/"):
    page = urllib.request.urlopen(address + path).read().decode()
    link = page.partition('href="../../')[2].partition('"')[0]
    print(link, len(urllib.request.urlopen(address + link).read()))
server.terminate()
server.wait()
"""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[WarmSite]:
    """A warm cache, and no upstream any more."""
    async with warm_site(tmp_path) as made:
        made.wheel("top", requires=["dep"])
        made.wheel("dep")
        assert (await made.warm("top")).complete
        await made.upstream.stop()
        yield made


@contextmanager
def mounted(folder: Path) -> Iterator[tuple[str, ...]]:
    """On a disk of its own that belonged to somebody else where it was written."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 12345, 12345)
    with read_only(folder):
        yield ()


async def run(here: WarmSite, limited: tuple[str, ...], *arguments: str) -> Done:
    options = ("--upstream", here.upstream.url, "--cache-dir", str(here.cache))
    env = environment(here.root / "home", **OURS)
    return await command(*limited, sys.executable, *arguments, *options, env=env, cwd=here.folder)


@pytest.mark.slow
@pytest.mark.parametrize("kept_from_writing", [readable_alone, mounted])
async def test_all_that_reads_a_cache_works(
    here: WarmSite,
    kept_from_writing: Callable[[Path], AbstractContextManager[tuple[str, ...]]],
) -> None:
    with kept_from_writing(here.cache) as limited:
        done = await run(here, limited, "-m", "proxy", "ready", "top", *TARGET, "--json")
        assert json.loads(done.succeeded().out)["files"] == 4
        lacking = await run(here, limited, "-m", "proxy", "ready", "unheard-of", *TARGET, "-q")
        assert lacking.status == 1 and "unheard-of" in lacking.out
        served = (await run(here, limited, "-c", INSTALLED)).succeeded()
        assert served.out.count(".whl") == 2
        stats = (await run(here, limited, "-m", "proxy", "cache", "stats")).succeeded()
        assert "projects  2\nfiles     4\n" in stats.out and not stats.err
        listed = (await run(here, limited, "-m", "proxy", "cache", "list")).succeeded()
        assert "top-1.0-py3-none-any.whl" in listed.out
        (await run(here, limited, "-m", "proxy", "export", "tree", "--all")).succeeded()
        assert list((here.folder / "tree").rglob("top-1.0-py3-none-any.whl"))


@pytest.mark.parametrize("size_differs", [True, False])
async def test_damage_is_reported_in_a_cache_that_cannot_be_written(
    here: WarmSite, size_differs: bool
) -> None:
    key = sorted(here.stored_digests())[0]
    path = here.store.path(key)
    path.write_bytes(b"damaged" if size_differs else bytes(path.stat().st_size))
    reason = "not in the offline cache" if size_differs else "damaged"
    with readable_alone(here.cache) as limited:
        for more in ((), ("--verify",)) if size_differs else (("--verify",),):
            done = await run(here, limited, "-m", "proxy", "ready", "top", *TARGET, "-q", *more)
            assert done.status == 1 and "Traceback" not in done.err
            assert done.out.count("\n") == 1 and reason in done.err
    assert here.store.path(key).exists()


@pytest.mark.parametrize("left", [("-wal", "-shm"), ("-wal",), ()])
async def test_what_a_killed_process_left_is_read_as_far_as_it_can_be(
    tmp_path: Path, left: tuple[str, ...]
) -> None:
    """The newest rows are in the log, which SQLite reads only with its index beside it."""
    async with asyncio.timeout(60):
        records = DiskRecords(tmp_path / "records")
        await records.put(Key.parse("page/a"), b"x")
        await records.close()
        records = DiskRecords(tmp_path / "records")
        await records.put(Key.parse("page/b"), b"y")
        copy = tmp_path / "copy"
        copy.mkdir(mode=0o700)
        for suffix in ("", *left):  # as they lie there while it is open
            shutil.copy(tmp_path / "records" / f"cache.db{suffix}", copy)
        await records.close()
        with read_only(copy):
            copied = DiskRecords(copy)
            keys = await copied.keys(RecordKind.PAGE)
            await copied.put(Key.parse("page/c"), b"z")
            assert await copied.get(Key.parse("page/a")) == b"x"
            assert await copied.get(Key.parse("page/c")) is None
            await copied.close()
    assert keys == (["page/a", "page/b"] if "-shm" in left else ["page/a"])


async def test_the_server_says_that_nothing_is_kept(
    here: WarmSite, caplog: pytest.LogCaptureFixture
) -> None:
    with read_only(here.cache):
        async with open_cache(here.settings()) as cache:
            await cache.tidy(evict=False)
            await cache.records.put(Key.parse("page/a"), b"x")
    assert [each.message.partition(": ")[2] for each in caplog.records] == ["nothing new is stored"]
