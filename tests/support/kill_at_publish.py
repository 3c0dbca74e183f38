"""Uploads that are killed before the n-th thing that they do to the disk, for each n.

``python -m tests.support.kill_at_publish ROOT WHEEL`` prints the statuses, the last one is 0. The
upload number n goes to the directory ROOT followed by n.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.support.publishing import publish, publishing

WRITES = ("os.link", "os.rename", "os.remove", "os.mkdir", "os.chmod", "sqlite3.connect")
BESIDE = {".asc": b"signed", ".provenance": b"{}"}


async def main(root: Path, wheel: Path, left: int) -> None:
    async with publishing(root) as publisher:

        def hook(event: str, args: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event in WRITES or (event == "open" and _writes(args))
            if writes and left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= writes

        sys.addaudithook(hook)
        await publish(publisher, wheel, beside=BESIDE)


def _writes(args: tuple[Any, ...]) -> bool:
    flags = args[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def forked(root: str, wheel: Path, number: int) -> int:
    pid = os.fork()
    if pid == 0:
        asyncio.run(main(Path(f"{root}{number}"), wheel, number))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    _, root, wheel = sys.argv
    statuses = [-1]
    while statuses[-1] and len(statuses) < 100:
        statuses.append(forked(root, Path(wheel), len(statuses) - 1))
    print(*statuses[1:])
