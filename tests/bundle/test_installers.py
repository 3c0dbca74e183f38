"""Real installers install imported files without a network."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.support.bundle_fixtures import Near, run
from tests.support.running import command, environment, running
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

PIP = ("-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check")


@pytest.mark.parametrize("tool", ["pip", "uv", "sdist"])
async def test_an_installer_gets_all_from_a_server_without_a_network(
    near: Near, tmp_path: Path, tool: str
) -> None:
    options = ("--upstream", near.upstream, "--cache-dir", tmp_path / "cache")
    run("import", near.bundle, *options)
    site = tmp_path / "site"
    env = environment(tmp_path / "home", NO_PROXY="127.0.0.1", UV_PYTHON_DOWNLOADS="never")
    async with running(tmp_path, "--offline", "--upstream", near.upstream) as server:
        index = ("--index-url", server.index, "--target", site)
        arguments = {
            "pip": (*PIP, *index, "alpha"),
            "sdist": (*PIP, *index, "--no-binary", "alpha", "alpha"),
            "uv": ("-m", "uv", "pip", "install", "--no-cache", *index, "alpha"),
        }[tool]
        done = await command(sys.executable, *arguments, env=env, cwd=tmp_path)
    done.succeeded()
    assert (site / "alpha.py").exists() and (site / "beta.py").exists()


async def test_a_running_server_serves_imported_files(near: Near, tmp_path: Path) -> None:
    options = ("--upstream", near.upstream, "--cache-dir", tmp_path / "cache")
    async with (
        running(tmp_path, "--offline", *options) as server,
        aiohttp.ClientSession() as client,
    ):
        assert await status(client, f"{server.index}alpha/") == 404
        await asyncio.to_thread(run, "import", near.bundle, *options)

        async def is_served() -> bool:
            return await status(client, f"{server.index}alpha/") == 200

        await until(is_served)
        env = environment(tmp_path / "home", NO_PROXY="127.0.0.1")
        index = ("--index-url", server.index, "--target", tmp_path / "site")
        done = await command(sys.executable, *PIP, *index, "alpha", env=env, cwd=tmp_path)
    done.succeeded()
    assert (tmp_path / "site" / "alpha.py").exists()


async def status(client: aiohttp.ClientSession, address: str) -> int:
    async with client.get(address) as answer:
        return answer.status
