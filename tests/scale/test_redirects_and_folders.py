"""Signed addresses, folders that many machines have mounted, and commands over shared files."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from proxy.scale.object_store import path_of
from tests.support.replicas import SharedStore, Wheels, get
from tests.support.running import running, waystation
from tests.support.upstream import Upstream
from tests.support.waiting import until

pytestmark = pytest.mark.slow

MB = 10**6
ACCESS = """
[access]
anonymous = ["read:main"]
[access.proxy]
from = ["127.0.0.1"]
user_header = "X-Forwarded-User"
[access.rights]
"*" = ["read:*"]
"""


async def test_large_files_are_answered_with_signed_addresses(
    shared: SharedStore, upstream: Upstream, wheels: Wheels
) -> None:
    wheels.add("small")
    sha256 = wheels.add("large", 3 * MB)
    async with shared.replica(upstream, redirect=True) as server:
        for name in ("small", "large"):
            assert (await get(server, wheels.path(name))).body == wheels.content[name]
        await until(lambda: shared.has(sha256))
        answer = await get(server, wheels.path("large"))
        assert (answer.status, answer.body) == (302, b"")
        part = {"Range": "bytes=10-19"}
        async with aiohttp.ClientSession() as client:
            async with client.get(answer.location) as found:
                assert await found.read() == wheels.content["large"]
            async with client.get(answer.location, headers=part) as found:
                assert await found.read() == wheels.content["large"][10:20]
        assert (await get(server, wheels.path("large"), method="HEAD")).status == 200
        assert (await get(server, wheels.path("small"))).status == 200


async def test_clients_with_credentials_are_not_redirected(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    sha256 = wheels.add("large", 3 * MB)
    config = tmp_path / "waystation.toml"
    config.write_text(f'[indexes.main]\nkind = "mirror"\nurl = "{upstream.url}"\n{ACCESS}')
    variables = shared.variables(redirect=True)
    async with running(tmp_path, "--config", config, **variables) as server:
        await get(server, wheels.path("large"))
        await until(lambda: shared.has(sha256))
        known = await get(server, wheels.path("large"), {"X-Forwarded-User": "alice"})
        assert (known.status, known.body) == (200, wheels.content["large"])
        assert (await get(server, wheels.path("large"))).status == 302


async def test_files_in_a_folder_of_many_machines(
    upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    sha256 = wheels.add("large", 3 * MB)
    folder = tmp_path / "mounted"
    folder.mkdir()
    table = json.dumps({"files": f"file:{folder}"})
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        given = ("--upstream", upstream.url)
        async with running(tmp_path / name, *given, WAYSTATION_STORAGE=table) as server:
            assert (await get(server, wheels.path("large"))).body == wheels.content["large"]
            await until((folder / "v1" / "blob" / sha256[:2] / sha256).is_file)
    assert wheels.asked == 1
    assert not (tmp_path / "one" / "cache" / "blob").exists()


async def test_a_folder_that_is_not_mounted_is_an_error(tmp_path: Path) -> None:
    table = json.dumps({"files": f"file:{tmp_path}/mounted"})
    for command in ("serve", "check"):
        done = await waystation(command, cwd=tmp_path, WAYSTATION_STORAGE=table)
        assert done.status == 2
        assert f"storage.files: there is no folder {tmp_path}/mounted; mount it" in done.err
    assert not (tmp_path / "mounted").exists()


async def test_check_tries_the_store_and_says_what_redirects_cost(
    shared: SharedStore, tmp_path: Path
) -> None:
    given = ("check", "--cache-dir", tmp_path / "cache", "--port", "0")
    offline = {"WAYSTATION_OFFLINE": "true"}
    variables = shared.variables(redirect=True) | offline
    done = (await waystation(*given, cwd=tmp_path, **variables)).succeeded()
    assert f"files {shared.url}: ok" in done.out
    assert "each address works for 5 minutes" in done.out
    assert "AWS_SECRET" not in done.out + done.err
    assert variables["AWS_SECRET_ACCESS_KEY"] not in done.out + done.err

    wrong = variables | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    failed = await waystation(*given, cwd=tmp_path, **wrong)
    assert failed.status == 1
    (line,) = (line for line in failed.out.splitlines() if f"files {shared.url}" in line)
    assert "403" in line


async def test_what_the_environment_lacks_ends_a_start(tmp_path: Path) -> None:
    done = await waystation(
        "serve", cwd=tmp_path, WAYSTATION_STORAGE='{"files": "az://container/x"}'
    )
    assert done.status == 2
    assert "storage.files: az://container/x cannot be opened: " in done.err


async def test_commands_over_shared_files(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    foo, bar = wheels.add("foo", 300_000), wheels.add("bar", 300_000)
    more = {**shared.variables(), "WAYSTATION_UPSTREAM": upstream.url}
    more["WAYSTATION_CACHE_DIR"] = str(tmp_path / "cache")

    async def run(*arguments: str, status: int = 0) -> str:
        done = await waystation(*arguments, cwd=tmp_path, **more)
        assert done.status == status, done.err
        return done.out

    await run("warm", "foo", "bar")
    assert await shared.blobs() == 4
    assert "files     4" in await run("cache", "stats")
    assert foo in await run("cache", "list", "foo")
    assert "4 files sound" in await run("cache", "verify")
    await run("ready", "foo", "bar")
    await run("export", "tree", "foo")
    (exported,) = (tmp_path / "tree").rglob("foo-1.0*.whl")
    assert exported.read_bytes() == wheels.content["foo"]
    await run("bundle", "create", "one.tar", "foo")
    assert wheels.asked == 2

    await shared.client.put_async(path_of(bar), b"other bytes")
    assert "1 damaged" in await run("cache", "verify", status=1)
    assert not await shared.has(bar)
    await run("cache", "purge", "foo")
    assert not await shared.has(foo)
    await run("bundle", "import", "one.tar")
    assert await shared.has(foo)
    await run("cache", "purge", "--all")
    assert await shared.blobs() == 0


async def test_a_store_that_is_away_ends_commands_with_a_message(
    frail: SharedStore, tmp_path: Path
) -> None:
    frail.server.kill()
    for arguments in (("cache", "stats"), ("cache", "verify"), ("cache", "evict")):
        done = await waystation(*arguments, cwd=tmp_path, **frail.variables())
        assert done.status == 1
        assert "does not answer" in done.err
        assert "Traceback" not in done.err
