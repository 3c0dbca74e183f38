"""Web servers that serve a tree, and installers that install from it, as processes of their own."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.support.fork_server import ROOT
from tests.support.running import Done, command, environment, stop
from tests.support.sockets import free_port

LIMIT = 60.0
SNIPPET = ROOT / "deploy" / "static-tree.nginx.conf"

_MAIN = """
daemon off; pid {state}/nginx.pid; error_log {state}/error.log; {user}
events {{ }}
http {{
    access_log {state}/access.log combined;
    client_body_temp_path {state}/body; proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi; uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    types {{ text/html html; application/json json; application/gzip gz; }}
    {servers}
}}
"""


@asynccontextmanager
async def http_server(root: Path) -> AsyncIterator[str]:
    """``python -m http.server``; its address ends in a slash."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"),
        *("--directory", str(root)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout
        async with asyncio.timeout(LIMIT):
            line = (await process.stdout.readline()).decode()
        yield f"http://127.0.0.1:{line.split()[5]}/"
    finally:
        await stop(process)


@asynccontextmanager
async def nginx(root: Path, state: Path) -> AsyncIterator[str]:
    """nginx as ``deploy/static-tree.nginx.conf`` sets it up; what it was asked: ``requests``."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    state.mkdir()
    port = free_port()
    servers = SNIPPET.read_text()
    for said, meant in (("listen      80;", f"listen 127.0.0.1:{port};"), ("/srv/packages", root)):
        assert said in servers
        servers = servers.replace(said, str(meant))
    user = "user root;" if Path(state).owner() == "root" else ""
    (state / "nginx.conf").write_text(_MAIN.format(state=state, servers=servers, user=user))
    process = await asyncio.create_subprocess_exec(
        *(
            program,
            "-p",
            str(state),
            "-c",
            str(state / "nginx.conf"),
            "-e",
            str(state / "error.log"),
        ),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        await _until_it_answers(address, process)
        yield address
    finally:
        await stop(process)


def requests(state: Path) -> str:
    return (state / "access.log").read_text()


async def pip(address: str, folder: Path, *arguments: str) -> Done:
    """``pip install`` of these into ``folder/target``, by a user without settings."""
    env = environment(folder / "home", PIP_CONFIG_FILE="/dev/null", PIP_NO_CACHE_DIR="1")
    options = ["--index-url", f"{address}simple/", "--target", str(folder / "target")]
    options += ["--disable-pip-version-check", "--no-build-isolation"]
    return await command(
        *(sys.executable, "-m", "pip", "install", *options, *arguments), env=env, cwd=folder
    )


async def uv(address: str, folder: Path, *arguments: str) -> Done:
    """``uv pip install``, likewise."""
    quiet = {"UV_NO_CONFIG": "1", "UV_NO_CACHE": "1", "UV_PYTHON_DOWNLOADS": "never"}
    env = environment(folder / "home", **quiet)
    options = ["--index-url", f"{address}simple/", "--target", str(folder / "target")]
    options += ["--python", sys.executable]
    return await command("uv", "pip", "install", *options, *arguments, env=env, cwd=folder)


async def _until_it_answers(address: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(LIMIT), aiohttp.ClientSession() as client:
        while process.returncode is None:
            with suppress(aiohttp.ClientConnectionError):
                async with client.get(address):
                    return
            await asyncio.sleep(0.02)
    assert process.stderr
    raise RuntimeError((await process.stderr.read()).decode())
