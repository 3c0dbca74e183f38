"""Whatever the rights and the requests: no principal gets what another one may see.

The same requests are made on the fast path, with other bytes past it, and through a caching nginx
in front that all principals share.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from proxy.access import Rights, Scope, parse_grant
from proxy.model import ProjectName
from tests.support.access import TokenRig, token_access
from tests.support.fake_index import FakeIndex
from tests.support.site import Site, serving
from tests.support.sockets import free_port
from tests.support.waiting import until

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr crit;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=shared:1m;
    server {{
        listen 127.0.0.1:{port};
        proxy_cache shared;
        proxy_cache_valid any 1h;
        location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; }}
    }}
}}
"""
PROJECTS = ("aaa", "acme-one", "acme-two", "zzz")
INDEXES = {"main": "", "team": "/team"}
GRANTS = (
    *("read:main", "read:team", "read:*:acme-*", "read:main:aaa", "read:team:z*", "metrics"),
    *("read:main:acme-one", "upload:main", "read:*:?aa"),
)


@asynccontextmanager
async def shared_cache(folder: Path, behind: int) -> AsyncIterator[int]:
    """The port of an nginx that caches for everybody."""
    folder.mkdir()
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, behind=behind))
    process = subprocess.Popen([str(NGINX), "-p", str(folder), "-c", str(config)])
    try:
        await until(lambda: _listens(port))
        yield port
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def laid_out(name: str) -> FakeIndex:
    return FakeIndex(name, {each: [f"{each}-1.0.tar.gz"] for each in PROJECTS})


def expected(rights: Rights | None, index: str, project: str) -> int:
    if rights is None:
        return 401
    if not rights.allows(Scope.READ, index):
        return 403
    allowed = rights.allows(Scope.READ, index, ProjectName(project))
    return 200 if allowed and project in PROJECTS else 404


class Crowd:
    """Principals with random rights, and one without credentials."""

    def __init__(self, rig: TokenRig, chance: random.Random) -> None:
        self.members: list[tuple[dict[str, str], Rights | None]] = [({}, None)]
        for number in range(6):
            scopes = chance.sample(GRANTS, chance.randrange(1, 4))
            rights = Rights(map(parse_grant, scopes))
            self.members.append((rig.headers(f"p{number}", *scopes), rights))


@pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine")
@pytest.mark.parametrize("seed", range(3))
async def test_no_principal_gets_an_answer_of_another(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    hits: list[object] = []
    async with token_access(tmp_path) as rig:
        crowd = Crowd(rig, chance)
        async with (
            serving(
                laid_out("main"),
                fast=True,
                mounted={"/team": laid_out("team")},
                access=rig.access,
                on_hit=lambda response, *rest: hits.append(response),
            ) as site,
            shared_cache(tmp_path / "nginx", site.port) as front,
            aiohttp.ClientSession(f"http://127.0.0.1:{front}") as through_nginx,
        ):
            for number in range(250):
                await compare(site, through_nginx, crowd, chance, number)
    assert len(hits) > 60


async def compare(
    site: Site,
    through_nginx: aiohttp.ClientSession,
    crowd: Crowd,
    chance: random.Random,
    number: int,
) -> None:
    headers, rights = chance.choice(crowd.members)
    index = chance.choice(list(INDEXES))
    project = chance.choice([*PROJECTS, "absent"])
    tail = chance.choice([f"/simple/{project}/", f"/files/{project}/-/{project}-1.0.tar.gz"])
    path = INDEXES[index] + tail
    status = expected(rights, index, project)
    fast = await site.get(path, headers=headers)
    slow = await site.get(path, headers={**headers, "X-Number": str(number)})
    assert (fast.status, slow.status) == (status, status), (path, rights and rights.grants)
    assert fast.body == slow.body
    async with through_nginx.get(path, headers=headers) as response:
        assert (response.status, await response.read()) == (status, fast.body)
    assert "public" not in fast.headers["Cache-Control"]
