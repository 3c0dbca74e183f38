"""Real installers through a real server: cold, warm, without upstream, and offline."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.distributions import make_sdist, make_wheel
from tests.support.installers import Place
from tests.support.running import running, waystation
from tests.support.upstream import Fault, Upstream

New = Callable[[], Place]


@pytest.fixture(params=["pip", pytest.param("old pip", marks=pytest.mark.slow), "uv"])
def tool(tool: str) -> str:
    """All of them, and pip among the fast tests."""
    return tool


async def test_a_chain_installs_cold_warm_without_upstream_and_offline(
    tmp_path: Path, upstream: Upstream, chain: dict[str, str], place: New, tool: str
) -> None:
    upstream.form = "html" if tool == "old pip" else "json"
    options = ("--upstream", upstream.url, "--page-ttl", "0")
    async with running(tmp_path, *options) as server:
        cold = place()
        (await cold.install(tool, server.index, "aaa")).succeeded()
        assert cold.installed() == chain
        assert upstream.count("/files/", "GET") >= 3

        before = upstream.count("/files/")
        warm = place()
        (await warm.install(tool, server.index, "aaa")).succeeded()
        assert warm.installed() == chain
        assert upstream.count("/files/") == before  # only pages were requested

        await upstream.stop()
        without = place()
        (await without.install(tool, server.index, "aaa")).succeeded()
        assert without.installed() == chain

    await upstream.start()
    before = upstream.count()
    async with running(tmp_path, *options, "--offline") as server:
        offline = place()
        (await offline.install(tool, server.index, "aaa")).succeeded()
        assert offline.installed() == chain
        missed = await place().install(tool, server.index, "unheard-of")
        assert missed.status != 0
    assert upstream.count() == before


@pytest.mark.parametrize("ttl", ["600", "0"])
async def test_a_second_install_waits_for_no_page_whatever_the_installer_sends(
    tmp_path: Path,
    upstream: Upstream,
    chain: dict[str, str],
    place: New,
    tool: str,
    ttl: str,
) -> None:
    upstream.form = "html" if tool == "old pip" else "json"
    options = ("--upstream", upstream.url, "--page-ttl", ttl)
    async with running(tmp_path, *options) as server:
        (await place().install(tool, server.index, "aaa")).succeeded()
        first, before = len(server.requests()), upstream.count("/simple/")
        (await place().install(tool, server.index, "aaa")).succeeded()
        if ttl == "600":
            assert upstream.count("/simple/") == before
    pages = [each for each in server.requests()[first:] if each["path"].startswith("/simple/")]
    assert {each["outcome"] for each in pages if each["status"] == 200} <= {"hit", "stale"}


async def test_an_sdist_is_built(tmp_path: Path, upstream: Upstream, place: New, tool: str) -> None:
    upstream.add(make_sdist(tmp_path / "dist", "source", "1.0"))
    upstream.fault("source-1.0.tar.gz", Fault(encoding="gzip"))  # only a label
    async with running(tmp_path, "--upstream", upstream.url) as server:
        for _ in range(2):
            there = place()
            (await there.install(tool, server.index, "source")).succeeded()
            assert there.installed() == {"source": "1.0"}


async def test_hashes_are_required(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    wheel = make_wheel(tmp_path / "dist", "aaa", "1.0")
    upstream.add(wheel)
    requirements = tmp_path / "requirements.txt"
    async with running(tmp_path, "--upstream", upstream.url) as server:
        for digest, works in (
            (hashlib.sha256(wheel.read_bytes()).hexdigest(), True),
            ("0" * 64, False),
        ):
            requirements.write_text(f"aaa==1.0 --hash=sha256:{digest}\n")
            there = place()
            done = await there.install(tool, server.index, "--require-hashes", "-r", requirements)
            assert (done.status == 0) == works
            assert there.installed() == ({"aaa": "1.0"} if works else {})


async def test_a_lock_file_is_enough_for_a_server_without_pages(
    tmp_path: Path, upstream: Upstream, chain: dict[str, str], place: New
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["aaa"]\n'
    )
    async with running(tmp_path, "--upstream", upstream.url) as server:
        port = str(server.port)
        there = place()
        await _uv(there, project, "lock", "--default-index", server.index)
    assert f"http://127.0.0.1:{port}/files/aaa/" in (project / "uv.lock").read_text()

    shutil.rmtree(tmp_path / "cache" / "records")
    upstream.requests.clear()
    async with running(tmp_path, "--upstream", upstream.url, "--port", port) as server:
        other = place()
        await _uv(other, project, "sync", "--frozen", "--no-install-project", "--active")
        assert other.installed() == chain
    assert not any(each["path"].startswith("/simple/") for each in server.requests())

    shutil.rmtree(tmp_path / "cache")  # a fresh one, even: the address is enough to find the file
    async with running(tmp_path, "--upstream", upstream.url, "--port", port):
        third = place()
        await _uv(third, project, "sync", "--frozen", "--no-install-project", "--active")
        assert third.installed() == chain


async def _uv(place: Place, project: Path, *arguments: str) -> None:
    (await place.uv(*arguments, cwd=project)).succeeded()


async def test_promised_metadata_that_upstream_lacks_come_from_the_wheel(
    tmp_path: Path, upstream: Upstream, chain: dict[str, str], place: New, tool: str
) -> None:
    upstream.fault(".metadata", Fault(status=404))
    async with running(tmp_path, "--upstream", upstream.url) as server:
        there = place()
        (await there.install(tool, server.index, "aaa")).succeeded()
        assert there.installed() == chain


@pytest.mark.slow
async def test_time_filters_see_upstreams_times_through_the_server(
    tmp_path: Path, upstream: Upstream, place: New
) -> None:
    for version, day in (("1.0", "2024-01-01"), ("2.0", "2024-06-01"), ("3.0", "2024-12-01")):
        wheel = make_wheel(tmp_path / "dist", "aaa", version)
        upstream.add(wheel, uploaded=f"{day}T00:00:00.000000Z")
    make_wheel(tmp_path / "packages", "private", "1.0")
    async with running(tmp_path, "--upstream", upstream.url) as server:
        with_uv = place()
        until = ("--exclude-newer", "2024-07-01T00:00:00Z")
        (await with_uv.install("uv", server.index, *until, "aaa")).succeeded()
        assert with_uv.installed() == {"aaa": "2.0"}

        with_pip = place()
        if "--uploaded-prior-to" not in (await with_pip.pip("install", "--help")).out:
            pytest.skip("this pip has no --uploaded-prior-to")
        until = ("--uploaded-prior-to", "2024-07-01T00:00:00Z")
        (await with_pip.install("pip", server.index, *until, "aaa")).succeeded()
        assert with_pip.installed() == {"aaa": "2.0"}
        # pip ends with an error at a file without a time: local ones have one too.
        until = ("--uploaded-prior-to", "2999-01-01T00:00:00Z")
        (await with_pip.install("pip", server.index, *until, "private")).succeeded()
        assert with_pip.installed()["private"] == "1.0"


async def test_a_warmed_cache_answers_time_filters_offline(
    tmp_path: Path, upstream: Upstream, place: New
) -> None:
    for version, day in (("1.0", "2024-01-01"), ("2.0", "2024-06-01")):
        wheel = make_wheel(tmp_path / "dist", "aaa", version)
        upstream.add(wheel, uploaded=f"{day}T00:00:00.000000Z")
    options = ("--upstream", upstream.url, "--cache-dir", tmp_path / "cache")
    (await waystation("warm", "aaa", "--latest", "2", *options, cwd=tmp_path)).succeeded()
    await upstream.stop()
    async with running(tmp_path, *options, "--offline") as server:
        for until, version in (("2024-03-01", "1.0"), ("2024-07-01", "2.0")):
            there = place()
            done = await there.install("uv", server.index, "--exclude-newer", until, "aaa")
            done.succeeded()
            assert there.installed() == {"aaa": version}


async def test_uv_goes_on_to_its_next_index_where_a_project_is_unknown(
    tmp_path: Path, upstream: Upstream, place: New
) -> None:
    async with Upstream() as other:
        other.add(make_wheel(tmp_path / "dist", "elsewhere", "1.0"))
        async with running(tmp_path, "--upstream", upstream.url) as server:
            there = place()
            done = await there.uv(
                *(
                    "pip",
                    "install",
                    "--index",
                    server.index,
                    "--default-index",
                    other.url,
                    "elsewhere",
                )
            )
            done.succeeded()
            assert there.installed() == {"elsewhere": "1.0"}
        assert any(each["status"] == 404 for each in server.requests())
