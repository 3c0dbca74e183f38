"""Advisories that arrive while the server runs: malware in the cache, and fixes in a cooldown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.advisories import osv, write_archive
from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.running import Running, running, waystation
from tests.support.upstream import Upstream
from tests.support.waiting import until

New = Callable[[], Place]
LIMIT = 60.0
"""Seconds from a new archive to its effect; the settings of the tests look at it each second."""


def settings(folder: Path, upstream: Upstream, policies: str) -> Path:
    path = folder / "waystation.toml"
    path.write_text(
        f"""
        [indexes.main]
        kind = "mirror"
        url = "{upstream.url}"
        policies = ["rule"]

        [advisories]
        source = "osv.zip"
        every = "1s"

        [audit]

        [policies.rule]
        {policies}
        """
    )
    return path


class KeptConnection:
    """One connection that repeats requests byte for byte, as installers do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        head = f"GET {path} HTTP/1.1\r\nHost: example.com\r\nAccept: {ACCEPT}\r\n\r\n"
        self._writer.write(head.encode())
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = int(answer.lower().partition("content-length:")[2].split()[0])
        body = await self._reader.readexactly(length)
        return int(answer.split()[1]), body.decode(errors="replace")

    def close(self) -> None:
        self._writer.close()


ACCEPT = "application/vnd.pypi.simple.v1+html"


async def clients(server: Running, number: int) -> list[KeptConnection]:
    """Connections to all workers: the kernel distributes them."""
    return [
        KeptConnection(*await asyncio.open_connection("127.0.0.1", server.port))
        for _ in range(number)
    ]


def address_of(page: str, filename: str) -> str:
    """The path of a file that a page of the root index links to."""
    link = page.partition(filename)[0].rpartition('href="')[2]
    return f"{link.removeprefix('../..')}{filename}"


@pytest.mark.slow
@pytest.mark.parametrize("tool", [pytest.param("pip", marks=pytest.mark.slow), "uv"])
async def test_malware_that_is_cached_is_refused_within_a_minute_by_all_workers(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    for version in ("1.0", "1.1"):
        upstream.add(make_wheel(tmp_path / "dist", "aaa", version))
    write_archive(tmp_path / "osv.zip", osv("GHSA-1", "bbb"))
    config = settings(tmp_path, upstream, 'kind = "malware"')
    wheel = "aaa-1.1-py3-none-any.whl"
    async with running(tmp_path, "--config", config, "--workers", "2") as server:
        await until(lambda: server.listening() == 2)
        (await place().install(tool, server.index, "aaa==1.1")).succeeded()
        asking = await clients(server, 8)
        _, page = await asking[0].get("/simple/aaa/")
        file = address_of(page, wheel)
        for client in asking * 3:  # the second time from the response caches of both workers
            assert (await client.get(file))[0] == 200
            assert "data-yanked" not in (await client.get("/simple/aaa/"))[1]
        before = upstream.count()

        write_archive(
            tmp_path / "osv.zip", osv("GHSA-1", "bbb"), osv("MAL-2026-1", "aaa", versions=["1.1"])
        )

        async def is_refused() -> bool:
            files = [await client.get(file) for client in asking]
            siblings = [await client.get(f"{file}.metadata") for client in asking]
            pages = [await client.get("/simple/aaa/") for client in asking]
            return all(status == 403 for status, _ in [*files, *siblings]) and all(
                "MAL-2026-1" in body for _, body in pages
            )

        await until(is_refused, LIMIT)
        assert "MAL-2026-1" in (await asking[0].get(file))[1]
        assert upstream.count() == before
        other = place()
        (await other.install(tool, server.index, "aaa")).succeeded()
        assert other.installed() == {"aaa": "1.0"}
        pinned = await place().install(tool, server.index, "aaa==1.1")
        assert pinned.status != 0
        assert "Refused by rule rule: aaa 1.1 is malware: MAL-2026-1" in pinned.out + pinned.err
        asked = ("audit", "--project", "aaa", "--version", "==1.1", "--json")
        given = ("--config", config, "--cache-dir", tmp_path / "cache")
        rows = json.loads((await waystation(*asked, *given, cwd=tmp_path)).succeeded().out)
        received = [row for row in rows if row["result"] == "received"]
        assert {row["client"] for row in received} == {"127.0.0.1"}  # the clients that have it
        assert {row["rule"] for row in rows if row["result"] == "refused"} == {"rule"}
        assert "waystation_advisories_records 2.0" in (await asking[0].get("/metrics"))[1]
        ready = (await asking[0].get("/readyz?verbose"))[1]
        assert ready.startswith("ready\n")
        assert "\nwaystation_advisories_age" in ready

        withdrawn = osv("MAL-2026-1", "aaa", versions=["1.1"], withdrawn="2026-01-02T00:00:00Z")
        write_archive(tmp_path / "osv.zip", osv("GHSA-1", "bbb"), withdrawn)

        async def is_served() -> bool:
            return all([(await client.get(file))[0] == 200 for client in asking])

        await until(is_served, LIMIT)
        for client in asking:
            client.close()


@pytest.mark.parametrize("tool", [pytest.param("pip", marks=pytest.mark.slow), "uv"])
async def test_malware_that_upstream_has_deleted_is_refused_at_its_address(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    for version in ("1.0", "1.1"):
        upstream.add(make_wheel(tmp_path / "dist", "aaa", version))
    write_archive(tmp_path / "osv.zip", osv("GHSA-1", "bbb"))
    config = settings(tmp_path, upstream, 'kind = "malware"')
    wheel = "aaa-1.1-py3-none-any.whl"
    options = ("--config", config, "--page-ttl", "0")
    async with running(tmp_path, *options, WAYSTATION_STALE_WHILE_REVALIDATE="0") as server:
        (await place().install(tool, server.index, "aaa==1.1")).succeeded()
        (client,) = await clients(server, 1)
        file = address_of((await client.get("/simple/aaa/"))[1], wheel)
        upstream.remove(wheel)
        assert wheel not in (await client.get("/simple/aaa/"))[1]

        async def is_stored() -> bool:
            return (await client.get(file))[0] == 200

        await until(is_stored, LIMIT)  # lock files still have it
        write_archive(tmp_path / "osv.zip", osv("GHSA-1", "bbb"), osv("MAL-1", versions=["1.1"]))

        async def is_refused() -> bool:
            return (await client.get(file))[0] == 403

        await until(is_refused, LIMIT)
        client.close()


@pytest.mark.parametrize("tool", [pytest.param("pip", marks=pytest.mark.slow), "uv"])
async def test_a_security_fix_passes_the_cooldown_and_what_is_newer_does_not(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    now = datetime.now(UTC)
    for version, age in (("2.9.3", 30), ("2.9.4", 1), ("2.9.5", 1)):
        uploaded = (now - timedelta(days=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        upstream.add(make_wheel(tmp_path / "dist", "aaa", version), uploaded=uploaded)
    write_archive(tmp_path / "osv.zip", osv("GHSA-1", "bbb"))
    config = settings(tmp_path, upstream, 'kind = "cooldown"\nage = "7d"\nsecurity_fixes = true')
    async with running(tmp_path, "--config", config) as server:
        before = place()
        (await before.install(tool, server.index, "aaa")).succeeded()
        assert before.installed() == {"aaa": "2.9.3"}
        asked = upstream.count("/simple/aaa/")
        fixed = [{"introduced": "0"}, {"fixed": "2.9.4"}]
        write_archive(
            tmp_path / "osv.zip",
            osv("GHSA-1", "bbb"),
            osv("GHSA-2", "aaa", versions=[], events=fixed),
        )
        (client,) = await clients(server, 1)

        async def lists_the_fix() -> bool:
            return "aaa-2.9.4-" in (await client.get("/simple/aaa/"))[1]

        await until(lists_the_fix, LIMIT)
        assert "aaa-2.9.5-" not in (await client.get("/simple/aaa/"))[1]
        assert upstream.count("/simple/aaa/") == asked
        _, explained = await client.get("/main/+explain/aaa")
        assert "fixes GHSA-2 of 2.9.3" in explained
        client.close()
        after = place()
        (await after.install(tool, server.index, "aaa")).succeeded()
        assert after.installed() == {"aaa": "2.9.4"}
        assert (await place().install(tool, server.index, "aaa==2.9.5")).status != 0
