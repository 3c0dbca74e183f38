"""Three replicas behind nginx, on one object store and one Redis, with the shipped files.

The variables of the replicas are those of ``deploy/scale/compose.yaml``, and nginx has the file
beside it: only addresses, ports and keys are put in.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pip
import pytest
import yaml
from obstore.store import S3Store

from tests.support.distributions import make_wheel
from tests.support.fork_server import ROOT
from tests.support.installers import Place, Tools
from tests.support.nginx import NGINX, nginx, put_in
from tests.support.redis_server import RedisServer
from tests.support.running import Running, running
from tests.support.seaweedfs import ObjectServer
from tests.support.sockets import free_port, lasting_port
from tests.support.upstream import Upstream

FOLDER = ROOT / "deploy" / "scale"
REPLICAS = ("replica1", "replica2", "replica3")
PROJECTS = [f"project-{letter}" for letter in "abcdef"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine"),
]


class Replica:
    """One server that can be stopped, killed, and started again at the same port."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.port = lasting_port()
        self._folder = folder
        self._variables = variables
        self._running = AsyncExitStack()
        self.server: Running

    async def start(self, program: Path | None = None) -> None:
        """``program``: the folder of another version of the program."""
        more = {"PYTHONPATH": str(program)} if program else {}
        self._folder.mkdir(exist_ok=True)
        given = ("--port", str(self.port))
        opened = running(self._folder, *given, **self._variables, **more)
        self.server = await self._running.enter_async_context(opened)

    async def end(self, number: signal.Signals) -> int:
        """The status with which it ends after that signal."""
        self.server.send(number)
        status = await self.server.ended()
        await self._running.aclose()
        return status

    async def close(self) -> None:
        await self._running.aclose()


class Cluster:
    def __init__(
        self, upstream: Upstream, replicas: list[Replica], store: S3Store, address: str
    ) -> None:
        self.upstream = upstream
        self.replicas = replicas
        self.store = store
        self.index = f"{address}/simple/"


def variables(store: ObjectServer, redis: RedisServer, upstream: Upstream) -> dict[str, str]:
    """Those of a replica in the shipped file, with the addresses of this test."""
    composed = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    found: dict[str, Any] = composed["services"]["replica1"]["environment"]
    storage = put_in(found["WAYSTATION_STORAGE"], {"redis://valkey:6379/0": redis.url})
    return found | {
        **store.variables,
        "WAYSTATION_STORAGE": storage,
        "WAYSTATION_UPSTREAM": upstream.url,
        "WAYSTATION_DRAIN_DELAY": "1",
    }


@pytest.fixture
async def cluster(
    tmp_path: Path, shared_object_server: ObjectServer, redis_server: RedisServer
) -> AsyncIterator[Cluster]:
    redis_server.ask("FLUSHALL")
    async with Upstream() as upstream, AsyncExitStack() as stack:
        for name in PROJECTS:
            needs = [each for each in PROJECTS if each > name][:2]
            upstream.add(make_wheel(tmp_path / "dist", name, "1.0", requires=needs, padding=50_000))
        given = variables(shared_object_server, redis_server, upstream)
        given["WAYSTATION_STORAGE"] = json.dumps(
            json.loads(given["WAYSTATION_STORAGE"]) | {"files": f"s3://packages/{tmp_path.name}"}
        )
        replicas = [Replica(tmp_path / name, given) for name in REPLICAS]
        for replica in replicas:
            stack.push_async_callback(replica.close)
            await replica.start()
        async with balancer(tmp_path, replicas) as address:
            store = shared_object_server.client(tmp_path.name)
            yield Cluster(upstream, replicas, store, address)


@asynccontextmanager
async def balancer(folder: Path, replicas: list[Replica]) -> AsyncIterator[str]:
    """nginx in front of the replicas; its address."""
    inside, port = folder / "nginx", free_port()
    inside.mkdir()
    servers = zip(REPLICAS, replicas, strict=True)
    places = {f"{name}:8080": f"127.0.0.1:{each.port}" for name, each in servers}
    listen = {"listen 8080": f"listen 127.0.0.1:{port}"}
    site = put_in((FOLDER / "nginx.conf").read_text(), {**places, **listen})
    async with nginx(inside, site, port):
        yield f"http://127.0.0.1:{port}"


class Installing:
    """pip and uv, each of which installs again and again into an empty environment.

    They try again as often as they do by default.
    """

    def __init__(self, folder: Path, index: str) -> None:
        self._folder = folder
        self._index = index
        self._tools = Tools(Path(pip.__file__).parent)
        self._enough = asyncio.Event()
        self.rounds = 0

    async def run(self, tool: str) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            place = Place(self._folder / f"{tool}{number}", self._tools)
            if tool == "uv":
                given = ("pip", "install", "--index-url", self._index, PROJECTS[0])
                done = await place.uv(*given, retries=3)
            else:
                given = ("--retries", "5", "--resume-retries", "5", PROJECTS[0])
                done = await place.install(tool, self._index, *given)
            assert done.succeeded(), done.err
            assert place.installed().keys() == {each.replace("-", "_") for each in PROJECTS}
            self.rounds += 1

    async def through(self, change: Awaitable[None]) -> None:
        """Install until the change has happened, and once more."""
        async with asyncio.TaskGroup() as tasks:
            for tool in ("pip", "uv"):
                tasks.create_task(self.run(tool))
            await change
            self._enough.set()


async def test_upstream_sees_each_file_once(cluster: Cluster, tmp_path: Path) -> None:
    installing = Installing(tmp_path / "clients", cluster.index)
    (tmp_path / "clients").mkdir()
    await installing.through(asyncio.sleep(0))
    served = [each for each in cluster.replicas if each.server.requests()]
    assert len(served) == len(REPLICAS)
    for name in PROJECTS:
        wheel = f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
        fetched = cluster.upstream.of(wheel, "GET")
        assert [each.path.endswith(".whl") for each in fetched].count(True) == 1, fetched


async def test_a_rolling_restart_fails_no_install(cluster: Cluster, tmp_path: Path) -> None:
    async def restart() -> None:
        for replica in cluster.replicas:
            assert await replica.end(signal.SIGTERM) == 0
            await replica.start()

    (tmp_path / "clients").mkdir()
    await Installing(tmp_path / "clients", cluster.index).through(restart())


def next_schema(folder: Path) -> Path:
    """A version of the program that keeps everything under other keys."""
    shutil.copytree(ROOT / "proxy", folder / "proxy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "settings.example.toml", folder / "proxy")
    changed = []
    for path in (folder / "proxy" / "scale").glob("*.py"):
        text = path.read_text()
        path.write_text(re.sub(r'"v1\b', '"v2', text))
        changed += [path.name] if path.read_text() != text else []
    assert {"object_store.py", "redis_client.py"} <= set(changed), changed
    return folder


async def test_a_rolling_upgrade_to_another_schema_fails_no_install(
    cluster: Cluster, tmp_path: Path
) -> None:
    program = next_schema(tmp_path / "next")

    async def upgrade() -> None:
        for replica in cluster.replicas:
            assert await replica.end(signal.SIGTERM) == 0
            await replica.start(program)

    (tmp_path / "clients").mkdir()
    await Installing(tmp_path / "clients", cluster.index).through(upgrade())
    stored = [each["path"] for part in cluster.store.list() for each in part]
    assert {path.split("/")[0] for path in stored} == {"v1", "v2"}


async def test_replicas_that_are_killed_fail_no_install(cluster: Cluster, tmp_path: Path) -> None:
    async def kill() -> None:
        for replica in cluster.replicas:
            assert await replica.end(signal.SIGKILL) == -signal.SIGKILL
            await replica.start()

    (tmp_path / "clients").mkdir()
    await Installing(tmp_path / "clients", cluster.index).through(kill())
