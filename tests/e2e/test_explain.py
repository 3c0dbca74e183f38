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


def locks(wheel: Path, version: str) -> dict[str, str]:
    """Lock files of all formats that pin one wheel of aaa, by name."""
    name, digest = wheel.name, f"sha256:{sha256(wheel.read_bytes())}"
    package = f'[[package]]\nname = "aaa"\nversion = "{version}"\n'
    file = f'files = [{{file = "{name}", hash = "{digest}"}}]\n'
    url = f"https://files.example.com/{name}"
    root = '[[package]]\nname = "demo"\nversion = "1"\nsource = { virtual = "." }\n'
    return {
        "requirements.txt": f"aaa=={version} --hash={digest}\n",
        "uv.lock": f'version = 1\nrequires-python = ">=3.9"\n{root}'
        f'dependencies = [{{ name = "aaa" }}]\n{package}'
        'source = { registry = "https://index.example.com/simple" }\n'
        f'wheels = [{{ url = "{url}", hash = "{digest}", size = 9 }}]\n',
        "poetry.lock": f'{package}optional = false\npython-versions = "*"\n'
        f'groups = ["main"]\n{file}'
        '[metadata]\nlock-version = "2.1"\npython-versions = ">=3.9"\ncontent-hash = "0"\n',
        "pdm.lock": '[metadata]\nlock_version = "4.5.0"\ncontent_hash = "sha256:0"\n'
        f'{package}groups = ["default"]\n{file}',
        "pylock.toml": 'lock-version = "1.0"\ncreated-by = "tests"\n[[packages]]\nname = "aaa"\n'
        f'version = "{version}"\n[[packages.wheels]]\nurl = "{url}"\n'
        f'hashes = {{ sha256 = "{digest[7:]}" }}\n',
    }


@pytest.mark.parametrize(
    "name", ["requirements.txt", "uv.lock", "poetry.lock", "pdm.lock", "pylock.toml"]
)
async def test_pins_of_every_format_are_judged(tmp_path: Path, config: Path, name: str) -> None:
    lock = tmp_path / name
    for version, status, judgement in (("1.0", 0, "passes    "), ("2.0", 1, "refused   ")):
        lock.write_text(locks(tmp_path / "made" / f"aaa-{version}-py3-none-any.whl", version)[name])
        done = await waystation("policy", "test", lock, "--settings", config, cwd=tmp_path)
        assert (done.status, done.out[: len(f"{judgement}aaa")]) == (status, f"{judgement}aaa")


async def test_pins_are_judged_by_what_their_files_say(
    tmp_path: Path, config: Path, upstream: Upstream
) -> None:
    """The licence of a file is known once its metadata have been requested."""
    metadata = b"Metadata-Version: 2.4\nName: ccc\nVersion: 1.0\nLicense-Expression: MIT\n"
    files = {"ccc-1.0.dist-info/METADATA": metadata}
    wheel = make_wheel(tmp_path / "made", "ccc", "1.0", files=files)
    upstream.add(wheel, uploaded=days_ago(30))
    text = config.read_text().replace('["week", "banned"]', '["permissive", "locked"]')
    config.write_text(
        text
        + """
        [policies.permissive]
        kind = "licence"
        deny = ["MIT"]
        [policies.locked]
        kind = "cooldown"
        age = "7d"
        locked = "allow"
        """
    )
    (tmp_path / "pins.txt").write_text("ccc==1.0\naaa==2.0\n")
    test = ("policy", "test", "--settings", config)
    done = await waystation(*test, tmp_path / "pins.txt", cwd=tmp_path)
    assert done.status == 1
    young, denied = done.out.splitlines()
    assert young.startswith("refused   aaa 2.0 by rule locked: ")
    assert denied.startswith("refused   ccc 1.0 by rule permissive: ")
    assert denied.endswith("has the licence MIT")
    assert upstream.count("ccc-1.0-py3-none-any.whl") == 1, "the metadata, and no file"
    lock = tmp_path / "uv.lock"
    lock.write_text(locks(tmp_path / "made" / "aaa-2.0-py3-none-any.whl", "2.0")["uv.lock"])
    done = await waystation(*test, lock, cwd=tmp_path)
    assert (done.status, done.out) == (0, "passes    aaa 2.0\n"), "its address has the digest"
