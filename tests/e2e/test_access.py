"""Real clients with credentials, in each way in which they can be given, and tokens under load."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from tests.support.access import basic
from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.running import Done, Running, command, environment, running, waystation
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

pytestmark = pytest.mark.slow

MakePlace = Callable[[], Place]
LIST = "application/vnd.pypi.simple.v1+json"
PDM = ("pdm<2.23", "hishel<0.1", "httpx<0.28", "unearth<0.18")
"""The last PDM with this HTTP client."""
PROJECT = """
[project]
name = "application"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["aaa"]
"""


class Guarded(NamedTuple):
    """A server that demands credentials, and a token that may read everything."""

    server: Running
    secret: str
    folder: Path
    config: Path

    @property
    def host(self) -> str:
        return self.server.address.removeprefix("http://")

    @property
    def with_credentials(self) -> str:
        return f"http://__token__:{self.secret}@{self.host}/simple/"

    @property
    def with_user(self) -> str:
        return f"http://__token__@{self.host}/simple/"

    def netrc(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        path = home / ".netrc"
        path.write_text(f"machine 127.0.0.1 login __token__ password {self.secret}\n")
        path.chmod(0o600)

    def keyring(self, folder: Path) -> Path:
        """A folder for ``PATH`` with the program that pip and uv ask for passwords."""
        folder.mkdir(parents=True)
        program = folder / "keyring"
        both = json.dumps({"username": "__token__", "password": self.secret})
        program.write_text(
            f"""#!/bin/sh
            case "$*" in
            "--mode=creds --output=json get"*) echo '{both}' ;;
            get*) echo '{self.secret}' ;;
            *) exit 1 ;;
            esac
            """
        )
        program.chmod(0o755)
        return folder

    async def counts(self) -> tuple[int, int]:
        """Answers without credentials, and with them. Ends the server: then all are in the log."""
        await self.server.end()
        statuses = [each["status"] for each in self.server.requests()]
        return statuses.count(401), len(statuses) - statuses.count(401)


async def token(
    config: Path, name: str, *scopes: str, command: str = "create", expires: str = "1h"
) -> str:
    scope = [argument for each in scopes for argument in ("--scope", each)]
    cache = ("--cache-dir", config.parent / "cache")
    done = await waystation(
        "token",
        command,
        "--config",
        config,
        *cache,
        "--name",
        name,
        "--expires",
        expires,
        *scope,
        cwd=config.parent,
    )
    return done.succeeded().out.strip()


@asynccontextmanager
async def guarded(
    folder: Path, upstream: Upstream, *more: str, settings: str = ""
) -> AsyncIterator[Guarded]:
    config = folder / "waystation.toml"
    config.write_text(f'upstream = "{upstream.url}"\n{settings}[access]\n')
    secret = await token(config, "ci", "read:main")
    async with running(folder, "--config", config, *more) as server:
        yield Guarded(server, secret, folder, config)


@pytest.fixture
async def gate(tmp_path: Path, upstream: Upstream, chain: dict[str, str]) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path, upstream) as found:
        yield found


async def test_pip_with_credentials_in_the_address(gate: Guarded, place: MakePlace) -> None:
    there = place()
    (await there.install("pip", gate.with_credentials, "aaa")).succeeded()
    assert there.installed() == {"aaa": "1.0", "bbb": "1.0", "ccc": "1.0"}
    assert (await gate.counts())[0] == 0


async def test_pip_with_netrc(gate: Guarded, place: MakePlace) -> None:
    there = place()
    gate.netrc(there.home)
    (await there.install("pip", gate.server.index, "aaa")).succeeded()
    assert (await gate.counts())[0] == 0


async def test_pip_with_keyring(gate: Guarded, place: MakePlace) -> None:
    there = place()
    path = gate.keyring(there.folder / "bin")
    given = ("--index-url", gate.with_user, "--keyring-provider", "subprocess", "aaa")
    (await there.pip("install", *given, path=path)).succeeded()
    assert len(there.installed()) == 3


@pytest.mark.parametrize("secret", ["", "wrong"])
async def test_pip_without_a_right_password_installs_nothing(
    gate: Guarded, place: MakePlace, secret: str
) -> None:
    there = place()
    index = f"http://__token__:{secret}@{gate.host}/simple/" if secret else gate.server.index
    done = await there.install("pip", index, "aaa")
    assert (done.status, there.installed()) == (1, {})


async def test_uv_with_credentials_in_the_address(gate: Guarded, place: MakePlace) -> None:
    there = place()
    (await there.install("uv", gate.with_credentials, "aaa")).succeeded()
    assert len(there.installed()) == 3
    assert (await gate.counts())[0] == 0


async def test_uv_with_netrc_asks_first_without(gate: Guarded, place: MakePlace) -> None:
    """Each of those answers is normal, and no limit of failures counts them."""
    there = place()
    gate.netrc(there.home)
    (await there.install("uv", gate.server.index, "aaa")).succeeded()
    without, others = await gate.counts()
    assert len(there.installed()) == 3
    assert 3 <= without <= others


async def test_uv_with_keyring(gate: Guarded, place: MakePlace) -> None:
    there = place()
    path = gate.keyring(there.folder / "bin")
    given = ("--index-url", gate.with_user, "--keyring-provider", "subprocess", "aaa")
    (await there.uv("pip", "install", *given, path=path)).succeeded()
    assert len(there.installed()) == 3


@pytest.mark.parametrize("way", ["environment", "always"])
async def test_uv_with_a_named_index(gate: Guarded, place: MakePlace, way: str) -> None:
    there = place()
    always = 'authenticate = "always"\n' if way == "always" else ""
    source = f'[[tool.uv.index]]\nname = "house"\nurl = "{gate.server.index}"\ndefault = true\n'
    (there.folder / "pyproject.toml").write_text(PROJECT + source + always)
    more = {"UV_NO_CONFIG": "false"}
    if way == "always":
        gate.netrc(there.home)
    else:
        more |= {"UV_INDEX_HOUSE_USERNAME": "x", "UV_INDEX_HOUSE_PASSWORD": gate.secret}
    (await there.uv("sync", "--active", "--no-install-project", more=more)).succeeded()
    assert len(there.installed()) == 3
    assert (await gate.counts())[0] == 0
    assert gate.secret not in (there.folder / "uv.lock").read_text()


@pytest.fixture(scope="session")
def tool_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Installs a tool into a virtual environment of its own."""

    def install(*names: str) -> Path:
        folder = tmp_path_factory.mktemp("tool")
        for arguments in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "pip"), "install", "-q", *names],
        ):
            done = subprocess.run(arguments, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"{names[0]} could not be installed: {done.stderr.strip()[-200:]}")
        return folder / "bin"

    return install


async def test_poetry_with_variables(
    gate: Guarded, place: MakePlace, tool_folder: Callable[..., Path]
) -> None:
    there = place()
    source = f'[[tool.poetry.source]]\nname = "house"\nurl = "{gate.server.index}"\n'
    (there.folder / "pyproject.toml").write_text(
        f"{PROJECT}\n[tool.poetry]\npackage-mode = false\n{source}"
    )
    more = {
        "POETRY_HTTP_BASIC_HOUSE_USERNAME": "__token__",
        "POETRY_HTTP_BASIC_HOUSE_PASSWORD": gate.secret,
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "VIRTUAL_ENV": str(there.folder / "venv"),
        "PATH": f"{there.folder / 'venv' / 'bin'}:/usr/bin:/bin",
    }
    done = await run(there, tool_folder("poetry") / "poetry", "install", "--no-root", **more)
    done.succeeded()
    assert len(there.installed()) == 3
    assert gate.secret not in (there.folder / "poetry.lock").read_text()


async def test_pdm_with_a_variable_in_the_address(
    gate: Guarded, place: MakePlace, tool_folder: Callable[..., Path]
) -> None:
    there = place()
    source = '[[tool.pdm.source]]\nname = "pypi"\nurl = "http://__token__:${SECRET}@HOST/simple/"\n'
    (there.folder / "pyproject.toml").write_text(PROJECT + source.replace("HOST", gate.host))
    more = {
        "SECRET": gate.secret,
        "VIRTUAL_ENV": str(there.folder / "venv"),
        "PDM_CHECK_UPDATE": "0",
        "PDM_USE_VENV": "1",
        "PDM_IGNORE_SAVED_PYTHON": "1",
    }
    done = await run(
        there,
        tool_folder(*PDM) / "pdm",
        "install",
        "--no-self",
        **more,
    )
    done.succeeded()
    assert len(there.installed()) == 3
    assert gate.secret not in (there.folder / "pdm.lock").read_text()


async def test_the_list_of_upstream_shows_a_principal_the_names_that_it_may_read(
    tmp_path: Path, upstream: Upstream
) -> None:
    names = ["aaa", "acme-public", "zope"]
    body = json.dumps({"meta": {"api-version": "1.0"}, "projects": [{"name": n} for n in names]})
    upstream.fault("/simple/", Fault(body=body.encode(), content_type=LIST))
    make_wheel(tmp_path / "packages", "acme-tool", "1.0")
    settings = 'packages = "packages"\nlist_upstream = true\n'
    async with guarded(tmp_path, upstream, settings=settings) as gate:
        some = await token(gate.config, "some", "read:main:acme-*")
        whole = sorted([*names, "acme-tool"])
        for secret, expected in 2 * [(gate.secret, whole), (some, ["acme-public", "acme-tool"])]:
            for encoding in ("gzip", "identity"):
                assert await listed(gate.server.index, secret, encoding) == expected


async def listed(index: str, secret: str, encoding: str) -> list[str]:
    headers = {"Authorization": basic(secret), "Accept": LIST, "Accept-Encoding": encoding}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(index) as response,
    ):
        assert response.headers["Cache-Control"].startswith("private, ")
        return [each["name"] for each in (await response.json(content_type=LIST))["projects"]]


@pytest.mark.parametrize("tool", ["twine", "uv"])
async def test_publishing_needs_the_right_to_upload(
    tmp_path: Path, upstream: Upstream, place: MakePlace, tool: str
) -> None:
    (tmp_path / "packages").mkdir()
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    settings = 'packages = "packages"\nuploads = true\n[audit]\n'
    async with guarded(tmp_path, upstream, settings=settings) as gate:
        there = place()
        uploads = await token(gate.config, "uploads", "upload:main:acme-*", "read:main:acme-*")
        for secret, succeeds in (("wrong", False), (gate.secret, False), (uploads, True)):
            done = await publish(there, tool, f"{gate.server.address}/legacy/", wheel, secret)
            assert (done.status == 0) is succeeds, f"{done.out}{done.err}"
            assert secret == "wrong" or secret not in done.out + done.err
        index = f"http://__token__:{uploads}@{gate.host}/simple/"
        (await there.install("pip", index, "acme-tool")).succeeded()
    given = ("--config", gate.config, "--cache-dir", tmp_path / "cache", "--refused", "--json")
    (refused,) = json.loads((await waystation("audit", *given, cwd=tmp_path)).succeeded().out)
    found = (refused["kind"], refused["principal"], refused["reason"])
    assert found == ("change", "token:ci", "No right to upload index main")


async def publish(there: Place, tool: str, url: str, wheel: Path, secret: str) -> Done:
    if tool == "uv":
        given = ("--publish-url", url, "--username", "__token__", "--password", secret)
        return await there.uv("publish", *given, "--trusted-publishing", "never", wheel)
    variables = {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": secret}
    options = ("--repository-url", url, "--non-interactive", "--disable-progress-bar")
    program = Path(sys.executable).parent / "twine"
    return await run(there, program, "upload", *options, str(wheel), **variables)


async def run(there: Place, program: Path, *arguments: str, **more: str) -> Done:
    env = environment(there.home, **more)
    return await command(program, *arguments, env=env, cwd=there.folder, limit=180)


async def statuses(server: Running, secret: str, number: int) -> set[int]:
    """Of that many requests of one client, over the connections that it likes to open."""
    headers = {"Authorization": basic(secret)}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def one() -> int:
            async with session.get(f"{server.index}aaa/") as response:
                await response.read()
                return response.status

        return set(await asyncio.gather(*(one() for _ in range(number))))


async def all_refused(server: Running, secret: str) -> bool:
    """Also where so many failures that they are limited by then."""
    return await statuses(server, secret, 20) <= {401, 429}


async def test_revoked_and_rotated_tokens_act_in_all_workers_under_load(
    tmp_path: Path, upstream: Upstream, chain: dict[str, str]
) -> None:
    """New connections reach all workers; within a second none knows the old token."""
    async with guarded(tmp_path, upstream, "--workers", "2") as gate:
        await until(lambda: gate.server.listening() == 2)
        assert await statuses(gate.server, gate.secret, 40) == {200}
        other = await token(gate.config, "other", "read:main")
        stopping = asyncio.Event()

        async def load() -> set[int]:
            seen: set[int] = set()
            while not stopping.is_set():
                seen |= await statuses(gate.server, other, 10)
            return seen

        running_load = asyncio.create_task(load())
        successor = await token(gate.config, "ci", command="rotate")
        assert await statuses(gate.server, successor, 40) == {200}
        await until(lambda: all_refused(gate.server, gate.secret), 5.0)
        cache = ("--cache-dir", tmp_path / "cache")
        revoke = ("token", "revoke", "--config", gate.config, *cache, "--name", "ci")
        (await waystation(*revoke, cwd=tmp_path)).succeeded()
        await until(lambda: all_refused(gate.server, successor), 5.0)
        short = await token(gate.config, "short", "read:main", expires="2s")
        assert 200 in await statuses(gate.server, short, 4)
        await until(lambda: all_refused(gate.server, short), 5.0)
        stopping.set()
        assert await running_load == {200}
    output = "\n".join([*gate.server.out.lines, *gate.server.err.lines])
    for secret in (gate.secret, successor, other, short):
        assert secret not in output
        assert basic(secret).split()[1] not in output


async def test_a_reload_changes_rights_on_known_connections(gate: Guarded) -> None:
    headers = {"Authorization": basic(gate.secret)}
    url = f"{gate.server.index}aaa/"
    metrics = f"{gate.server.address}/metrics"
    reload = ("reload", "--config", gate.config, "--cache-dir", gate.folder / "cache")
    text = gate.config.read_text()
    async with aiohttp.ClientSession(headers=headers) as session:

        async def status(address: str) -> int:
            async with session.get(address) as response:
                await response.read()
                return response.status

        assert [await status(url) for _ in range(3)] == [200] * 3
        assert await status(metrics) == 403
        gate.config.write_text(f'{text}[access.rights]\n"token:ci" = ["metrics"]\n')
        (await waystation(*reload, cwd=gate.folder)).succeeded()
        assert [await status(url), await status(metrics)] == [200, 200]
        gate.config.write_text(text)
        (await waystation(*reload, cwd=gate.folder)).succeeded()
        assert [await status(url), await status(metrics)] == [200, 403]
        gate.config.write_text(text.replace("[access]", ""))
        refused = await waystation(*reload, cwd=gate.folder)
        assert (refused.status, "cannot be turned off" in refused.err) == (2, True)
        assert await status(metrics) == 403


async def test_a_worker_that_is_killed_knows_afterwards_what_was_revoked(
    tmp_path: Path, upstream: Upstream, chain: dict[str, str]
) -> None:
    async with guarded(tmp_path, upstream, "--workers", "2") as gate:
        await until(lambda: gate.server.listening() == 2)
        other = await token(gate.config, "other", "read:main")
        assert await statuses(gate.server, gate.secret, 20) == {200}
        pid = gate.server.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        revoke = ("token", "revoke", "--config", gate.config, "--name", "ci")
        cache = ("--cache-dir", tmp_path / "cache")
        (await waystation(*revoke, *cache, cwd=tmp_path)).succeeded()
        await until(lambda: gate.server.listening() == 2)
        assert await statuses(gate.server, other, 20) == {200}
        assert await all_refused(gate.server, gate.secret)


async def test_no_output_holds_a_credential(gate: Guarded) -> None:
    """The log, errors and metrics, after right and wrong credentials in every form."""
    admin = await token(gate.config, "watcher", "metrics")
    secrets = [gate.secret, admin, "wrong-password-1", "wst_" + "x" * 50]
    async with aiohttp.ClientSession() as session:
        bodies = []
        for secret in secrets:
            for value in (basic(secret), basic("", secret), f"Bearer {secret}"):
                for path in ("simple/aaa/", "simple/nothing/", "metrics", "+explain/aaa", "x/y"):
                    url = f"{gate.server.address}/{path}"
                    async with session.get(url, headers={"Authorization": value}) as response:
                        bodies.append(f"{response.headers} {await response.text()}")
    await gate.server.end()
    output = "\n".join([*gate.server.out.lines, *gate.server.err.lines, *bodies])
    assert "token:ci" in output
    for secret in secrets:
        for form in (secret, basic(secret).split()[1], basic("", secret).split()[1]):
            assert form not in output
