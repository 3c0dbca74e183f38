"""Policies through a real server: what pip and uv do and print, and when files appear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.policies import upload_time
from tests.support.running import running
from tests.support.upstream import Upstream

pytestmark = pytest.mark.slow

New = Callable[[], Place]
DAY = 86400.0
INDEXES = {
    "free": [],
    "hidden": ["week"],
    "yanked": ["week-yanked"],
    "none": ["all-hidden"],
    "all-yanked": ["all-yanked"],
    "closed": ["closed"],
}
POLICIES = """
[policies.week]
kind = "cooldown"
age = "7d"
[policies.week-yanked]
kind = "cooldown"
age = "7d"
show = "yank"
[policies.all-hidden]
kind = "deny"
versions = { aaa = ">=0" }
show = "hide"
[policies.all-yanked]
kind = "deny"
projects = ["aaa"]
reason = "see wiki/aaa"
[policies.closed]
kind = "deny"
projects = ["aaa"]
show = "hide"
"""


def settings(folder: Path, upstream: Upstream, indexes: dict[str, list[str]]) -> Path:
    tables = [
        f'[indexes.{name}]\nkind = "mirror"\nurl = "{upstream.url}"\npolicies = {policies}\n'
        for name, policies in indexes.items()
    ]
    path = folder / "waystation.toml"
    path.write_text(f'index = "{next(iter(indexes))}"\n{"".join(tables)}{POLICIES}')
    return path


def add_versions(folder: Path, upstream: Upstream) -> None:
    """1.0 and 1.1 are old, 2.0 is an hour old."""
    now = time.time()
    for version, age in (("1.0", 90 * DAY), ("1.1", 30 * DAY), ("2.0", 3600)):
        wheel = make_wheel(folder / "dist", "aaa", version)
        upstream.add(wheel, uploaded=upload_time(now - age))


DENIED = "refused by rule all-yanked: aaa is denied; see wiki/aaa"
ROWS = [
    # index, requirement, the version that is installed, what pip prints, what uv prints
    ("hidden", "aaa", "1.1", "", ""),
    ("hidden", "aaa==2.0", None, "from versions: 1.0, 1.1", "no version of aaa==2.0"),
    ("yanked", "aaa", "1.1", "", ""),
    (
        "yanked",
        "aaa>=2",
        None,
        "Ignored the following yanked versions: 2.0",
        "refused by rule week-yanked: aaa 2.0 is of",
    ),
    (
        "yanked",
        "aaa==2.0",
        None,
        "403 Client Error: Refused by rule week-yanked: aaa 2.0 is of",
        "403 Refused by rule week-yanked: aaa 2.0 is of",
    ),
    ("all-yanked", "aaa", None, "Ignored the following yanked versions: 1.0, 1.1, 2.0", DENIED),
    ("none", "aaa", None, "from versions: none", "there are no versions of aaa"),
    ("closed", "aaa", None, "from versions: none", "aaa"),
]


@pytest.mark.parametrize("tool", [pytest.param("pip", marks=pytest.mark.slow), "uv"])
async def test_what_installers_do_and_print(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    add_versions(tmp_path, upstream)
    async with running(tmp_path, "--config", settings(tmp_path, upstream, INDEXES)) as server:
        for index, requirement, version, pip_prints, uv_prints in ROWS:
            here = place()
            done = await here.install(tool, f"{server.address}/{index}/simple/", requirement)
            printed = " ".join((done.out + done.err).split())
            case = f"{index} {requirement}: {printed}"
            assert here.installed() == ({"aaa": version} if version else {}), case
            assert (done.status == 0) is (version is not None), case
            assert (pip_prints if tool == "pip" else uv_prints) in printed, case
    assert upstream.count("/aaa-2.0") == 0, "nothing of a refused file is fetched"
    assert upstream.count("/simple/aaa/") == 1, "the indexes share what they have fetched"


async def test_a_compiled_file_falls_back_from_a_hidden_and_stops_at_a_yanked_version(
    tmp_path: Path, upstream: Upstream, place: New
) -> None:
    add_versions(tmp_path, upstream)
    (tmp_path / "in.txt").write_text("aaa\n")
    async with running(tmp_path, "--config", settings(tmp_path, upstream, INDEXES)) as server:
        for index, expected in (("free", "aaa==2.0"), ("hidden", "aaa==1.1"), ("yanked", "")):
            here, pins = place(), tmp_path / f"{index}.txt"
            pins.write_text("aaa==2.0\n")
            url = f"{server.address}/{index}/simple/"
            compile_ = ("pip", "compile", "-q", "--no-header", "--no-annotate", "--index-url", url)
            done = await here.uv(*compile_, tmp_path / "in.txt", "-o", pins)
            if expected:
                assert pins.read_text().strip() == expected
            else:
                assert "403 Refused by rule week-yanked" in done.err


@pytest.mark.parametrize("look", ["hidden", "yanked"])
async def test_a_lock_file_stops_with_the_reason_or_falls_back(
    tmp_path: Path, upstream: Upstream, place: New, look: str
) -> None:
    add_versions(tmp_path, upstream)
    here, project = place(), tmp_path / "project"
    project.mkdir()
    async with running(tmp_path, "--config", settings(tmp_path, upstream, INDEXES)) as server:
        text = '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.9"\n'
        (project / "pyproject.toml").write_text(text + 'dependencies = ["aaa"]\n')
        index = ("--index-url", f"{server.address}/free/simple/")
        (await here.uv("lock", *index, cwd=project)).succeeded()
        lock = (project / "uv.lock").read_text()
        assert 'version = "2.0"' in lock
        (project / "uv.lock").write_text(lock.replace("/free/", f"/{look}/"))
        index = ("--index-url", f"{server.address}/{look}/simple/")
        done = await here.uv("sync", "--frozen", *index, cwd=project)
        assert done.status != 0
        assert "403 Refused by rule week" in " ".join(done.err.split())
        before = (project / "uv.lock").read_text()
        (project / "pyproject.toml").write_text(text + 'dependencies = ["aaa>=1"]\n')
        done = await here.uv("sync", *index, cwd=project)  # which resolves again
        after = (project / "uv.lock").read_text()
        if look == "hidden":
            assert done.status == 0
            assert 'version = "1.1"' in after
        else:
            assert done.status != 0
            assert "403 Refused by rule week-yanked" in " ".join(done.err.split())
            assert after == before


async def page(session: aiohttp.ClientSession, url: str) -> tuple[str, str]:
    headers = {"Accept": "application/vnd.pypi.simple.v1+json"}
    async with session.get(url, headers=headers) as response:
        return response.headers["ETag"], await response.text()


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
async def test_a_young_version_appears_at_its_instant_without_a_request_upstream(
    tmp_path: Path, upstream: Upstream, place: New, workers: str
) -> None:
    now = float(int(time.time()))
    for version, uploaded in (("1.0", now - DAY), ("2.0", now)):
        wheel = make_wheel(tmp_path / "dist", "aaa", version)
        upstream.add(wheel, uploaded=upload_time(uploaded))
    settings = f'cooldown = "10s"\nupstream = "{upstream.url}"\nworkers = {workers}\n'
    (tmp_path / "waystation.toml").write_text(settings)
    async with (
        running(tmp_path, "--config", tmp_path / "waystation.toml") as server,
        aiohttp.ClientSession() as session,
    ):
        url = f"{server.index}aaa/"
        etag, text = await page(session, url)
        assert ("aaa-2.0" in text) is (time.time() >= now + 10)
        asked = upstream.count("/simple/aaa/")
        async with asyncio.timeout(60):
            while "aaa-2.0" not in text:
                await asyncio.sleep(0.05)  # the clock needs no load
                former = etag
                etag, text = await page(session, url)
        assert time.time() >= now + 10
        assert etag != former
        async with session.get(url, headers={"If-None-Match": former}) as response:
            assert response.status == 200
        if workers == "1":
            assert upstream.count("/simple/aaa/") == asked == 1
        here = place()
        (await here.install("pip", server.index, "aaa")).succeeded()
        assert here.installed() == {"aaa": "2.0"}


@pytest.mark.parametrize("tool", [pytest.param("pip", marks=pytest.mark.slow), "uv"])
async def test_as_of_installs_the_versions_of_that_day(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    """The same that uv chooses by itself with ``--exclude-newer``."""
    for version, day in (("1.0", "01-10"), ("1.1", "02-10"), ("2.0", "03-10")):
        for name, requires in (("aaa", ["bbb"]), ("bbb", [])):
            wheel = make_wheel(tmp_path / "dist", name, version, requires=requires)
            upstream.add(wheel, uploaded=f"2026-{day}T12:00:00Z")
    async with running(tmp_path, "--config", settings(tmp_path, upstream, INDEXES)) as server:
        for instant, version in (
            ("2026-01-11", "1.0"),
            ("2026-02-10", "1.0"),
            ("2026-02-10T12:01Z", "1.1"),
            ("2026-02-11T00:00:00Z", "1.1"),  # redirected
            ("2026-03-11", "2.0"),
        ):
            here, there = place(), place()
            url = f"{server.address}/free/+asof/{instant}/simple/"
            (await here.install(tool, url, "aaa")).succeeded()
            assert here.installed() == {"aaa": version, "bbb": version}
            newer = instant if "T" in instant else f"{instant}T00:00:00Z"
            cutoff = ("--exclude-newer", newer.replace(":01Z", ":01:00Z"))
            (
                await there.install("uv", f"{server.address}/free/simple/", "aaa", *cutoff)
            ).succeeded()
            assert there.installed() == here.installed()


@pytest.mark.parametrize("tool", [pytest.param("pip", marks=pytest.mark.slow), "uv"])
async def test_a_cutoff_of_the_client_works_behind_a_cooldown(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    """Every file that is shown has an upload time, without which pip stops."""
    add_versions(tmp_path, upstream)
    cutoff = {"pip": ("--uploaded-prior-to", "P60D"), "uv": ("--exclude-newer", "60 days")}[tool]
    async with running(tmp_path, "--config", settings(tmp_path, upstream, INDEXES)) as server:
        here = place()
        index = f"{server.address}/hidden/simple/"
        (await here.install(tool, index, "aaa", *cutoff)).succeeded()
        assert here.installed() == {"aaa": "1.0"}


async def test_instants_have_one_spelling_and_none_is_in_the_future(
    tmp_path: Path, upstream: Upstream
) -> None:
    add_versions(tmp_path, upstream)
    async with (
        running(tmp_path, "--config", settings(tmp_path, upstream, INDEXES)) as server,
        aiohttp.ClientSession() as session,
    ):
        for root in ("", "/free", "/hidden"):
            for spelling, canonical in (
                ("2026-05-01T00:00Z", "2026-05-01"),
                ("2026-05-01T02:00:00%2B02:00", "2026-05-01"),
                ("2026-05-01t12:00:01.5z", "2026-05-01T12:00:01Z"),
                ("2026-05-01T12:00", "2026-05-01T12:00Z"),
            ):
                url = f"{server.address}{root}/+asof/{spelling}/simple/aaa/"
                async with session.get(url, allow_redirects=False) as response:
                    assert response.status == 301
                    location = response.headers["Location"]
                    assert location == f"../../../{canonical}/simple/aaa/"
                async with session.get(url) as response:
                    assert response.status == 200
                    assert str(response.url).endswith(f"{root}/+asof/{canonical}/simple/aaa/")
            for wrong in ("9999-01-01", "2026-13-01", "yesterday", "2026", "1969-01-01", "%00"):
                async with session.get(f"{server.address}{root}/+asof/{wrong}/simple/") as response:
                    assert response.status == 404


async def test_refusals_are_counted_by_rule(tmp_path: Path, upstream: Upstream) -> None:
    add_versions(tmp_path, upstream)
    async with (
        running(tmp_path, "--config", settings(tmp_path, upstream, INDEXES)) as server,
        aiohttp.ClientSession() as session,
    ):
        _, text = await page(session, f"{server.address}/free/simple/aaa/")
        path = text.split("/files/aaa/")[-1].partition('"')[0]
        async with session.get(f"{server.address}/hidden/files/aaa/{path}") as response:
            assert response.status == 403
            assert response.reason and response.reason.startswith("Refused by rule week: aaa 2.0")
            explained = (await response.text()).partition("More about it: ")[2].split()[0]
        async with session.get(explained) as response:
            assert response.status == 200
            assert "week" in await response.text()
        async with session.get(f"{server.address}/metrics") as response:
            lines = (await response.text()).splitlines()
        labels = 'index="hidden",kind="cooldown",mode="enforce",rule="week"'
        assert f"waystation_refused_total{{{labels}}} 1.0" in lines
        assert f"waystation_refused_total{{{labels.replace('hidden', 'free')}}} 0.0" in lines
