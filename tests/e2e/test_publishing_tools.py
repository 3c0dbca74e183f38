"""Every tool that publishes packages, over plain HTTP and over TLS, to a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.pki import Authority
from tests.support.publishing_tools import (
    TOOLS,
    Workplace,
    fetch_publishing_tools,
)
from tests.support.running import Running, running
from tests.support.upstream import Upstream

pytestmark = pytest.mark.slow
CONFLICT = ("already exist", "do not match")
"""Words of a tool about a file that was published with other bytes, of which one is there."""
SKIPPING = ("poetry", "pdm")
"""Tools that can skip what exists on other servers than PyPI."""
CHECKING_FIRST = ("hatch",)
"""Tools that skip by the file name alone."""


@asynccontextmanager
async def accepting(
    folder: Path, upstream: Upstream, tls: bool
) -> AsyncIterator[tuple[Running, Path | None]]:
    """A server, and the certificates to trust."""
    (folder / "packages").mkdir()
    given: list[str | Path] = ["--upstream", upstream.url, "--packages", folder / "packages"]
    ca = None
    if tls:
        authority = Authority(folder)
        certificate, key = authority.issue("127.0.0.1")
        given += ["--tls-certificate", certificate, "--tls-key", key]
        ca = authority.bundle
    async with running(folder, *given, WAYSTATION_UPLOADS="true") as server:
        yield server, ca


@pytest.mark.timeout(900)  # the tools are installed first
async def test_every_tool_publishes_again_and_conflicts(tmp_path: Path, upstream: Upstream) -> None:
    tools = await asyncio.to_thread(fetch_publishing_tools, tmp_path / "tools")
    if tools.folder is None:
        pytest.skip(tools.reason)
    for tls in (False, True):
        folder = tmp_path / ("tls" if tls else "plain")
        folder.mkdir()
        async with accepting(folder, upstream, tls) as (server, ca), asyncio.TaskGroup() as group:
            for tool in TOOLS:
                place = Workplace(folder / tool, tools, ca)
                group.create_task(use(tool, place, server, folder / "packages"))


async def use(tool: str, place: Workplace, server: Running, packages: Path) -> None:
    name, publish, url = f"by-{tool}", TOOLS[tool], f"{server.address}/legacy/"
    place.project(name)
    (await publish(place, url, server.index, ())).succeeded()
    first = contents(packages / name)
    assert sorted(first) == [f"by_{tool}-1.0-py3-none-any.whl", f"by_{tool}-1.0.tar.gz"]
    (await publish(place, url, server.index, ())).succeeded()
    place.project(name, requires="other")
    if tool in SKIPPING:
        (await publish(place, url, server.index, ("--skip-existing",))).succeeded()
    refused = await publish(place, url, server.index, ())
    if tool not in CHECKING_FIRST:
        assert refused.status != 0, refused
        said = " ".join((refused.out + refused.err).split())
        assert any(words in said for words in CONFLICT), said
    assert first == contents(packages / name)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
