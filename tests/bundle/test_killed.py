"""A killed import is invisible or can be completed; a bundle is complete or absent."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.bundle.errors import BadBundle, ImportRunning
from proxy.bundle.importer import ImportRules, import_bundle
from proxy.bundle.reader import Bundle, ByteSource
from proxy.bundle.staging import StagingFolder
from proxy.composition.cache import open_cache
from proxy.model import ProjectName
from proxy.storage.keys import RecordKind
from proxy.storage.mirror_records import CachedFileRecord, CachedFiles
from tests.support.bundle_fixtures import Near, create, offline, run, seen, settings, take
from tests.support.fork_server import ROOT, ForkedProcess, fork

LIMIT = 60.0
STEPS = 12
MB = 10**6
WHEEL = "beta-1.0-py3-none-any.whl"


def started(*arguments: str | Path) -> ForkedProcess:
    with open(os.devnull, "r+b") as nothing:
        return fork(arguments, os.environ, ROOT, (nothing, nothing, 2))


def kill(process: ForkedProcess) -> None:
    process.kill()
    assert process.wait_blocking(LIMIT) == -signal.SIGKILL


def unread(pipe: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0])


def wait(done: Callable[[], bool], process: ForkedProcess) -> None:
    """Until ``done()``; the process must not end before."""
    until = time.monotonic() + LIMIT
    while not done():
        assert process.returncode is None
        assert time.monotonic() < until
        time.sleep(0.001)


@contextmanager
def piped(path: Path) -> Iterator[Path]:
    os.mkfifo(path)
    yield path
    path.unlink()


@pytest.mark.parametrize("step", range(STEPS + 1))
async def test_an_import_killed_while_it_reads_is_invisible(
    near: Near, tmp_path: Path, step: int
) -> None:
    far, data = tmp_path / "far", near.data
    options = ("--cache-dir", far, "--upstream", near.upstream)
    with piped(tmp_path / "pipe") as pipe:
        process = started("bundle", "import", pipe, *options)
        with pipe.open("wb", buffering=0) as to:
            sent = data[: (len(data) - 1) * step // STEPS]
            to.write(sent)
            wait(lambda: unread(to.fileno()) == 0, process)
            kill(process)
    assert await seen(far) == {}
    run("import", near.bundle, *options)
    assert await offline(far, near.upstream) == near.served
    assert left_in(far) == []


def left_in(cache: Path) -> list[str]:
    """The files that an import has not removed."""
    folders = [cache / "import", cache / "spool"]
    paths = [path for folder in folders if folder.exists() for path in folder.rglob("*")]
    return [str(path.relative_to(cache)) for path in paths if path.name != "lock"]


WRITES = 6 + 3 + 6 + 1 + 2 * 3
"""Files, first-seen digests of each project, records of files, provenance, each page twice."""


def killed_imports(near: Near, bundle: Path, far: Path, numbers: range) -> list[Path]:
    """One cache for each number, in which an import was killed before that write."""
    command = [sys.executable, "-m", "tests.support.kill_at_write", str(far), near.upstream]
    command += [str(bundle), *map(str, numbers)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=2 * LIMIT, check=True
    )
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(numbers), done.stderr
    return [far.with_name(f"{far.name}{number}") for number in numbers]


@pytest.mark.slow
@pytest.mark.parametrize("again", ["same", "other"])
async def test_an_import_killed_while_it_publishes_is_completed_by_the_next(
    near: Near, tmp_path: Path, again: str
) -> None:
    """Also where the next import is of another bundle: the first archive is no longer needed."""
    whole = await seen(near.cache)
    run(
        *("create", tmp_path / "beta", "--project", "beta"),
        *("--cache-dir", near.cache, "--upstream", near.upstream),
    )
    next_one = near.bundle if again == "same" else tmp_path / "beta"
    for far in killed_imports(near, near.bundle, tmp_path / "far", range(WRITES)):
        found = await offline(far, near.upstream)
        assert found.items() <= near.served.items()
        for project in ("alpha", "beta", "gamma"):
            if project in found:  # all files of the project
                assert {n for n in near.served if n.startswith(project)} <= found.keys()
        await take(far, near.upstream, next_one)
        assert await seen(far) == whole
        assert left_in(far) == []
        shutil.rmtree(far)


async def test_the_last_write_is_the_last(near: Near, tmp_path: Path) -> None:
    """So the test above kills the import before every write."""
    arguments = (str(tmp_path), near.upstream, str(near.bundle), str(WRITES))
    command = [sys.executable, "-m", "tests.support.kill_at_write", *arguments]
    subprocess.run(command, cwd=ROOT, timeout=LIMIT, check=True)


@pytest.mark.slow
async def test_two_digests_under_one_name_do_not_conflict_when_an_import_continues(
    near: Near, tmp_path: Path
) -> None:
    """The second run does not take records of the first run for older ones."""
    cache, chosen = tmp_path / "near", settings(tmp_path / "near", near.upstream)
    shutil.copytree(near.cache, cache)
    (sdist,) = (f for f in near.created.manifest.files if f.filename.endswith(".tar.gz"))
    async with open_cache(chosen) as opened:  # the wheel's name, once with the sdist's bytes
        (key,) = [
            k for k in await opened.records.keys(RecordKind.CACHED_FILE) if k.endswith(f"/{WHEEL}")
        ]
        namespace, project, _, name = key.split("/")[1:]
        twin = CachedFileRecord(sdist.sha256, sdist.size, sdist.stored)
        cached_files = CachedFiles(opened.records, namespace)
        await cached_files.put(ProjectName(project), sdist.sha256, name, twin)
    run("create", tmp_path / "b", "--all", "--cache-dir", cache, "--upstream", near.upstream)
    whole = await seen(cache)
    numbers = range(6, 6 + 2 + 7 + 1)
    for far in killed_imports(near, tmp_path / "b", tmp_path / "far", numbers):
        await take(far, near.upstream, tmp_path / "b")
        assert await seen(far) == whole


async def test_an_import_that_is_cancelled_leaves_nothing(near: Near, tmp_path: Path) -> None:
    half = asyncio.Event()
    with piped(tmp_path / "pipe") as pipe:
        writing = os.open(pipe, os.O_RDWR)
        try:
            os.write(writing, near.data[:-1500])
            stream = pipe.open("rb", buffering=0)
            with stream:
                bundle = Bundle(ByteSource(stream))
                async with open_cache(settings(tmp_path / "far", near.upstream)) as cache:
                    work = asyncio.create_task(
                        import_bundle(cache, bundle, ImportRules(), lambda size: half.set())
                    )
                    await asyncio.wait_for(half.wait(), LIMIT)
                    work.cancel()
                    os.write(writing, near.data[-1500:])  # the step that runs is the last
                    with pytest.raises(asyncio.CancelledError):
                        await work
        finally:
            os.close(writing)
    assert await seen(tmp_path / "far") == {}
    assert left_in(tmp_path / "far") == []


async def test_one_import_at_a_time(near: Near, tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path, near.upstream)) as cache:
        with StagingFolder(cache).locked(), pytest.raises(ImportRunning):
            await take(tmp_path, near.upstream, near.bundle)
    await take(tmp_path, near.upstream, near.bundle)


async def test_staged_files_are_checked_again_but_not_written(near: Near, tmp_path: Path) -> None:
    """Also if the archive has changed since."""
    (tmp_path / "b").write_bytes(near.data)
    with piped(tmp_path / "pipe") as pipe:
        process = started(
            *("bundle", "import", pipe, "--cache-dir", tmp_path / "far"),
            *("--upstream", near.upstream),
        )
        with pipe.open("wb", buffering=0) as to:
            to.write(near.data[:-1024])
            wait(lambda: unread(to.fileno()) == 0, process)
            kill(process)
    assert left_in(tmp_path / "far")
    wrong = bytearray(near.data)
    wrong[-1024 - 512] ^= 1
    (tmp_path / "b").write_bytes(wrong)
    with pytest.raises(BadBundle):
        await take(tmp_path / "far", near.upstream, tmp_path / "b")
    assert left_in(tmp_path / "far") == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 700, 100_000, 8 * MB, 40 * MB])
async def test_a_create_killed_while_it_writes_leaves_the_cache_unchanged(
    sizeable: Near, tmp_path: Path, size: int
) -> None:
    with piped(tmp_path / "pipe") as pipe:
        process = started("bundle", "create", pipe, *of(sizeable))
        with pipe.open("rb", buffering=0) as stream:
            found = hashlib.sha256()
            left = size
            while left:
                piece = stream.read(min(left, 2**20))
                assert piece
                found.update(piece)
                left -= len(piece)
            kill(process)
    with sizeable.bundle.open("rb") as right:
        assert found.digest() == hashlib.sha256(right.read(size)).digest()
    assert left_in(sizeable.cache) == []
    assert (await create(sizeable.cache, sizeable.upstream, tmp_path / "b")) == sizeable.created


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 8 * MB, 40 * MB])
async def test_a_create_killed_while_it_writes_leaves_the_former_bundle(
    sizeable: Near, tmp_path: Path, size: int
) -> None:
    file, part = tmp_path / "b", tmp_path / "b.part"
    file.write_bytes(b"former")
    process = started("bundle", "create", file, *of(sizeable))
    wait(lambda: part.exists() and part.stat().st_size >= size, process)
    kill(process)
    assert file.read_bytes() == b"former"
    assert part.exists()
    run("create", file, *of(sizeable))
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    run("verify", file, "--expect", f"sha256:{sizeable.created.archive_digest}")


def test_two_runs_do_not_write_one_bundle(near: Near, tmp_path: Path) -> None:
    with (tmp_path / "b.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = run("create", tmp_path / "b", *of(near), status=1)
    assert "another run is writing it" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["b.part"]


def of(near: Near) -> tuple[str | Path, ...]:
    return "--all", "--cache-dir", near.cache, "--upstream", near.upstream
