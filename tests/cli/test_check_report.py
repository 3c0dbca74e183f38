"""``waystation check --json``: indexes and policies, and a dry run of these over the cache."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.advisories import osv, write_archive
from tests.support.distributions import make_wheel
from tests.support.policies import upload_time
from tests.support.running import Done, running, waystation
from tests.support.upstream import Upstream

INDEXES = """
[indexes.private]
kind = "local"
path = "packages"
[indexes.upstream]
kind = "mirror"
url = "{url}"
{more}
[indexes.main]
kind = "fallthrough"
of = ["private", "upstream"]
"""
POLICIES = """
policies = ["week", "old", "mal", "mit", "none"]
as_of = 2100-01-01T00:00:00Z
[policies.week]
kind = "cooldown"
age = "7d"
[policies.old]
kind = "deny"
mode = "observe"
versions = { demo = "<2" }
[policies.mal]
kind = "malware"
[policies.mit]
kind = "licence"
allow = ["MIT"]
[policies.none]
kind = "deny"
projects = ["banned"]
show = "hide"
[advisories]
source = "osv.zip"
"""


class House:
    """A directory, and an upstream with old, new and undated files of demo."""

    def __init__(self, root: Path, upstream: Upstream) -> None:
        self.root, self.upstream = root, upstream
        make_wheel(root / "packages", "acme", "1.0")
        for version, uploaded in (("1.0", 0.0), ("2.0", time.time()), ("3.0", None)):
            time_text = None if uploaded is None else upload_time(uploaded)
            upstream.add(make_wheel(root / "dist", "demo", version), uploaded=time_text)
        upstream.add(make_wheel(root / "dist", "banned", "1.0"))

    def write(self, name: str, text: str) -> Path:
        (self.root / name).write_text(f'cache_dir = "cache"\nspeculate = "off"\n{text}')
        return self.root / name

    async def check(self, config: Path) -> tuple[Done, dict[str, Any]]:
        done = await waystation(
            "check", "--json", "--no-network", "--config", config, cwd=self.root
        )
        return done, json.loads(done.out)

    async def fill(self, config: Path, *projects: str) -> None:
        """Request the pages, and a file of demo."""
        async with (
            running(self.root, "--config", config) as server,
            aiohttp.ClientSession() as session,
        ):
            for project in projects:
                async with session.get(f"{server.index}{project}/") as response:
                    assert response.status == 200
            wheel = "demo-1.0-py3-none-any.whl"
            digest = self.upstream.shelf.files[wheel].entry["hashes"]["sha256"]
            url = f"{server.address}/files/demo/{digest}/{wheel}"
            async with session.get(url) as response:
                assert response.status == 200


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Upstream() as upstream:
        yield House(tmp_path, upstream)


async def test_a_dry_run_counts_what_each_policy_refuses_and_names_what_it_lacks(
    house: House,
) -> None:
    open_config = house.write("open.toml", INDEXES.format(url=house.upstream.url, more=""))
    await house.fill(open_config, "demo", "banned", "acme")
    write_archive(house.root / "osv.zip", osv("MAL-2026-1", "banned"))
    requests = len(house.upstream.requests)
    text = INDEXES.format(url=house.upstream.url, more=POLICIES)
    strict = house.write("strict.toml", f"list_upstream = true\n{text}")
    done, found = await house.check(strict)
    assert done.status == 0
    assert len(house.upstream.requests) == requests
    assert found["cache_read"] and found["advisories"]["records"] == 1
    indexes = {each["name"]: each for each in found["indexes"]}
    assert {name: (each["kind"], each["made_of"]) for name, each in indexes.items()} == {
        "private": ("local", []),
        "upstream": ("mirror", []),
        "main": ("fallthrough", ["private", "upstream"]),
    }
    assert (indexes["upstream"]["projects"], indexes["upstream"]["files"]) == (2, 4)
    rows = {each["name"]: each for each in indexes["upstream"]["policies"]}
    counts = {name: (row["refused"], row["refused_stored"]) for name, row in rows.items()}
    assert counts == {
        "as-of": (1, 0),
        "week": (2, 0),
        "old": (1, 1),
        "mal": (1, 0),
        "mit": (0, 0),
        "none": (1, 0),
    }
    assert (rows["old"]["mode"], rows["none"]["kind"]) == ("observe", "deny")
    lacking = {name: row["lacks"] for name, row in rows.items() if row["lacks"]}
    assert lacking == {
        "as-of": ["upload times of 1 of 4 files"],
        "week": ["upload times of 1 of 4 files"],
        "mit": ["licences of 4 of 4 files"],
    }
    assert indexes["private"]["policies"] == indexes["main"]["policies"] == []
    assert (indexes["main"]["projects"], indexes["main"]["files"]) == (2, 2)


async def test_advisories_that_could_not_be_read_are_lacking(house: House) -> None:
    open_config = house.write("open.toml", INDEXES.format(url=house.upstream.url, more=""))
    await house.fill(open_config)
    (house.root / "osv.zip").write_bytes(b"no archive")
    text = INDEXES.format(url=house.upstream.url, more=POLICIES)
    done, found = await house.check(house.write("strict.toml", text))
    assert done.status == 1
    assert found["advisories"] == {"records": 0, "age": None}
    (upstream,) = (each for each in found["indexes"] if each["name"] == "upstream")
    lacking = {row["name"]: row["lacks"] for row in upstream["policies"]}
    assert lacking["mal"] == ["advisories: none yet"]


async def test_the_short_form_and_the_long_one_have_the_same_report(house: House) -> None:
    url = house.upstream.url
    short = house.write("short.toml", f'packages = "packages"\nupstream = "{url}"\n')
    long = house.write("long.toml", INDEXES.format(url=url, more=""))
    (done, one), (_, other) = await house.check(short), await house.check(long)
    assert done.status == 0
    assert one == other
    assert [each["name"] for each in one["indexes"]] == ["private", "upstream", "main"]
    assert one["cache_read"] is False
    (house.root / "cache").write_text("no folder")
    done, found = await house.check(short)
    assert done.status == 1
    problems = [each["problem"] for each in found["tried"] if each["problem"]]
    assert problems == [f"{house.root / 'cache'} is not a folder"]
