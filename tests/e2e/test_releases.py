"""Real installers take packages from the releases of repositories, beside an index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.support.distributions import make_sdist, make_wheel
from tests.support.installers import Place
from tests.support.release_api import TOKEN, ReleaseServer
from tests.support.running import running, waystation
from tests.support.upstream import Upstream

SETTINGS = """
cache_dir = "cache"
index = "main"

[indexes.attached]
kind = "releases"
api = "{api}"
repositories = ["acme/tool", "acme/lib"]
token = "{token}"
projects = ["acme-*"]
policies = ["week"]

[indexes.pypi]
kind = "mirror"
url = "{upstream}"

[indexes.main]
kind = "fallthrough"
of = ["attached", "pypi"]

[policies.week]
kind = "cooldown"
age = "7d"
"""


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ReleaseServer]:
    """acme-tool needs acme-lib of another repository and bbb of the index; both are private."""
    async with ReleaseServer() as server:
        dist = tmp_path / "dist"
        tool = make_wheel(dist, "acme-tool", "1.0", requires=["acme-lib", "bbb"])
        server.add("acme/tool", tool)
        server.add("acme/lib", make_sdist(dist, "acme-lib", "0.9"))
        server.add("acme/lib", make_wheel(dist, "acme-lib", "1.0"), digest=None)
        server.release("acme/lib", "2100-01-01T00:00:00Z")
        server.add("acme/lib", make_wheel(dist, "acme-lib", "2.0"))
        server.private |= {"acme/tool", "acme/lib"}
        yield server


@pytest.fixture
def config(tmp_path: Path, api: ReleaseServer, upstream: Upstream) -> Path:
    upstream.add(make_wheel(tmp_path / "dist", "bbb", "1.0"))
    upstream.add(make_wheel(tmp_path / "dist", "acme-tool", "9.0"))  # dependency confusion
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS.format(api=api.url, token=TOKEN, upstream=upstream.url))
    return path


async def test_installers_take_releases_under_rules_also_while_the_api_is_limited(
    tmp_path: Path, config: Path, api: ReleaseServer, place: Callable[[], Place], tool: str
) -> None:
    wanted = {"acme_tool": "1.0", "acme_lib": "1.0", "bbb": "1.0"}
    async with running(tmp_path, "--config", config) as server:
        first, second = place(), place()
        (await first.install(tool, server.index, "acme-tool")).succeeded()
        assert first.installed() == wanted
        asked = len(api.lists())
        api.status, api.headers = 403, {"X-RateLimit-Remaining": "0", "Retry-After": "3000"}
        (await second.install(tool, server.index, "--no-cache-dir", "acme-tool")).succeeded()
        assert second.installed() == wanted
        output = "\n".join([*server.out.lines, *server.err.lines])
    assert TOKEN not in output
    assert len(api.lists()) == asked == 4  # two before the start, to say what cannot be read
    async with running(tmp_path, "--config", config, "--offline") as server:
        third = place()
        (await third.install(tool, server.index, "acme-tool")).succeeded()
        assert third.installed() == wanted


async def test_a_repository_that_cannot_be_read_lets_no_other_index_answer(
    tmp_path: Path, config: Path, api: ReleaseServer
) -> None:
    api.status = 404
    async with running(tmp_path, "--config", config) as server:

        async def status(project: str) -> int:
            async with aiohttp.request("GET", f"{server.index}{project}/") as answer:
                return answer.status

        assert await status("acme-tool") == 502
        assert await status("bbb") == 200  # it is not asked for there


async def test_check_says_what_cannot_be_read(
    tmp_path: Path, config: Path, api: ReleaseServer
) -> None:
    given = ("check", "--config", config, "--port", "0")
    done = await waystation(*given, cwd=tmp_path)
    assert done.status == 0, done.out
    assert "attached: releases of acme-* in acme/tool, acme/lib at" in done.out
    assert "releases attached acme/lib: ok" in done.out
    assert TOKEN not in done.out
    api.private.discard("acme/tool")
    config.write_text(config.read_text().replace(TOKEN, "wrong"))
    done = await waystation(*given, cwd=tmp_path)
    assert done.status == 1
    assert "releases attached acme/tool: ok" in done.out
    assert "releases attached acme/lib: it answered 404 Not Found: is there such" in done.out


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"acme/tool"', '"tool"', "'tool' is no repository"),
        ('"acme/tool"', '"../tool"', "'../tool' is no repository"),
        ('api = "', 'api = "ftp://a.example.com/" # ', "indexes.attached.api"),
        ('api = "http://', 'api = "http://a:b@', "set token"),
        ("token =", 'mode = "redirect"\ntoken =', "indexes.attached.mode"),
        ('projects = ["acme-*"]', 'projects = ["a b"]', "indexes.attached.projects"),
        ('token = "', "token = 5 # ", "indexes.attached.token"),
    ],
)
async def test_a_wrong_table_is_reported_with_its_key(
    tmp_path: Path, config: Path, before: str, after: str, message: str
) -> None:
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after, 1))
    done = await waystation("check", "--no-network", "--config", config, cwd=tmp_path)
    assert (done.status, message in done.err) == (2, True), done.err
