"""Workers ask each other for their state, on sockets in a folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from proxy.administration import RunningWorkers, WorkerState
from proxy.administration.running_workers import DownloadState

STATE = WorkerState(os.getpid(), (DownloadState("pypi", "a of b", 1, None, 2),), ("pypi",), 3)


def workers(folder: Path, group: int = 1) -> RunningWorkers:
    return RunningWorkers(folder, group, lambda: STATE)


async def test_a_worker_answers_also_in_a_folder_with_a_long_name(tmp_path: Path) -> None:
    """Addresses of sockets may have about a hundred bytes."""
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    first, other = workers(folder), workers(folder)
    other._own = "1-2.sock"  # as of another process
    async with first.answering(), other.answering():
        assert await first.states() == [STATE, STATE]
        assert {each.name for each in folder.iterdir()} == {f"1-{os.getpid()}.sock", "1-2.sock"}
    assert list(folder.iterdir()) == []


async def test_workers_of_other_servers_are_left_out(tmp_path: Path) -> None:
    async with workers(tmp_path, group=2).answering():
        assert await workers(tmp_path).states() == [STATE]


async def test_dead_and_odd_sockets_are_left_out(tmp_path: Path) -> None:
    killed = socket.socket(socket.AF_UNIX)
    killed.bind(str(tmp_path / "1-7.sock"))
    killed.close()
    (tmp_path / "1-8.sock").write_text("no socket")
    assert await workers(tmp_path).states() == [STATE]
    assert not (tmp_path / "1-7.sock").exists()
