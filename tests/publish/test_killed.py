"""A kill at any moment of an upload leaves the file as it was, or all of the upload."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from proxy.model import ProjectName
from proxy.publish.package_files import sha256_of, sidecars_of
from tests.support.distributions import make_wheel
from tests.support.kill_at_publish import BESIDE, FORMER, other_bytes
from tests.support.publishing import publish, publishing
from tests.support.running import OURS, command, environment

pytestmark = pytest.mark.slow

FOO = ProjectName("foo")


async def killed(tmp_path: Path, wheel: Path, what: str) -> list[Path]:
    """The directories after uploads of the wheel that were killed, one after each moment; the last
    one was not killed."""
    env, root = environment(tmp_path / "home", **OURS), tmp_path / "packages"
    program = ("-m", "tests.support.kill_at_publish")
    done = await command(sys.executable, *program, root, wheel, what, env=env, cwd=tmp_path)
    *statuses, last = map(int, done.succeeded().out.split())
    assert last == 0
    assert len(statuses) >= 8
    assert set(statuses) == {-signal.SIGKILL}
    return [tmp_path / f"packages{number}" for number in range(len(statuses) + 1)]


def require_one_moment(made: Sequence[bool]) -> None:
    """Later kills leave the change made, from some moment on; earlier ones leave none of it."""
    assert made[0] is False
    assert made[-1] is True
    assert list(made) == sorted(made)


async def test_a_kill_leaves_nothing_or_all(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0")
    roots = await killed(tmp_path, wheel, "publish")
    require_one_moment(await asyncio.gather(*(_found(root, wheel) for root in roots)))


async def _found(root: Path, wheel: Path) -> bool:
    """Whether the file is published; its owner, what is beside it and in the journal fits."""
    async with publishing(root) as publisher:
        page = await publisher.page(FOO)
        there = page is not None and bool(page.files)
        beside = {path.suffix for path in (root / "foo").glob("*.whl.*")}
        assert beside == (set(BESIDE) if there else set())
        assert list(root.rglob("*.tmp")) == []
        assert len(publisher.journal.changes()) == there
        assert publisher.journal.owners(FOO) == (["ana"] if there else [])
        assert list((publisher.private_folder / "incoming").glob("*")) == []
        assert await publish(publisher, wheel, beside=BESIDE) is not there
        assert len(publisher.journal.changes()) == 1
        return there


async def test_a_kill_leaves_the_former_bytes_or_the_new_ones(tmp_path: Path) -> None:
    """Each with what is beside them."""
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0")
    roots = await killed(tmp_path, wheel, "replace")
    require_one_moment(await asyncio.gather(*(_replaced(root, wheel) for root in roots)))


async def _replaced(root: Path, wheel: Path) -> bool:
    """Whether the file has its new bytes."""
    async with publishing(root, overwrite=True) as publisher:
        path = root / "foo" / wheel.name
        is_new = path.read_bytes() == wheel.read_bytes()
        assert is_new or path.read_bytes() == other_bytes(wheel).read_bytes()
        assert sidecars_of(path) == (BESIDE if is_new else FORMER)
        actions = [change.action for change in publisher.journal.changes()]
        assert actions == ["publish", "replace"][: 1 + is_new]
        page = await publisher.page(FOO)
        assert page
        assert [file.sha256 for file in page.files] == [sha256_of(path)]
        return is_new
