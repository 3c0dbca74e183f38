"""Changes that are killed before the n-th thing that they do to the disk, for each n.

``python -m tests.support.kill_at_publish ROOT WHEEL WHAT`` prints the statuses, the last one is 0.
The change number n is made in the directory ROOT followed by n. WHAT is ``publish``: an upload of
the wheel; ``replace``: that, where other bytes have its name; or ``roll-back``: to a snapshot that
has the wheel, whose version is 1.0.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from proxy.model import ProjectName
from proxy.publish import Publisher, Selection, Snapshots, Upkeep
from tests.support.distributions import make_wheel
from tests.support.publishing import ADMIN, publish, publishing

WRITES = ("os.link", "os.rename", "os.remove", "os.mkdir", "os.chmod", "sqlite3.connect")
BESIDE = {".asc": b"signed", ".provenance": b"{}"}
FORMER = {".asc": b"former", ".yanked": b"why"}
"""Beside the bytes that are replaced."""


async def main(root: Path, wheel: Path, left: int, what: str) -> None:
    async with publishing(root, overwrite=what == "replace") as publisher:
        if what == "replace":
            await publish(publisher, other_bytes(wheel), beside=FORMER)
        elif what == "roll-back":
            await _prepare(publisher, wheel)

        def hook(event: str, args: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event in WRITES or (event == "open" and _writes(args))
            if writes and left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= writes

        sys.addaudithook(hook)
        if what == "roll-back":
            await Snapshots(publisher).restore("before", ADMIN)
        else:
            await publish(publisher, wheel, beside=BESIDE)


async def _prepare(publisher: Publisher, wheel: Path) -> None:
    foo = ProjectName("foo")
    await publish(publisher, wheel, beside=BESIDE)
    await Snapshots(publisher).create("before", ADMIN)
    await Upkeep(publisher).yank(Selection(foo), "", ADMIN)
    await Upkeep(publisher).delete(Selection(foo), ADMIN)
    await publish(publisher, make_wheel(wheel.parent, "foo", "2.0"), ADMIN)


def other_bytes(wheel: Path) -> Path:
    """A wheel of the same name with other bytes."""
    return make_wheel(wheel.parent / "former", "foo", "1.0", requires=["bar"])


def _writes(args: tuple[Any, ...]) -> bool:
    flags = args[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def forked(root: str, wheel: Path, number: int, what: str) -> int:
    pid = os.fork()
    if pid == 0:
        asyncio.run(main(Path(f"{root}{number}"), wheel, number, what))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    _, root, wheel, what = sys.argv
    statuses = [-1]
    while statuses[-1] and len(statuses) < 100:
        statuses.append(forked(root, Path(wheel), len(statuses) - 1, what))
    print(*statuses[1:])
