"""``waystation cache``: its output, its effects and its exit status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli import group
from proxy.composition.cache import open_cache
from proxy.config.settings import Settings
from proxy.storage.keys import Key
from proxy.storage.mirror_records import ChangedFile, ChangedFiles
from tests.support.clock import Clock
from tests.support.content import sha256
from tests.support.distributions import make_wheel
from tests.support.mirror_site import DEMO, MirrorSite
from tests.support.mounts import mounted
from tests.support.upstream import Upstream

NAME = "demo-1.0-py3-none-any.whl"
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        command = ["cache", arguments[0], "--cache-dir", str(tmp_path / "cache"), *arguments[1:]]
        return CliRunner().invoke(group, command)

    return run


@pytest.fixture
def wheel(tmp_path: Path, clock: Clock) -> Path:
    """A cached file."""

    async def warm() -> None:
        async with Upstream() as upstream:
            site = MirrorSite(tmp_path, upstream, clock)
            site.add()
            async with site.open() as it:
                (file,) = (await it.page()).files
                await it.read(file)

    asyncio.run(warm())
    return make_wheel(tmp_path / "dist", DEMO, "1.0")


def cached_path(tmp_path: Path, wheel: Path) -> Path:
    key = sha256(wheel.read_bytes())
    return tmp_path / "cache" / "blob" / key[:2] / key


def test_stats_of_nothing(run: Run, tmp_path: Path) -> None:
    done = run("stats")
    assert done.exit_code == 0
    assert done.output == (
        f"folder    {tmp_path / 'cache'}\nprojects  0\nfiles     0\nbytes     0 (0 bytes)\n"
        "changed   0\n"
    )


def test_stats(run: Run, wheel: Path) -> None:
    done = run("stats")
    size = wheel.stat().st_size
    assert f"projects  1\nfiles     1\nbytes     {size} " in done.output


async def change(folder: Path) -> None:
    async with open_cache(Settings(cache_dir=folder)) as cache:
        noted = ChangedFile("a" * 64, "b" * 64, 1767323045.0)
        await ChangedFiles(cache.records).note("x", "demo", NAME, noted)


def test_files_that_changed_upstream_are_counted_and_listed(run: Run, tmp_path: Path) -> None:
    done = run("changed")
    assert (done.stdout, done.stderr) == (
        "",
        "no file has changed upstream since it was first seen\n",
    )
    asyncio.run(change(tmp_path / "cache"))
    assert run("stats").output.endswith("changed   1 (`waystation cache changed` lists them)\n")
    assert run("changed").output == (
        f"2026-01-02T03:04:05.000Z  demo  {NAME}\n  {'a' * 64} -> {'b' * 64}\n"
    )


def test_list(run: Run, wheel: Path) -> None:
    line = f"  {wheel.stat().st_size:>12}  {sha256(wheel.read_bytes())}  {NAME}\n"
    done = run("list")
    assert done.stdout == f"demo\n{line}"
    assert done.stderr.startswith("1 project, 1 file, ")
    assert run("list", "Demo").stdout == f"demo\n{line}"
    done = run("list", "demos")
    assert done.stdout == ""
    assert "demos: not in the cache; did you mean demo?\n" in done.stderr


def test_verify_says_by_its_exit_status_whether_anything_was_damaged(
    run: Run, wheel: Path, tmp_path: Path
) -> None:
    done = run("verify")
    assert (done.exit_code, done.output) == (0, "1 file sound, 0 damaged\n")
    file = cached_path(tmp_path, wheel)
    file.write_bytes(b"damaged")
    done = run("verify")
    assert done.exit_code == 1
    assert done.output == f"damaged, deleted: {file.name}\n0 files sound, 1 damaged\n"
    assert not file.exists()
    assert run("verify").exit_code == 0


def test_purge_a_project(run: Run, wheel: Path, tmp_path: Path) -> None:
    done = run("purge", "other")
    assert done.stdout == "purged 0 files, 0 bytes\n"
    assert done.stderr == "other: not in the cache\n"
    assert cached_path(tmp_path, wheel).exists()
    done = run("purge", "DEMO")
    assert done.exit_code == 0
    assert done.output.startswith("purged 1 file, ")
    assert not cached_path(tmp_path, wheel).exists()
    assert run("list").stdout == ""
    assert (tmp_path / "cache" / "purged").read_text() == "other\ndemo\n"


def test_purge_says_which_names_are_given_up(run: Run, tmp_path: Path) -> None:
    async def claim() -> None:
        async with open_cache(Settings(cache_dir=tmp_path / "cache")) as cache:
            await cache.records.put(Key.parse("claim/%2Fsrv%2Fpackages/acme-tool"), b"acme-tool")

    asyncio.run(claim())
    assert "acme-tool" not in run("purge", "demo").output
    assert "\nacme-tool is no longer private" in run("purge", "Acme_Tool").output
    assert "acme-tool" not in run("purge", "acme-tool").stdout


def test_purge_everything(run: Run, wheel: Path, tmp_path: Path) -> None:
    assert run("purge", "--all").output.startswith("purged 1 file, ")
    assert not cached_path(tmp_path, wheel).exists()


@pytest.mark.parametrize("arguments", [(), ("demo", "--all"), ("no name!",)])
def test_purge_needs_a_project_or_everything(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("purge", *arguments).exit_code == 2


def test_stats_list_and_verify_delete_nothing(
    run: Run, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYSTATION_MAX_SIZE", "1")
    for command in ("stats", "list", "verify"):
        assert run(command).exit_code == 0
    assert cached_path(tmp_path, wheel).exists()


def test_a_read_only_cache_is_reported_without_a_traceback(run: Run, tmp_path: Path) -> None:
    with mounted(tmp_path / "cache", "ro"):
        assert run("stats").exit_code == 0
        done = run("purge", "--all")
        assert done.exit_code == 1
        assert done.output.startswith("Error: the cache cannot be changed: ")
        assert "Read-only file system" in done.output


def test_a_wrong_setting_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYSTATION_MAX_SIZE", "much")
    done = run("stats")
    assert "max_size" in str(done.exception)


def test_the_cache_of_the_settings_is_read(tmp_path: Path, clock: Clock) -> None:
    async def make() -> None:
        async with open_cache(Settings(cache_dir=tmp_path / "there"), clock) as cache:
            await cache.records.put(Key.parse("page/x/demo"), b"")

    asyncio.run(make())
    config = tmp_path / "settings.toml"
    config.write_text(f'cache_dir = "{tmp_path / "there"}"\n')
    done = CliRunner().invoke(group, ["cache", "stats", "--config", str(config)])
    assert f"folder    {tmp_path / 'there'}\nprojects  1\n" in done.output
