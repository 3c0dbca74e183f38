"""Prefetching for real installers: requests are counted, not timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.running import Running, running, waystation
from tests.support.upstream import Upstream

ROOTS = ("root-a", "root-b", "root-c")
REQUIRES = {
    "root-a": ["lib-a<2", "lib-b"],
    "root-b": ["lib-b", "lib-c>=1.1", 'nowhere; sys_platform == "win32"'],
    "root-c": ["lib-d", 'nowhere; extra == "docs"'],
    "lib-a": ["lib-d", "lib-e"],
    "lib-b": ["lib-e"],
    "lib-c": ["lib-f"],
    "lib-d": [],
    "lib-e": ["lib-f"],
    "lib-f": [],
}
VERSIONS = {name: "1.2" if name == "lib-a" else "2.1" for name in REQUIRES}
THINGS = 3 * len(REQUIRES)
"""A page, metadata and a wheel of each."""


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[Upstream]:
    async with Upstream(latency=0.03) as made:
        for name, requires in REQUIRES.items():
            for version in ("1.0", "1.2", "2.1", "3.0rc1"):
                made.add(make_wheel(tmp_path / "dist", name, version, requires=requires))
        yield made


def outcomes(server: Running) -> Counter[str]:
    """How requests for pages and files were answered."""
    return Counter(each["outcome"] for each in server.requests() if each["outcome"] != "-")


@pytest.mark.parametrize("tool", [pytest.param("pip", marks=pytest.mark.slow), "uv"])
async def test_upstream_gets_one_request_for_each_installed_file_and_no_other(
    tool: str, upstream: Upstream, tmp_path: Path, place: Callable[[], Place]
) -> None:
    async with running(tmp_path, "--upstream", upstream.url) as server:
        (await place().install(tool, server.index, *ROOTS)).succeeded()
        assert len(upstream.requests) == len({each.path for each in upstream.requests})
        assert len(upstream.requests) <= 1.05 * THINGS
    assert sum(outcomes(server).values()) == THINGS


async def test_pip_waits_only_for_the_first_page(
    upstream: Upstream, tmp_path: Path, place: Callable[[], Place]
) -> None:
    async with running(tmp_path, "--upstream", upstream.url) as server:
        (await place().install("pip", server.index, *ROOTS)).succeeded()
    assert outcomes(server)["miss"] <= 2 * len(ROOTS)


async def test_the_second_install_is_prefetched_from_one_page_with_an_emptied_cache(
    upstream: Upstream, tmp_path: Path, place: Callable[[], Place]
) -> None:
    async with running(tmp_path, "--upstream", upstream.url) as server:
        (await place().install("pip", server.index, *ROOTS)).succeeded()
    (await waystation("cache", "purge", "--all", "--cache-dir", "cache", cwd=tmp_path)).succeeded()
    upstream.requests.clear()
    async with running(tmp_path, "--upstream", upstream.url) as server:
        (await place().install("pip", server.index, *ROOTS[1:], ROOTS[0])).succeeded()
        assert len(upstream.requests) == len({each.path for each in upstream.requests})
        assert len(upstream.requests) <= 1.05 * THINGS
    assert outcomes(server)["miss"] <= 2


async def test_nothing_that_a_rule_refuses_is_prefetched(
    tool: str, tmp_path: Path, upstream: Upstream, place: Callable[[], Place]
) -> None:
    """The newest release is hidden, the next one yanked; installers are offered the third."""
    for root in ("top", "middle"):
        upstream.add(make_wheel(tmp_path / "dist", root, "1.0", requires=["lib-x"]))
    for version in ("1.0", "2.0", "3.0"):
        upstream.add(make_wheel(tmp_path / "dist", "lib-x", version, requires=["lib-f"]))
    config = tmp_path / "waystation.toml"
    config.write_text(
        f"""
        [indexes.main]
        kind = "mirror"
        url = "{upstream.url}"
        policies = ["young", "banned"]
        [policies.young]
        kind = "deny"
        show = "hide"
        versions = {{ lib-x = ["==3.0"] }}
        [policies.banned]
        kind = "deny"
        versions = {{ lib-x = ["==2.0"] }}
        """
    )
    async with running(tmp_path, "--config", config) as server:
        here = place()
        (await here.install(tool, server.index, "top", "middle")).succeeded()
        assert here.installed()["lib_x"] == "1.0"
    files = {each.path.rpartition("/")[2] for each in upstream.requests if "lib_x" in each.path}
    assert files == {f"lib_x-1.0-py3-none-any.whl{suffix}" for suffix in ("", ".metadata")}
