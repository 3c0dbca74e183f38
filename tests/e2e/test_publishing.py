"""Real tools publish to a real server, and real installers install what they published."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.distributions import make_sdist, make_wheel
from tests.support.installers import Place
from tests.support.running import Done, Running, command, environment, running, waystation
from tests.support.upstream import Upstream

SETTINGS = {"WAYSTATION_UPLOADS": "true"}


def address(server: Running) -> str:
    return server.index.removesuffix("simple/") + "legacy/"


async def twine(server: Running, home: Path, *arguments: str | Path, password: str = "any") -> Done:
    given = ("--repository-url", address(server), "-u", "__token__", "--non-interactive")
    env = environment(home, TWINE_PASSWORD=password)
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


SHOP = """
cache_dir = "cache"
packages = "packages"
uploads = true
offline = true

[access]

[audit]
"""


async def test_a_token_publishes_and_the_audit_says_so(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "settings.toml").write_text(SHOP)
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    given = ("--config", tmp_path / "settings.toml")
    granted = ("--name", "ci", "--scope", "upload:private:acme-*")
    made = await waystation("token", "create", *granted, *given, cwd=tmp_path)
    token = made.succeeded().out.split()[-1]
    async with running(tmp_path, *given) as server:
        home = tmp_path / "home"
        assert (await twine(server, home, wheel, password="wrong")).status != 0
        (await twine(server, home, wheel, password=token)).succeeded()
        bar = make_wheel(tmp_path / "dist", "bar", "1.0")
        assert (await twine(server, home, bar, password=token)).status != 0
        owners = await waystation("owners", "acme-tool", *given, cwd=tmp_path)
        assert owners.succeeded().out == "token:ci\n"
    asked = ("--project", "acme-tool", "--kind", "change", "--by", "principal")
    found = (await waystation("audit", *asked, *given, cwd=tmp_path)).succeeded().out
    assert "token:ci" in found
    assert "changed 1" in found


async def test_check_says_from_where_uploads_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    given = ("--packages", tmp_path / "packages", "--offline", "--no-network")
    done = await waystation("check", *given, cwd=tmp_path, **SETTINGS)
    said = done.succeeded().out
    assert "takes uploads" in said
    assert "private: without [access], uploads are accepted from this machine only" in said
