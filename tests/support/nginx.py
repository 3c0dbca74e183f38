"""nginx as a process of its own, in one folder, with a site of ours inside Debian's directives."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.sockets import connected

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

_MAIN = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    include {folder}/site.conf;
    {more}
}}
"""


def put_in(text: str, values: dict[str, str]) -> str:
    """A shipped file with other values for these of its texts."""
    for old, new in values.items():
        assert old in text, f"the file has no {old!r} any more"
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def nginx(folder: Path, site: str, ready: int, more: str = "") -> AsyncIterator[None]:
    """``ready``: the port at which it answers. ``more``: further servers. ``folder`` exists."""
    assert NGINX
    (folder / "site.conf").write_text(site)
    (folder / "main.conf").write_text(_MAIN.format(folder=folder, more=more))
    command = [NGINX, "-p", str(folder), "-c", str(folder / "main.conf"), "-e", "stderr"]
    log = folder / "nginx.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(*command, stderr=stderr)
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    async with connected(ready):
                        break
                except ConnectionError:
                    assert process.returncode is None, log.read_text()
                    await asyncio.sleep(0.02)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
