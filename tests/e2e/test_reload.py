"""Reload: good settings take effect in all processes, wrong ones leave everything as it is."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.support.distributions import make_wheel
from tests.support.faults import Fault
from tests.support.running import Running, running, waystation
from tests.support.upstream import Upstream
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
OLD, NEW = "aaa-1.0-py3-none-any.whl", "aaa-2.0-py3-none-any.whl"


class Config:
    """A settings file that changes while a server runs."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.path = folder / "waystation.toml"
        self.cache = folder / "cache"
        self._folder = folder
        self._upstream = upstream

    def write(
        self, rules: str = "", more: str = "", top: str = "", *, in_place: bool = False
    ) -> None:
        """``rules``: the names in ``policies`` of the index ``main``, as TOML."""
        text = f"""
            index = "main"
            cache_dir = "cache"
            port = 0
            {top}
            [indexes.main]
            kind = "mirror"
            url = "{self._upstream.url}"
            policies = [{rules}]
            {more}
            [policies.old]
            kind = "deny"
            show = "hide"
            versions = {{ aaa = ["==1.0"] }}
            [policies.new]
            kind = "deny"
            show = "hide"
            versions = {{ aaa = ["==2.0"] }}
            """
        if in_place:
            self.path.write_text(text)
            return
        other = self.path.with_suffix(".new")
        other.write_text(text)
        other.rename(self.path)

    async def reload(self, status: int = 0) -> str:
        done = await waystation(
            "reload", "--config", self.path, "--cache-dir", self.cache, cwd=self._folder
        )
        assert done.status == status, done.err
        return done.out + done.err


@pytest.fixture
def config(tmp_path: Path, upstream: Upstream) -> Config:
    for version in ("1.0", "2.0"):
        upstream.add(make_wheel(tmp_path / "made", "aaa", version))
    made = Config(tmp_path, upstream)
    made.write()
    return made


async def get(server: Running, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(server.address + path) as answer:
        return answer.status, (await answer.read()).decode(errors="replace")


async def shown(server: Running, root: str = "") -> set[str]:
    status, text = await get(server, f"{root}/simple/aaa/")
    return {name for name in (OLD, NEW) if name in text} if status == 200 else set()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_changed_rules_and_indexes_take_effect_in_all_processes(
    tmp_path: Path, config: Config, upstream: Upstream, workers: str
) -> None:
    arguments = ("--config", config.path, "--cache-dir", config.cache)
    async with running(tmp_path, *arguments, WAYSTATION_WORKERS=workers) as server:
        await until(lambda: server.listening() == int(workers))
        seen = [await shown(server) for _ in range(8)]
        assert all(each == {OLD, NEW} for each in seen)
        for rules, left in (('"old"', {NEW}), ('"new"', {OLD}), ("", {OLD, NEW})):
            config.write(rules, more='[indexes.team]\nkind = "fallthrough"\nof = ["main"]\n')
            assert "has reloaded its settings" in await config.reload()
            assert [await shown(server) for _ in range(8)] == [left] * 8
            assert await shown(server, "/team") == left
        config.write()
        await config.reload()
        assert {(await get(server, "/team/simple/aaa/"))[0] for _ in range(8)} == {404}
        # the page was never requested again: the mirror and its cache stayed
        assert upstream.count("/simple/aaa/") <= int(workers)


async def test_reloads_that_overlap_leave_all_processes_alike(
    tmp_path: Path, config: Config
) -> None:
    arguments = ("--config", config.path, "--cache-dir", config.cache)
    async with running(tmp_path, *arguments, WAYSTATION_WORKERS="2") as server:
        await until(lambda: server.listening() == 2)
        for number in range(12):
            config.write(('"old"', '"new"')[number % 2])
            server.send(signal.SIGHUP)
            await asyncio.sleep(0.02)  # signals that are sent at once are one
        config.write('"old"')
        await config.reload()  # waits for one that began after the file was written
        assert not any("the reload failed" in line for line in server.err.lines)
        assert [await shown(server) for _ in range(8)] == [{NEW}] * 8


@pytest.mark.parametrize(
    ("top", "problem"),
    [
        ("nonsense = 1", "nonsense"),
        ("page_ttl = 'soon'", "page_ttl"),
        ("this is no TOML", "is not TOML"),
        ('ca_bundle = "absent.pem"', "ca_bundle"),
        ('[policies.odd]\nkind = "oddity"', "policies.odd"),
    ],
)
async def test_wrong_settings_are_refused_and_the_former_ones_stay(
    tmp_path: Path, config: Config, top: str, problem: str
) -> None:
    config.write('"old"')
    async with running(tmp_path, "--config", config.path, "--cache-dir", config.cache) as server:
        config.write(
            '"new"', top="" if top.startswith("[") else top, more=top if top.startswith("[") else ""
        )
        assert problem in await config.reload(2)
        server.send(signal.SIGHUP)  # after a signal, the reason is in the log only
        await server.logged(lambda line: problem in line["message"])
        assert await shown(server) == {NEW}
        assert "\nwaystation_reload_failed 1.0" in (await get(server, "/metrics"))[1]
        config.write('"new"')
        await config.reload()
        assert await shown(server) == {OLD}
        assert "\nwaystation_reload_failed 1.0" not in (await get(server, "/metrics"))[1]


@pytest.mark.parametrize(
    ("more", "top", "problem"),
    [
        ("", "", "cannot be turned off by a reload"),
        ('[access]\nanonymous = ["read:main"]\nhtpasswd = "absent"', "", "cannot be read"),
        ("[access]", "this is no TOML", "is not TOML"),
    ],
)
async def test_a_worker_that_is_restarted_gets_no_settings_that_were_refused(
    tmp_path: Path, config: Config, more: str, top: str, problem: str
) -> None:
    config.write(more="[access]")
    arguments = ("--config", config.path, "--cache-dir", config.cache)
    async with running(tmp_path, *arguments, WAYSTATION_WORKERS="2") as server:
        await until(lambda: server.listening() == 2)
        config.write(more=more, top=top)
        assert problem in await config.reload(2)
        for pid in (former := server.workers()):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(server.workers() - former) == 2 and server.listening() == 2)
        assert {(await get(server, "/simple/aaa/"))[0] for _ in range(16)} == {401}
        config.write(more='[access]\nanonymous = ["read:main", "metrics"]')
        await config.reload()
        assert {(await get(server, "/simple/aaa/"))[0] for _ in range(16)} == {200}


async def test_a_worker_that_cannot_start_again_yet_leaves_the_others_serving(
    tmp_path: Path, config: Config
) -> None:
    config.write(more='[access]\nhtpasswd = "users"\nanonymous = ["read:main"]')
    (tmp_path / "users").touch()
    arguments = ("--config", config.path, "--cache-dir", config.cache)
    async with running(tmp_path, *arguments, WAYSTATION_WORKERS="2") as server:
        await until(lambda: server.listening() == 2)
        (tmp_path / "users").unlink()
        os.kill(max(server.workers()), signal.SIGKILL)
        await server.logged(lambda line: "ended with status 2" in line["message"])
        assert await shown(server) == {OLD, NEW}
        (tmp_path / "users").touch()
        await until(lambda: server.listening() == 2)


@pytest.mark.parametrize("top", ["this is no TOML", 'ca_bundle = "absent.pem"'])
async def test_all_processes_know_that_settings_were_refused(
    tmp_path: Path, config: Config, top: str
) -> None:
    arguments = ("--config", config.path, "--cache-dir", config.cache)

    async def have_failed(value: bool) -> bool:
        texts = [(await get(server, "/metrics"))[1] for _ in range(8)]
        return {"\nwaystation_reload_failed 1.0" in text for text in texts} == {value}

    async with running(tmp_path, *arguments, WAYSTATION_WORKERS="2") as server:
        await until(lambda: server.listening() == 2)
        config.write(top=top)
        server.send(signal.SIGHUP)  # the command does not send it with settings that it refuses
        await until(lambda: have_failed(True))
        former = server.workers()
        os.kill(max(former), signal.SIGKILL)
        await until(lambda: len(server.workers() - former) == 1 and server.listening() == 2)
        await until(lambda: have_failed(True))
        config.write()
        await config.reload()
        await until(lambda: have_failed(False))


async def test_what_needs_a_restart_is_named(tmp_path: Path, config: Config) -> None:
    async with running(tmp_path, "--config", config.path, "--cache-dir", config.cache):
        config.write(top='log_level = "debug"\nmax_connections = 7')
        for _ in range(2):  # it still does, although nothing has changed since
            text = await config.reload()
            assert "max_connections takes effect with a restart" in text
            assert "log_level takes effect with a restart" in text
        config.write()
        assert "restart" not in await config.reload()


async def test_what_takes_effect_at_once_is_not_said_to_need_a_restart(
    tmp_path: Path, config: Config, upstream: Upstream
) -> None:
    upstream.add(make_wheel(tmp_path / "made", "bbb", "1.0"))
    async with running(tmp_path, "--config", config.path, "--cache-dir", config.cache) as server:
        config.write(top="list_upstream = true")
        assert "restart" not in await config.reload()
        assert "bbb" in (await get(server, "/simple/"))[1]
        config.write(top="list_upstream = true", more='reserved = ["bbb"]')
        assert "restart" not in await config.reload()
        assert "bbb" not in (await get(server, "/simple/"))[1]  # upstream's list is the same
        config.write(top="offline = true")
        assert "restart" not in await config.reload()
        assert (await get(server, "/simple/bbb/"))[0] == 404
        config.write()
        assert "restart" not in await config.reload()
        assert (await get(server, "/simple/bbb/"))[0] == 200


async def test_without_a_server_the_command_says_so(tmp_path: Path, config: Config) -> None:
    assert "no server runs with" in await config.reload(1)
    async with running(tmp_path, "--config", config.path, "--cache-dir", config.cache) as server:
        os.kill(server.process.pid, signal.SIGKILL)
        await server.ended()
    assert "no server runs with" in await config.reload(1)


async def test_no_request_fails_while_settings_are_reloaded(
    tmp_path: Path, config: Config, upstream: Upstream
) -> None:
    """Pages and files of one request pair are of one state of the rules."""
    async with running(tmp_path, "--config", config.path, "--cache-dir", config.cache) as server:
        await shown(server)
        stop, asked = asyncio.Event(), 0

        async def ask(client: aiohttp.ClientSession) -> None:
            nonlocal asked
            while not stop.is_set():
                async with client.get(f"{server.index}aaa/") as answer:
                    text = await answer.text()
                assert answer.status == 200
                assert {OLD in text, NEW in text} in ({True}, {True, False})
                asked += 1

        async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask(client))
            for number in range(10):
                config.write(['"old"', '"new"', ""][number % 3], in_place=number % 2 == 1)
                server.send(signal.SIGHUP)
                await until(partial(reloaded, server, number + 1))
            stop.set()
        assert asked > 50


def reloaded(server: Running, times: int) -> bool:
    return sum("the settings are reloaded" in line for line in server.err.lines) >= times


async def test_names_of_a_directory_that_is_no_longer_served_stay_private(
    tmp_path: Path, config: Config, upstream: Upstream
) -> None:
    make_wheel(tmp_path / "packages", "acme", "1.0")
    local = '[indexes.private]\nkind = "local"\npath = "packages"\n'
    config.write(more=local)
    async with running(tmp_path, "--config", config.path, "--cache-dir", config.cache) as server:
        assert (await get(server, "/private/simple/acme/"))[0] == 200
        assert (await get(server, "/simple/acme/"))[0] == 404
        config.write()
        await config.reload()
        assert (await get(server, "/private/simple/acme/"))[0] == 404
        await until_status(server, "/simple/acme/", 503)
        config.write(more=local)
        await config.reload()
        assert (await get(server, "/private/simple/acme/"))[0] == 200
    assert upstream.count("/simple/acme/") <= 1


async def until_status(server: Running, path: str, status: int) -> None:
    async with asyncio.timeout(30):
        while (await get(server, path))[0] != status:
            await asyncio.sleep(0.05)


async def test_a_running_download_ends_whole(
    tmp_path: Path, config: Config, upstream: Upstream
) -> None:
    wheel = make_wheel(tmp_path / "made", "big", "1.0", padding=400_000)
    upstream.add(wheel)
    gate = asyncio.Event()
    upstream.fault("/files/", Fault(gate=gate, gate_at=100_000))
    async with running(tmp_path, "--config", config.path, "--cache-dir", config.cache) as server:
        _, text = await get(server, "/simple/big/")
        path = "/" + text.split('href="../../')[1].split("#")[0]
        async with aiohttp.ClientSession() as client, client.get(server.address + path) as answer:
            first = await answer.content.readany()
            config.write('"new"', top="page_ttl = 5")  # another mirror takes over
            await config.reload()
            gate.set()
            assert first + await answer.read() == wheel.read_bytes()


async def test_rights_that_a_reload_removes_end_at_once(tmp_path: Path, config: Config) -> None:
    """Also for answers that are repeated before the request is parsed, in all processes."""
    config.write(more='[access]\nanonymous = ["read:main"]')
    arguments = ("--config", config.path, "--cache-dir", config.cache)
    async with running(tmp_path, *arguments, WAYSTATION_WORKERS="2") as server:
        await until(lambda: server.listening() == 2)
        assert {(await get(server, "/simple/aaa/"))[0] for _ in range(16)} == {200}
        config.write(more='[access]\nanonymous = ["read:main:bbb"]')
        await config.reload()
        assert {(await get(server, "/simple/aaa/"))[0] for _ in range(16)} == {401}
        config.write(more="[access]")
        await config.reload()
        assert {(await get(server, "/simple/aaa/"))[0] for _ in range(16)} == {401}
        config.write(more='[access]\nanonymous = ["read:main"]')
        await config.reload()
        assert {(await get(server, "/simple/aaa/"))[0] for _ in range(16)} == {200}
