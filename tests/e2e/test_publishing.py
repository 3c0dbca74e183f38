"""Real tools publish to a real server, and real installers install what they published."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.distributions import make_sdist, make_wheel
from tests.support.installers import Place
from tests.support.running import Done, Running, command, environment, running
from tests.support.upstream import Upstream

SETTINGS = {"WAYSTATION_UPLOADS": "true"}


def address(server: Running) -> str:
    return server.index.removesuffix("simple/") + "legacy/"


async def twine(server: Running, home: Path, *arguments: str | Path) -> Done:
    given = ("--repository-url", address(server), "-u", "any", "-p", "any", "--non-interactive")
    env = environment(home)
    program = (sys.executable, "-m", "twine", "upload", *given)
    return await command(*program, *arguments, env=env, cwd=home)


async def uv_publish(server: Running, home: Path, *arguments: str | Path) -> Done:
    given = ("--publish-url", address(server), "--username", "any", "--password", "any")
    env = environment(home)
    return await command("uv", "publish", *given, *arguments, env=env, cwd=home)


async def test_twine_and_uv_publish_what_pip_and_uv_install(
    tmp_path: Path, upstream: Upstream, place: Callable[[], Place], tool: str
) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    sdist = make_sdist(tmp_path / "dist", "acme-tool", "1.1")
    given = ("--upstream", upstream.url, "--packages", tmp_path / "packages")
    (tmp_path / "packages").mkdir()
    async with running(tmp_path, *given, **SETTINGS) as server:
        (await twine(server, tmp_path / "home", wheel)).succeeded()
        check = ("--check-url", server.index)
        (await uv_publish(server, tmp_path / "home", *check, wheel, sdist)).succeeded()
        first, second = place(), place()
        await asyncio.gather(
            first.install(tool, server.index, "acme-tool==1.0"),
            second.install(tool, server.index, "acme-tool"),
        )
        assert first.installed() == {"acme_tool": "1.0"}
        assert second.installed() == {"acme_tool": "1.1"}


async def test_conflicts_fail_with_the_reason_or_are_skipped(
    tmp_path: Path, upstream: Upstream
) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    other = make_wheel(tmp_path / "other", "acme-tool", "1.0", requires=["x"])
    upstream.add(make_wheel(tmp_path / "taken", "taken", "1.0"))
    home = tmp_path / "home"
    given = ("--upstream", upstream.url, "--packages", tmp_path / "packages")
    (tmp_path / "packages").mkdir()
    async with running(tmp_path, *given, **SETTINGS) as server:
        (await twine(server, home, wheel)).succeeded()
        (await twine(server, home, wheel)).succeeded()
        refused = await twine(server, home, other)
        assert refused.status != 0
        assert "File already exists" in " ".join((refused.out + refused.err).split())
        checked = await uv_publish(server, home, "--check-url", server.index, other)
        assert checked.status != 0
        assert "Local file and index file do not match" in checked.err
        unchecked = await uv_publish(server, home, other)
        assert unchecked.status != 0
        assert "File already exists" in unchecked.err
        taken = await twine(server, home, tmp_path / "taken" / "taken-1.0-py3-none-any.whl")
        assert taken.status != 0
        assert "the name taken exists upstream" in " ".join((taken.out + taken.err).split())
    assert (tmp_path / "packages" / "acme-tool" / wheel.name).read_bytes() == wheel.read_bytes()
