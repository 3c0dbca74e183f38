"""check and the log name projects that exist privately and upstream, without asking upstream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from proxy.cli.confusion import similar_names
from tests.support.distributions import make_wheel
from tests.support.running import Done, Running, running, waystation
from tests.support.upstream import Fault, Upstream

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
LISTED = ["requests", "acme-tool", "acme-tol", "acmetool", "reserved-x", "shared", "other"]


class Company:
    """A private directory, and an upstream that lists similar names of other people."""

    def __init__(self, root: Path, upstream: Upstream) -> None:
        self.root, self.upstream = root, upstream
        for name in ("acme-tool", "acme-tool2", "shared", "abc"):
            make_wheel(root / "packages", name, "1.0")
        projects = [{"name": name} for name in LISTED]
        body = json.dumps({"meta": {"api-version": "1.0"}, "projects": projects}).encode()
        upstream.fault("/simple/", Fault(body=body, content_type=JSON_TYPE))
        (root / "waystation.toml").write_text(
            f"""
            cache_dir = "cache"
            list_upstream = true
            [indexes.private]
            kind = "local"
            path = "packages"
            [indexes.world]
            kind = "mirror"
            url = "{upstream.url}"
            reserved = ["reserved-*"]
            [indexes.main]
            kind = "fallthrough"
            of = ["private", "world"]
            merge = ["shared"]
            """
        )

    async def check(self) -> Done:
        config = self.root / "waystation.toml"
        return await waystation("check", "--no-network", "--config", config, cwd=self.root)

    async def list_once(self, server: Running) -> None:
        async with aiohttp.ClientSession() as session, session.get(server.index) as response:
            assert response.status == 200


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Company]:
    async with Upstream() as upstream:
        yield Company(tmp_path, upstream)


async def test_names_that_exist_twice_are_reported_from_what_is_known(company: Company) -> None:
    assert "Names:" not in (await company.check()).succeeded().out
    given = ("--config", company.root / "waystation.toml")
    async with running(company.root, *given) as server:
        await company.list_once(server)
    found = (await company.check()).succeeded().out.split("Names:")[1].split("Tried:")[0]
    lines = [line.strip() for line in found.strip().splitlines()]
    assert [line.partition(" in ")[0] for line in lines] == [
        "overlap: acme-tool is",
        "reserved: reserved-x is",
        "near miss: acme-tol, acmetool are",
    ]
    assert lines[-1].endswith("like the private acme-tool")
    asked = {each.path for each in company.upstream.requests}
    assert asked <= {"/simple/"}
    async with running(company.root, *given) as server:
        line = await server.logged(lambda each: each["message"].startswith("overlap: acme-tool"))
        assert line["level"] == "warning"


async def test_names_that_the_pattern_of_a_rule_catches_are_shown(company: Company) -> None:
    config = company.root / "waystation.toml"
    rules = """
        [indexes.chosen]
        kind = "routed"
        rules = [
          { projects = ["acme*"], to = "private" },
          { projects = ["re:a.*", "nothing"], to = "deny" },
          { projects = ["*"], to = "world" },
        ]
        """
    config.write_text(config.read_text() + rules)
    async with running(company.root, "--config", config) as server:
        await company.list_once(server)
    found = (await company.check()).succeeded().out
    assert "rule acme* of chosen: acme-tool, acme-tool2 are known here" in found
    assert "rule re:a.*, nothing of chosen: abc is known here" in found
    assert "rule * of" not in found


@pytest.mark.parametrize(
    ("similar", "resembles"),
    [
        ("acme-tol", True),
        ("acme-tooll", True),
        ("acme-toql", True),
        ("amce-tool", True),
        ("acmetool", True),
        ("xacme-tool", True),
        ("acme-tool", False),
        ("acme-to", False),
        ("emca-tool", False),
    ],
)
def test_similar_names_differ_by_one_edit(similar: str, resembles: bool) -> None:
    assert (similar in set(similar_names("acme-tool"))) is resembles


@pytest.mark.parametrize("dated", [True, False])
async def test_a_cooldown_on_an_index_without_dates_is_reported(
    tmp_path: Path, dated: bool
) -> None:
    config = tmp_path / "waystation.toml"
    async with Upstream() as upstream:
        wheel = make_wheel(tmp_path / "dist", "demo", "1.0")
        upstream.add(wheel, **({} if dated else {"uploaded": None}))
        config.write_text(
            f"""
            cache_dir = "cache"
            [indexes.main]
            kind = "mirror"
            url = "{upstream.url}"
            policies = ["week"]
            [policies.week]
            kind = "cooldown"
            age = "7d"
            """
        )
        async with (
            running(tmp_path, "--config", config) as server,
            aiohttp.ClientSession() as session,
            session.get(f"{server.index}demo/") as response,
        ):
            assert response.status == 200
    done = await waystation("check", "--no-network", "--config", config, cwd=tmp_path)
    assert ("main gives no upload times" in done.succeeded().out) is not dated
