"""Replicas that publish and serve the packages of one object store, with real clients."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.distributions import make_sdist, make_wheel
from tests.support.publishing import form_of
from tests.support.running import Running, command, environment, running, waystation
from tests.support.seaweedfs import BUCKET, ObjectServer
from tests.support.upstream import Upstream
from tests.support.waiting import until

pytestmark = pytest.mark.slow

SETTINGS = """
index = "main"
[indexes.team]
kind = "local"
packages = "{url}"
uploads = true
[indexes.pypi]
kind = "mirror"
url = "{upstream}"
file_hosts = ["{host}"]
[indexes.main]
kind = "fallthrough"
of = ["team", "pypi"]
"""


class Team:
    """Settings of servers that share packages, which are in a part of the store of their own."""

    def __init__(self, server: ObjectServer, upstream: Upstream, folder: Path) -> None:
        self.variables = server.variables
        self.folder = folder
        self.settings = folder / "settings.toml"
        url = f"s3://{BUCKET}/{secrets.token_hex(8)}"
        host = upstream.origin.partition("://")[2]
        self.settings.write_text(SETTINGS.format(url=url, upstream=upstream.url, host=host))

    @asynccontextmanager
    async def replicas(self, count: int = 2) -> AsyncIterator[list[Running]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.replica(number)) for number in range(count)]

    @asynccontextmanager
    async def replica(self, number: int) -> AsyncIterator[Running]:
        folder = self.folder / f"replica-{number}"
        folder.mkdir(exist_ok=True)
        async with running(folder, "--config", self.settings, **self.variables) as server:
            yield server

    async def run(self, *arguments: str | Path) -> str:
        """A command of Waystation with the same settings, on a machine of its own."""
        given = ("--config", self.settings, "--cache-dir", self.folder / "cache")
        done = await waystation(*arguments, *given, cwd=self.folder, **self.variables)
        return done.succeeded().out


@pytest.fixture
def team(shared_object_server: ObjectServer, upstream: Upstream, tmp_path: Path) -> Team:
    return Team(shared_object_server, upstream, tmp_path)


async def upload(server: Running, wheel: Path) -> tuple[int, str]:
    form = aiohttp.FormData()
    for name, texts in form_of(wheel).items():
        for text in texts:
            form.add_field(name, text)
    timeout = aiohttp.ClientTimeout(60)
    with wheel.open("rb") as file:
        form.add_field("content", file, filename=wheel.name)
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.post(f"{server.address}/legacy/", data=form) as response,
        ):
            return response.status, await response.text()


async def text_of(server: Running, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(server.address + path, headers={"Accept": "text/html"}) as response,
    ):
        return response.status, await response.text()


async def act(server: Running, project: str, action: str, **body: Any) -> int:
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{server.address}/-/packages/{project}/{action}", json=body) as response,
    ):
        return response.status


async def changes(server: Running) -> list[dict[str, Any]]:
    _, text = await text_of(server, "/-/changes")
    return [json.loads(line) for line in text.splitlines()]


async def test_tools_publish_to_one_replica_and_install_from_the_other(
    team: Team, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.add(make_wheel(tmp_path / "public", "public", "1.0"))
    dist = tmp_path / "dist"
    wheel = make_wheel(dist, "acme-tool", "1.0", requires=["public"])
    newer = make_sdist(dist, "acme-tool", "1.1")
    env = environment(tmp_path / "home")
    async with team.replicas() as (first, second):
        given = ("--repository-url", f"{first.address}/legacy/", "-u", "any", "-p", "any")
        twine = (sys.executable, "-m", "twine", "upload", "--non-interactive", *given)
        (await command(*twine, wheel, env=env, cwd=tmp_path)).succeeded()
        login = ("--username", "any", "--password", "any", "--check-url", second.index)
        uv = ("uv", "publish", "--publish-url", f"{second.address}/legacy/", *login)
        (await command(*uv, wheel, newer, env=env, cwd=tmp_path)).succeeded()
        target = ("--target", tmp_path / "target", "--index-url", second.index, "acme-tool==1.0")
        (await command("uv", "pip", "install", *target, env=env, cwd=tmp_path)).succeeded()
        assert len(list((tmp_path / "target").glob("*-1.0.dist-info"))) == 2
        dest = (
            "--dest",
            tmp_path / "got",
            "--no-deps",
            "--index-url",
            first.index,
            "acme-tool==1.0",
        )
        pip = (sys.executable, "-m", "pip", "download", "--disable-pip-version-check")
        (await command(*pip, *dest, env=env, cwd=tmp_path)).succeeded()
        assert (tmp_path / "got" / wheel.name).read_bytes() == wheel.read_bytes()
        assert [each["filename"] for each in await changes(second)] == [wheel.name, newer.name]
    asked = [each.path for each in upstream.requests if "acme" in each.path]
    assert asked == ["/simple/acme-tool/"] * len(asked)
    assert len(asked) <= 2  # whether the name may be taken: once, before the first upload


async def test_of_twenty_uploads_of_one_name_through_two_replicas_one_wins(
    team: Team, tmp_path: Path
) -> None:
    wheels = [
        make_wheel(tmp_path / f"dist{number}", "acme-tool", "1.0", requires=[f"x{number}"])
        for number in range(20)
    ]
    async with team.replicas() as replicas:
        uploads = [upload(replicas[number % 2], wheel) for number, wheel in enumerate(wheels)]
        statuses = [status for status, _ in await asyncio.gather(*uploads)]
        assert sorted(statuses) == [200] + [409] * 19
        winner = wheels[statuses.index(200)]
        for each in replicas:
            (made,) = await changes(each)
            path = f"/files/acme-tool/{made['sha256']}/{winner.name}"
            async with aiohttp.ClientSession() as client, client.get(each.address + path) as got:
                assert await got.read() == winner.read_bytes()


async def test_changes_through_one_replica_are_seen_by_the_others(
    team: Team, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    async with team.replicas() as (first, second):
        assert (await upload(first, wheel))[0] == 200
        page = "/simple/acme-tool/"
        assert wheel.name in (await text_of(second, page))[1]

        async def second_shows(text: str, *, shown: bool = True) -> None:
            async def matches() -> bool:
                return (text in (await text_of(second, page))[1]) is shown

            await until(matches)

        assert await act(first, "acme-tool", "yank", version="1.0", reason="it breaks") == 200
        assert "it breaks" in (await text_of(first, page))[1]
        await second_shows("it breaks")
        assert "unyank" in await team.run("unyank", "acme-tool==1.0", "--index", "team")
        await second_shows("it breaks", shown=False)
        assert await act(second, "acme-tool", "delete", everything=True) == 200
        assert wheel.name not in (await text_of(second, page))[1]
        assert "restore" in await team.run("restore", "acme-tool==1.0", "--index", "team")
        await second_shows(wheel.name)
        assert await act(first, "acme-tool", "status", status="archived", reason="see x") == 200
        await second_shows("archived")
        made = [each["action"] for each in await changes(second)]
        assert made == ["publish", "yank", "unyank", "delete", "restore", "status"]


def has_arrived(folder: Path, size: int) -> bool:
    """Whether all of an upload is in a spool file of the folder."""
    return any(path.stat().st_size >= size for path in folder.glob("*"))


async def test_a_replica_that_is_killed_leaves_nothing_or_all(team: Team, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0", padding=20 * 10**6)
    async with team.replica(0) as other:
        for number in range(1, 4):
            async with team.replica(number) as killed:
                uploading = asyncio.create_task(upload(killed, wheel))
                incoming = tmp_path / f"replica-{number}/cache/uploads/team/incoming"
                await until(partial(has_arrived, incoming, wheel.stat().st_size))
                await asyncio.sleep(0.02 * number)  # the moment of the kill differs
                killed.send(signal.SIGKILL)
                await asyncio.gather(uploading, return_exceptions=True)
        made = [each["action"] for each in await changes(other)]
        assert made in ([], ["publish"])
        assert (await upload(other, wheel))[0] == 200
        (change,) = await changes(other)
        path = f"{other.address}/files/acme-tool/{change['sha256']}/{wheel.name}"
        async with aiohttp.ClientSession() as client, client.get(path) as got:
            assert await got.read() == wheel.read_bytes()


async def test_a_store_that_hangs_is_503_for_uploads_and_known_pages_stay(
    frail_server: ObjectServer, upstream: Upstream, tmp_path: Path
) -> None:
    frail_server.heal()
    team = Team(frail_server, upstream, tmp_path)
    upstream.add(make_wheel(tmp_path / "public", "public", "1.0"))
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    newer = make_wheel(tmp_path / "dist", "acme-tool", "2.0")
    try:
        async with team.replica(0) as server:
            assert (await upload(server, wheel))[0] == 200
            frail_server.send(signal.SIGSTOP)
            uploading = asyncio.create_task(upload(server, newer))
            status, text = await uploading
            assert (status, "does not answer" in text) == (503, True)
            assert wheel.name in (await text_of(server, "/simple/acme-tool/"))[1]
            assert (await text_of(server, "/simple/public/"))[0] == 200
            path = f"/files/acme-tool/{form_of(wheel)['sha256_digest'][0]}/{wheel.name}"
            assert (await text_of(server, path))[0] == 503
            async with team.replica(1) as late:
                for page in ("/simple/acme-tool/", "/simple/public/", "/simple/team/"):
                    assert (await text_of(late, page))[0] == 503
                frail_server.heal()
                await until(lambda: is_published(server, newer))
                await until(lambda: is_listed(late, newer))
    finally:
        frail_server.heal()


async def is_published(server: Running, wheel: Path) -> bool:
    status, _ = await upload(server, wheel)
    assert status in (200, 503)
    return status == 200


async def is_listed(server: Running, wheel: Path) -> bool:
    status, text = await text_of(server, "/simple/acme-tool/")
    assert status in (200, 503)
    return wheel.name in text


async def test_commands_work_on_the_store_itself_or_via_a_replica(
    team: Team, shared_object_server: ObjectServer, upstream: Upstream, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Team(shared_object_server, upstream, tmp_path / "elsewhere")
    async with team.replica(0) as server, elsewhere.replica(0) as other:
        assert (await upload(server, wheel))[0] == 200
        chosen = ("--via", server.address, "--index", "team")

        async def via(*arguments: str) -> str:
            done = await waystation(*arguments, *chosen, cwd=tmp_path)
            return done.succeeded().out

        assert await via("yank", "acme-tool==1.0", "--reason", "bad") == f"yank {wheel.name}: bad\n"
        assert await via("unyank", "--file", wheel.name, "acme-tool") == f"unyank {wheel.name}\n"
        assert await via("delete", "acme-tool", "--all") == f"delete {wheel.name}\n"
        assert await via("restore", "acme-tool==1.0") == f"restore {wheel.name}\n"
        assert await via("status", "acme-tool", "archived") == "status acme-tool: archived\n"
        assert await via("claim", "acme-other") == "claim acme-other\n"
        assert await via("owners", "acme-tool", "ana", "ben") == "owners acme-tool: ana ben\n"
        assert await team.run("owners", "acme-tool", "--index", "team") == "ana\nben\n"
        refused = await waystation("yank", "acme-tool==9", *chosen, cwd=tmp_path)
        assert refused.status == 1
        assert "there is no file version 9 of acme-tool in team" in refused.err
        assert "snap" in await team.run("snapshot", "create", "snap", "--index", "team")
        to = ("--index", "team", "--to", f"{other.address}/legacy/")
        assert f"published {wheel.name}" in await team.run("push", "acme-tool==1.0", *to)
        assert wheel.name in (await text_of(other, "/simple/acme-tool/"))[1]
    assert "packages s3://" in await team.run("check")
