"""Downloads a file as a process of its own: ``python -m tests.support.download_process URL ROOT``.

Prints a line once more bytes are there than stay in memory, and at the end what it read and what
it cost.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
from pathlib import Path

import aiohttp

from proxy.model import Blob
from proxy.storage.disk_store import DiskStore
from proxy.upstream.downloads import Downloads, Expected
from proxy.upstream.spool import IN_MEMORY
from tests.support.plain_fetch import fetch

READERS = 8
_printed: list[None] = []


async def _digest(blob: Blob) -> str:
    made, length = hashlib.sha256(), 0
    async for piece in blob.chunks():
        made.update(piece)
        length += len(piece)
        if not _printed and length > IN_MEMORY:
            _printed.append(None)
            print("arriving", flush=True)
    return made.hexdigest()


def _peak() -> int:
    """The most memory this process ever had, in bytes; its parent's does not count."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


async def _main(url: str, root: Path) -> None:
    async def done(key: str, size: int) -> None:
        pass

    async with aiohttp.ClientSession(auto_decompress=False) as session:
        downloads = Downloads(DiskStore(root / "blob"), root / "spool")
        before = _peak()
        expected = Expected("test", "big", {}, None, 2**40)
        download = downloads.start("big", expected, fetch(session, url), done)
        digests = await asyncio.gather(*(_digest(download) for _ in range(READERS)))
        await downloads.close(60)
        after = _peak()
    print(json.dumps({"digests": digests, "grown": after - before}), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2])))
