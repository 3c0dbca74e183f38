"""Several worker processes share one port, are replaced when they die, and end together."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.support.running import Running, running
from tests.support.waiting import until

pytestmark = pytest.mark.slow

OFFLINE = ("--offline", "--upstream", "http://127.0.0.1:9/simple/")


async def ready(server: Running) -> int:
    """Request on a new connection, which the kernel gives to any worker."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{server.address}/readyz") as answer,
    ):
        return answer.status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_workers_share_the_port_and_end_together(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with running(tmp_path, *OFFLINE, WAYSTATION_WORKERS="2") as server:
        await until(lambda: len(server.workers()) == 2)
        assert {await ready(server) for _ in range(20)} == {200}
        both = server.workers()
        server.send(number)
        assert await server.ended() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in both)


async def test_a_worker_that_dies_is_replaced_while_the_other_serves(tmp_path: Path) -> None:
    async with running(tmp_path, *OFFLINE, WAYSTATION_WORKERS="2") as server:
        await until(lambda: len(server.workers()) == 2)
        first, second = sorted(server.workers())
        os.kill(second, signal.SIGKILL)
        await server.logged(lambda line: "it is restarted" in line["message"])
        await until(lambda: len(server.workers()) == 2)
        assert first in server.workers()
        assert second not in server.workers()
        assert {await ready(server) for _ in range(20)} == {200}


async def test_the_address_is_printed_once_whichever_worker_dies(tmp_path: Path) -> None:
    async with running(tmp_path, *OFFLINE, WAYSTATION_WORKERS="2") as server:
        await until(lambda: len(server.workers()) == 2)
        for pid in (both := server.workers()):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(server.workers() - both) == 2)
        await until(lambda: server.listening() == 2)
    assert sum("listens on" in line for line in server.out.lines) == 1


async def test_auto_is_one_for_each_processor(tmp_path: Path) -> None:
    wanted = len(os.sched_getaffinity(0))
    async with running(tmp_path, *OFFLINE, WAYSTATION_WORKERS="auto") as server:
        await until(lambda: len(server.workers()) == (wanted if wanted > 1 else 0))


async def test_workers_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    async with running(tmp_path, *OFFLINE, WAYSTATION_WORKERS="2") as server:
        await until(lambda: len(server.workers()) == 2)
        both = server.workers()
        server.send(signal.SIGKILL)
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in both))


@pytest.mark.parametrize("others", ["1", "2"])
async def test_a_port_that_is_taken_is_reported_once_and_ends_with_2(
    tmp_path: Path, others: str
) -> None:
    async with running(tmp_path, *OFFLINE, WAYSTATION_WORKERS=others) as server:
        with pytest.raises(EOFError, match="port: cannot listen"):
            async with running(
                tmp_path, *OFFLINE, "--port", str(server.port), WAYSTATION_WORKERS="2"
            ):
                pass
