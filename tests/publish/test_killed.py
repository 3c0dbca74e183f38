"""A kill at any moment of an upload leaves nothing of the file, or all of it."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from proxy.model import ProjectName
from tests.support.distributions import make_wheel
from tests.support.kill_at_publish import BESIDE
from tests.support.publishing import publish, publishing
from tests.support.running import OURS, command, environment

FOO = ProjectName("foo")


async def test_a_kill_leaves_nothing_or_all(tmp_path: Path) -> None:
    wheel, root = make_wheel(tmp_path / "dist", "foo", "1.0"), tmp_path / "packages"
    env = environment(tmp_path / "home", **OURS)
    program = ("-m", "tests.support.kill_at_publish")
    done = await command(sys.executable, *program, root, wheel, env=env, cwd=tmp_path)
    *killed, last = map(int, done.succeeded().out.split())
    assert last == 0
    assert len(killed) >= 8
    assert set(killed) == {-signal.SIGKILL}
    found = await asyncio.gather(
        *(_found(tmp_path / f"packages{number}", wheel) for number in range(len(killed) + 1))
    )
    assert found[0] is False
    assert found[-1] is True
    assert found == sorted(found)  # from some moment on, all of it is there


async def _found(root: Path, wheel: Path) -> bool:
    """Whether the file is published; what is beside it and in the journal fits."""
    async with publishing(root) as publisher:
        page = await publisher.page(FOO)
        there = page is not None and bool(page.files)
        beside = {path.suffix for path in (root / "foo").glob("*.whl.*")}
        assert beside == (set(BESIDE) if there else set())
        assert list(root.rglob("*.tmp")) == []
        assert len(publisher.journal.changes()) == there
        assert list((publisher.private_folder / "incoming").glob("*")) == []
        assert await publish(publisher, wheel, beside=BESIDE) is not there
        assert len(publisher.journal.changes()) == 1
        return there
