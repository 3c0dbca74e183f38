"""An unusable cache folder is a wrong setting; a read-only cache is reported once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.support.distributions import make_wheel
from tests.support.mounts import read_only
from tests.support.running import running, waystation
from tests.support.upstream import Upstream


def _a_file(cache: Path) -> None:
    cache.write_text("x")


def _below_a_file(cache: Path) -> None:
    cache.parent.rmdir()
    cache.parent.write_text("x")


def _a_link_to_nothing(cache: Path) -> None:
    cache.symlink_to(cache.parent / "nowhere")


def _a_link_to_itself(cache: Path) -> None:
    cache.symlink_to(cache)


def _a_part_is_a_file(cache: Path) -> None:
    cache.mkdir()
    (cache / "records").write_text("x")


def _another_part_is_a_file(cache: Path) -> None:
    cache.mkdir()
    (cache / "blob").write_text("x")


@pytest.mark.parametrize(
    "spoil",
    [
        *(_a_file, _below_a_file, _a_link_to_nothing, _a_link_to_itself),
        *(_a_part_is_a_file, _another_part_is_a_file),
    ],
)
async def test_a_folder_that_cannot_be_a_cache_ends_with_2(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    cache = tmp_path / "x" / "cache"
    cache.parent.mkdir()
    spoil(cache)
    for command in (("serve", "--port", "0", "--offline"), ("cache", "stats")):
        done = await waystation(*command, "--cache-dir", cache, cwd=tmp_path)
        assert done.status == 2, done
        assert done.err.startswith("waystation: cache_dir: ") and str(cache) in done.err
        assert len(done.err.splitlines()) == 1 and "Error" not in done.err


async def test_a_folder_that_cannot_be_made_ends_with_2_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with read_only(tmp_path / "x"):
        given = ("--cache-dir", "x/deep/cache")
        done = await waystation("serve", "--port", "0", "--offline", *given, cwd=tmp_path)
    assert done.status == 2
    assert "x/deep/cache cannot be created: Read-only file system; name one" in done.err
    assert len(done.err.splitlines()) == 1


async def test_a_cache_that_can_only_be_read_is_reported_in_one_line(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "demo", "1.0")
    async with Upstream() as upstream:
        upstream.add(wheel)
        given = ("--upstream", upstream.url)
        async with running(tmp_path, *given) as server, aiohttp.ClientSession() as client:
            await client.get(f"{server.index}demo/")
        with read_only(tmp_path / "cache"):
            async with running(tmp_path, *given) as server, aiohttp.ClientSession() as client:
                async with client.get(f"{server.index}demo/") as answer:
                    path = "/" + (await answer.text()).split('href="../../')[1].split("#")[0]
                async with client.get(server.address + path) as answer:
                    assert await answer.read() == wheel.read_bytes()
            messages = [line for line in server.err.lines if '"message":"request"' not in line]
    messages = [line for line in messages if "stopping" not in line]
    assert len(messages) == 1, "\n".join(messages)
    assert f"{tmp_path / 'cache'} cannot be written (Read-only file system)" in messages[0]
