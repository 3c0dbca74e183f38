"""Scenario: a request where one, two or four replicas share an object store and Redis."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urljoin

from benchmarks.agents import UV
from benchmarks.clients import get
from benchmarks.fake_content import JSON
from benchmarks.load import drive
from benchmarks.measures import Row
from benchmarks.processes import Broken, Server
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import FakeUpstream, fake_upstream, waystation
from benchmarks.static_copy import LASTING
from benchmarks.synthetic_projects import project
from tests.support.redis_server import RedisServer, redis_program
from tests.support.seaweedfs import BUCKET, WEED, ObjectServer, object_server

COUNTS = (1, 2, 4)
MAX_RATIO = 1.1
"""Times the CPU of a request to the only replica."""


def _name(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def _run(context: Context) -> None:
    if WEED is None:
        raise Broken("weed, the server of SeaweedFS, is not installed: see the extra test")
    with (
        object_server(context.folder("store")) as store,
        RedisServer(redis_program()) as redis,
        fake_upstream(context.folder("upstream")) as upstream,
    ):
        for number in context.each_round():
            for count in COUNTS:
                folder = context.folder(f"replicas-{number}-{count}")
                prefix = f"{number}-{count}"
                with _replicas(folder, upstream, store, redis, prefix, count) as servers:
                    _measure(context, servers, count)


@contextmanager
def _replicas(
    folder: Path,
    upstream: FakeUpstream,
    store: ObjectServer,
    redis: RedisServer,
    prefix: str,
    count: int,
) -> Iterator[list[Server]]:
    """With nothing in the store below the prefix, and nothing in Redis."""
    redis.ask("FLUSHALL")
    storage = {"files": f"s3://{BUCKET}/{prefix}", "records": redis.url}
    settings = LASTING | {"storage": json.dumps(storage)}
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                waystation(
                    folder / str(at), upstream.url, settings=settings, variables=store.variables
                )
            )
            for at in range(count)
        ]


def _measure(context: Context, servers: Sequence[Server], count: int) -> None:
    page = f"/simple/{project(min(300, context.sizes.pages[-1]))}/"
    wheel = _wheel(servers[0], context.sizes.wheels[-1])
    for key, path in (("page", page), ("wheel", wheel)):
        for server in servers:
            get(server.url + path, UV)
            server.wait_idle(context.sizes.rest)
        context.calm()
        # In turn: here they share a core, and elsewhere each has one.
        loads = [drive(each, path, UV, seconds=context.sizes.seconds) for each in servers]
        cpu = statistics.fmean(each.cpu for each in loads)
        for other in COUNTS[1:]:
            if count in (1, other):
                context.record(f"replicas-{key}-{other}", _name(count), cpu)


def _wheel(server: Server, size: int) -> str:
    """The path of a wheel of so many bytes."""
    page = f"/simple/{project(1, size)}/"
    (file,) = json.loads(get(server.url + page, {"Accept": JSON}).body)["files"]
    return urljoin(page, str(file["url"]))


def _row(key: str, work: str, count: int) -> Row:
    key, work = f"replicas-{key}-{count}", f"{work}: server CPU"
    return Row(key, work, "µs/request", MAX_RATIO, True, "ratio", _name(1), _name(count))


SCENARIOS = (
    Scenario(
        "replicas",
        "a warm page and a warm wheel from one, two and four replicas on one store and one Redis",
        _run,
        [
            _row(key, work, count)
            for key, work in (("page", "warm page of 300 files"), ("wheel", "warm wheel of 64 kB"))
            for count in COUNTS[1:]
        ],
    ),
)
