"""``waystation audit``: files that clients received, or were refused, by real clients and
workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.listings import Listed
from tests.support.running import Done, Running, running, waystation
from tests.support.upstream import Upstream
from tests.support.waiting import until

SETTINGS = """
[audit]
lines = "lines"
[indexes.main]
kind = "mirror"
url = "{url}"
policies = ["banned"]
[policies.banned]
kind = "deny"
versions = {{ aaa = "==0.9" }}
"""


@pytest.fixture
def settings(tmp_path: Path, upstream: Upstream) -> Path:
    path = tmp_path / "settings" / "waystation.toml"
    path.parent.mkdir()
    path.write_text(SETTINGS.format(url=upstream.url))
    return path


def address(listed: Listed) -> str:
    digest = listed.entry["hashes"]["sha256"]
    return f"/files/{listed.project}/{digest}/{listed.entry['filename']}"


async def asked(folder: Path, *arguments: str) -> Done:
    given = ("--config", folder / "settings" / "waystation.toml", "--cache-dir", folder / "cache")
    return await waystation("audit", *given, *arguments, cwd=folder)


async def rows(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((await asked(folder, "--json", *arguments)).out)
    return found


async def get(server: Running, path: str, times: int = 1, **headers: str) -> int:
    async with aiohttp.ClientSession(headers={"User-Agent": "curl/8.5"} | headers) as session:
        for _ in range(times):
            async with session.get(server.address + path) as answer:
                await answer.read()
        return answer.status


async def test_the_audit_says_who_has_what_and_who_was_refused(
    tmp_path: Path, upstream: Upstream, settings: Path, place: Callable[[], Place]
) -> None:
    old, new = (upstream.add(make_wheel(tmp_path / "dist", "aaa", each)) for each in ("0.9", "1.0"))
    more = {"WAYSTATION_WORKERS": "2", "WAYSTATION_SPECULATE": "off"}
    async with running(tmp_path, "--config", settings, **more) as server:
        await until(lambda: server.listening() == 2)
        for tool in ("pip", "uv"):
            (await place().install(tool, server.index, "aaa==1.0")).succeeded()
        assert await get(server, f"{address(new)}.metadata", times=20) == 200  # by the fast path
        assert await get(server, address(new), times=20) == 200
        assert await get(server, address(new), Range="bytes=0-9") == 206
        assert await get(server, address(old)) == 403
    found = await rows(tmp_path, "--project", "aaa", "--version", "==1.0", "--by", "tool")
    results = {row["tool"].split()[0]: row["results"] for row in found}
    assert results == {
        "pip": {"received": 1},
        "uv": {"received": 1},
        "curl": {"received": 20, "partial": 1},
    }
    metadata = await rows(tmp_path, "--kind", "metadata", "--by", "client")
    assert metadata[0]["client"] == "127.0.0.1"
    assert metadata[0]["number"] >= 20
    (refused,) = await rows(tmp_path, "--refused", "--since", "1d")
    assert (refused["rule"], refused["version"], refused["number"]) == ("banned", "0.9", 1)
    assert "aaa 0.9 is denied" in refused["reason"]
    line = (await asked(tmp_path, "--rule", "banned")).succeeded().out
    assert "refused" in line
    assert "curl 8.5" in line
    proposed = tmp_path / "proposed.toml"
    text = settings.read_text().replace("==0.9", ">=1")
    proposed.write_text(text)
    given = ("--config", settings, "--cache-dir", tmp_path / "cache", "--offline", "--recorded")
    done = await waystation("policy", "test", *given, "1d", cwd=tmp_path)
    assert done.succeeded().out == "passes    aaa 1.0\n"
    more_given = ("--settings", proposed)
    done = await waystation("policy", "test", *given, "1d", *more_given, cwd=tmp_path)
    assert (done.status, done.out[:34]) == (1, "refused   aaa 1.0 by rule banned: ")
    nothing = await asked(tmp_path, "--project", "bbb")
    assert (nothing.status, nothing.out) == (1, "")
    lines = [
        json.loads(line)
        for path in (tmp_path / "settings" / "lines").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert sum(each.get("filename") == new.entry["filename"] for each in lines) == 23


async def test_a_download_that_the_client_aborts_is_incomplete(
    tmp_path: Path, upstream: Upstream, settings: Path
) -> None:
    large = {"big.bin": bytes(30_000_000)}
    wheel = upstream.add(make_wheel(tmp_path / "dist", "aaa", "1.0", files=large))
    async with running(tmp_path, "--config", settings) as server:
        async with aiohttp.ClientSession() as session:
            answer = await session.get(server.address + address(wheel))
            await answer.content.read(1000)
            answer.close()
        await server.logged(lambda line: line.get("path", "").startswith("/files/"))
    (row,) = await rows(tmp_path)
    assert (row["result"], row["number"]) == ("incomplete", 1)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--version", "==1"), "--version: it needs a project; give --project too"),
        (("--project", "a", "--version", "new"), "'new' is not a version specifier"),
        (("--project", "?"), "'?' is not a project name"),
        (("--since", "yesterday"), "'yesterday' is not a date such as"),
    ],
)
async def test_wrong_questions_are_explained(
    tmp_path: Path, settings: Path, arguments: tuple[str, ...], problem: str
) -> None:
    done = await asked(tmp_path, *arguments)
    assert done.status == 2
    assert problem in " ".join(done.err.split())


async def test_without_an_audit_the_command_says_how_to_have_one(tmp_path: Path) -> None:
    done = await waystation("audit", cwd=tmp_path)
    assert done.status == 2
    assert "add the table [audit] to the settings file" in done.err


async def test_a_folder_that_cannot_be_made_is_reported_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    table = '{"folder": "file/audit"}'
    with pytest.raises(EOFError, match=r"audit\.folder: .*cannot be created: Not a directory"):
        async with running(tmp_path, WAYSTATION_AUDIT=table):
            pass


async def test_the_audits_of_several_servers_are_put_together(
    tmp_path: Path, upstream: Upstream, settings: Path
) -> None:
    wheel = upstream.add(make_wheel(tmp_path / "dist", "aaa", "1.0"))
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with (
        running(folders[0], "--config", settings) as one,
        running(folders[1], "--config", settings) as two,
    ):
        for server, times in ((one, 1), (two, 2)):
            assert await get(server, address(wheel), times=times) == 200
        via = ("--via", one.address, "--via", two.index)
        query = ("--project", "aaa", "--version", ">=1", "--by", "version", "--json")

        async def received() -> bool:
            done = await waystation("audit", *via, *query, cwd=tmp_path)
            if done.status == 1:  # no entry is written yet
                return False
            return [row["results"] for row in json.loads(done.succeeded().out)] == [{"received": 3}]

        await until(received)
        wrong = await waystation("audit", *via, "--version", "==1", cwd=tmp_path)
        assert wrong.status != 0 and "--version: it needs a project" in wrong.err
        nothing = await waystation("audit", *via, "--project", "bbb", cwd=tmp_path)
        assert (nothing.status, nothing.out) == (1, "")
        async with aiohttp.ClientSession() as session:
            url = f"{one.address}/-/admin/audit"
            async with session.post(url, json={"projekt": "aaa"}) as answer:
                assert answer.status == 422
                assert "projekt" in (await answer.json())["detail"]
            async with session.post(url, json={"versions": "==1"}) as answer:
                assert (await answer.json())["detail"].startswith("versions: they need a project")
        await one.logged(lambda line: line["message"] == "administration: audit aaa by 127.0.0.1")


async def test_a_server_without_an_audit_says_so_from_afar(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running(tmp_path, "--upstream", upstream.url) as server:
        done = await waystation("audit", "--via", server.address, cwd=tmp_path)
    assert done.status != 0
    assert "nothing is remembered" in " ".join(done.err.split())
