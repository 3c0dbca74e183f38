"""``waystation explain`` and ``waystation policy test``, run as commands."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.support.content import sha256
from tests.support.distributions import make_wheel
from tests.support.running import running, waystation
from tests.support.upstream import Upstream

pytestmark = pytest.mark.e2e


def days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def config(tmp_path: Path, upstream: Upstream) -> Path:
    for version, age in (("1.0", 30), ("2.0", 0.1)):
        upstream.add(make_wheel(tmp_path / "made", "aaa", version), uploaded=days_ago(age))
    upstream.add(make_wheel(tmp_path / "made", "bbb", "1.0"), uploaded=days_ago(30))
    path = tmp_path / "waystation.toml"
    path.write_text(
        f"""
        index = "main"
        cache_dir = "cache"
        [indexes.main]
        kind = "mirror"
        url = "{upstream.url}"
        policies = ["week", "banned"]
        [policies.week]
        kind = "cooldown"
        age = "7d"
        [policies.banned]
        kind = "deny"
        projects = ["bbb"]
        mode = "observe"
        """
    )
    return path


async def test_the_cache_and_a_server_give_the_same_explanation(
    tmp_path: Path, config: Path, upstream: Upstream
) -> None:
    done = await waystation("explain", "aaa==2.0", "--config", config, cwd=tmp_path)
    assert done.status == 1
    assert "no page is in the cache" in done.out
    assert upstream.count("/simple/aaa/") == 0
    async with running(tmp_path, "--config", config, "--cache-dir", tmp_path / "cache") as server:
        async with aiohttp.ClientSession() as client, client.get(f"{server.index}aaa/") as page:
            assert page.status == 200
        via = await waystation("explain", "aaa==2.0", "--via", server.address, cwd=tmp_path)
    done = await waystation("explain", "aaa==2.0", "--config", config, cwd=tmp_path)
    assert via.status == done.status == 1
    for text in (via.out, done.out):
        assert "rule week refuses aaa-2.0-py3-none-any.whl: aaa 2.0 is " in text
        assert "would install: aaa-1.0-py3-none-any.whl" in text
    name = "aaa-1.0-py3-none-any.whl"
    done = await waystation("explain", name, "--config", config, "--json", cwd=tmp_path)
    assert done.status == 0
    assert [file["filename"] for file in json.loads(done.out)["files"]] == [name]
    assert upstream.count("/simple/aaa/") == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-"], "names no project"),
        (["aaa", "--via", "ftp://127.0.0.1/"], "is no address"),
        (["aaa", "--via", "http://127.0.0.1:1/"], "cannot be reached"),
        (["aaa", "--python", "2"], "--python"),
        (["aaa", "--index", "other"], "other"),
    ],
)
async def test_wrong_questions_are_clear_errors(
    tmp_path: Path, config: Path, arguments: list[str], text: str
) -> None:
    done = await waystation("explain", *arguments, "--config", config, cwd=tmp_path)
    assert done.status == 2
    assert text in done.err
    assert "Traceback" not in done.err


async def test_pins_are_judged_by_a_settings_file(tmp_path: Path, config: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("aaa==2.0\nbbb==1.0\nccc==1.0\naaa>=1\n")
    done = await waystation("policy", "test", lock, "--settings", config, cwd=tmp_path)
    assert done.status == 1
    refused, observed, unjudged = done.out.splitlines()
    assert refused.startswith("refused   aaa 2.0 by rule week: ")
    assert observed.startswith("observed  bbb 1.0 by rule banned: ")
    assert unjudged.startswith("unjudged  ccc 1.0: ")


async def test_pins_with_digests_are_judged_by_their_files(tmp_path: Path, config: Path) -> None:
    digest = sha256((tmp_path / "made" / "aaa-1.0-py3-none-any.whl").read_bytes())
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"aaa==1.0 --hash=sha256:{digest}\n")
    done = await waystation("policy", "test", lock, "--settings", config, "--json", cwd=tmp_path)
    assert done.status == 0
    (result,) = json.loads(done.out)
    assert (result["judgement"], result["project"]) == ("passes", "aaa")
    lock.write_text(f"aaa==1.0 --hash=sha256:{'0' * 64}\n")
    done = await waystation("policy", "test", lock, "--settings", config, cwd=tmp_path)
    assert done.status == 1
    assert done.out.startswith("absent    aaa 1.0: the page of main has no such file")
