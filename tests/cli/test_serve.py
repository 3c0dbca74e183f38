"""``waystation serve`` as a process: its output, start and stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from proxy import __version__
from tests.support.distributions import make_wheel
from tests.support.pki import Authority
from tests.support.running import OURS, Running, environment, running, waystation
from tests.support.sockets import connected, exchange
from tests.support.upstream import Fault, Upstream

NOWHERE = ("--upstream", "http://127.0.0.1:9/simple/")


async def body(url: str, tls: ssl.SSLContext | bool = True) -> str:
    async with aiohttp.ClientSession() as client, client.get(url, ssl=tls) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_the_start_prints_address_upstream_and_settings_for_installers(
    tmp_path: Path,
) -> None:
    (tmp_path / "packages").mkdir()
    async with running(tmp_path, *NOWHERE) as server:
        index = server.index
        assert server.port > 0
        assert server.out.lines == [
            f"waystation {__version__} listens on {server.address}/",
            "  resolves every project in this order:",
            "    main: the first of these that has the project",
            f"      private: directory {tmp_path / 'packages'}",
            "      upstream: mirror of http://127.0.0.1:9/simple/",
            f"  cache: {tmp_path / 'cache'} (up to 20.0GB of files)",
            f"  pip:   pip install --index-url {index} NAME",
            f"  uv:    uv pip install --index-url {index} NAME",
        ]
        home = await body(server.address)
        assert f"pip install --index-url {index} NAME" in home
        assert await body(f"{server.address}/readyz") == "ready\n"


PAGES = {f"proxy.face.{path.stem}" for path in Path(__file__).parents[2].glob("proxy/face/*.py")}
AT_START = ("__init__", "indexer", "past_figures", "recent", "routes", "surroundings")
"""Of the pages for people: what counts and listens, and the table of their addresses."""
SLOW_TO_IMPORT = {
    *("bs4", "difflib", "jinja2", "packaging.metadata", "packaging.requirements"),
    *("prometheus_client", "pypi_simple", "requests", "tarfile", "tomllib"),
    *("proxy.bundle", "proxy.export", "proxy.requirements", "proxy.simple.parse_html"),
    *("proxy.audit", "proxy.explain", "proxy.presentation", "proxy.warm", "proxy.web.explain"),
    *("proxy.facts", "proxy.publish", "proxy.scale", "proxy.webhooks"),
    *("proxy.access.tokens", "proxy.access.trusted_publishing", "proxy.advisories.collection"),
    *("proxy.composition.open_access", "proxy.composition.open_advisories"),
    *("proxy.composition.policy_rules", "proxy.config.access_table", "proxy.config.fact_tables"),
    *("proxy.config.keep_table", "proxy.config.operation_tables", "proxy.config.policy_tables"),
    *("proxy.policies.advisories", "proxy.policies.expressions", "proxy.policies.lists"),
    *("proxy.composition.open_releases", "proxy.composition.routed_rules"),
    *("proxy.indexes.page_files", "proxy.indexes.releases.listings"),
    *("proxy.upstream.json_services", "proxy.upstream.release_api", "proxy.upstream.upload_client"),
    *(PAGES - {f"proxy.face.{name}" for name in AT_START}),
}
"""Modules that a start without a settings file does not need."""


@pytest.mark.parametrize("options", [NOWHERE, ["--offline"]])
async def test_a_start_imports_nothing_that_is_slow_and_unneeded(
    tmp_path: Path, options: Sequence[str]
) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "proxy", "serve", "--port", "0", *options]
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment(tmp_path / "home", **OURS),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert (await process.stdout.readline()).startswith(b"waystation ")  # it listens
    process.terminate()
    _, log = await process.communicate()
    imported = {line.rpartition("|")[2].strip() for line in log.decode().splitlines()}
    assert "aiohttp.web" in imported
    assert imported & SLOW_TO_IMPORT == set()


async def test_the_first_connection_with_tls_loads_the_authorities_of_the_system(
    tmp_path: Path,
) -> None:
    """The start does not: a pipe without a writer blocks each process that opens it."""
    authority, pipe = Authority(tmp_path), tmp_path / "pipe.pem"
    os.mkfifo(pipe)
    without_fork = {"PYTHONUTF8": "1"}
    async with running(tmp_path, *NOWHERE, **without_fork, SSL_CERT_FILE=str(pipe)) as server:
        assert "alive" in await body(f"{server.address}/healthz")
    async with Upstream(tls=authority.server("127.0.0.1")) as upstream:
        upstream.add(make_wheel(tmp_path / "dist", "demo", "1.0"))
        options, trusted = ("--upstream", upstream.url), {"SSL_CERT_FILE": str(authority.bundle)}
        async with running(tmp_path, *options, **without_fork, **trusted) as server:
            assert "demo-1.0" in await body(f"{server.index}demo/")


async def test_files_that_changed_upstream_are_reported_at_every_start(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "demo", "1.0")
    async with Upstream() as upstream:
        upstream.add(wheel)
        options = ("--upstream", upstream.url, "--page-ttl", "0")
        async with running(tmp_path, *options) as server:
            await body(f"{server.index}demo/")
        upstream.add(make_wheel(tmp_path / "other", "demo", "1.0", padding=10))
        async with running(tmp_path, *options, WAYSTATION_STALE_WHILE_REVALIDATE="0") as server:
            await body(f"{server.index}demo/")
            await server.logged(lambda line: "lists other bytes for demo" in line["message"])
        for _ in range(2):
            async with running(tmp_path, *options) as server:
                await server.logged(lambda line: "(1 so far)" in line["message"])


async def test_the_default_cache_is_in_the_users_cache_folder(tmp_path: Path) -> None:
    async with running(tmp_path, "--offline", XDG_CACHE_HOME=str(tmp_path / "x")) as server:
        assert "offline" in "\n".join(server.out.lines)
    done = await waystation("cache", "stats", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "x"))
    assert str(tmp_path / "x" / "waystation") in done.succeeded().out


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]")]
)
async def test_the_printed_address_can_be_reached(tmp_path: Path, host: str, shown: str) -> None:
    async with running(tmp_path, *NOWHERE, "--host", host) as server:
        assert f"--index-url http://{shown}:{server.port}/simple/ NAME" in server.out.lines[-1]
        note = any("on other machines" in line for line in server.out.lines)
        assert note == (host == "0.0.0.0")  # other machines use another address
        assert "alive" in await body(f"http://{shown}:{server.port}/healthz")


async def test_the_public_address_is_printed(tmp_path: Path) -> None:
    public = "https://packages.example.com/pypi"
    async with running(tmp_path, *NOWHERE, WAYSTATION_PUBLIC_URL=public) as server:
        assert server.address.startswith("http://127.0.0.1:")
        assert server.out.lines[-1].endswith(f"--index-url {public}/simple/ NAME")
        home = await body(server.address)
        assert f"{public}/simple/" in home and server.address not in home


async def test_the_home_page_shows_the_address_of_the_request(tmp_path: Path) -> None:
    async with running(tmp_path, *NOWHERE, "--host", "0.0.0.0") as server:
        home = await body(f"http://127.0.0.2:{server.port}/")
        assert f"pip install --index-url http://127.0.0.2:{server.port}/simple/ NAME" in home


async def test_no_secret_is_printed_or_logged(tmp_path: Path) -> None:
    async with Upstream() as upstream:
        upstream.credentials = ("builder", "hunter2")
        upstream.add(make_wheel(tmp_path, "foo", "1.0"))
        url = upstream.url.replace("//", "//builder:hunter2@")
        async with running(tmp_path, "--upstream", url, WAYSTATION_LOG_LEVEL="debug") as server:
            page = await body(f"{server.index}foo/")
            upstream.fault("/simple/bar", Fault(status=500))
            sent = b"GET /simple/bar/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            page += (await exchange(server.port, sent)).decode()
            await server.logged(lambda line: line.get("status") == 502)
        assert "foo-1.0" in page
        output = "\n".join([page, *server.out.lines, *server.err.lines])
        assert "hunter2" not in output and "YnVpbGRlcjpodW50ZXIy" not in output


async def test_a_port_in_use_is_status_2_and_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = ("--port", str(port), "--cache-dir", "c", *NOWHERE)
        done = await waystation("serve", *given, cwd=tmp_path)
    assert done.status == 2
    reason = "Address already in use; choose one that is free and allowed"
    problem = f"waystation: port: cannot listen on 127.0.0.1:{port}: {reason}"
    assert done.err.splitlines()[-1] == problem
    assert "Traceback" not in done.err


async def test_a_wrong_certificate_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    settings = {"WAYSTATION_TLS_CERTIFICATE": "x.pem", "WAYSTATION_TLS_KEY": "x.pem"}
    done = await waystation("serve", "--cache-dir", "c", *NOWHERE, cwd=tmp_path, **settings)
    assert done.status == 2
    assert done.err.splitlines()[-1].startswith("waystation: tls_certificate: ")


async def test_https_is_served_by_setting(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    settings = {"WAYSTATION_TLS_CERTIFICATE": str(certificate), "WAYSTATION_TLS_KEY": str(key)}
    tls = ssl.create_default_context(cafile=authority.bundle)
    async with running(tmp_path, *NOWHERE, **settings) as server:
        assert server.index.startswith("https://127.0.0.1:")
        assert server.index in await body(f"{server.address}/", tls)


async def test_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    settings = {"WAYSTATION_MAX_CONNECTIONS": "1", "WAYSTATION_KEEPALIVE_TIMEOUT": "1"}
    sent = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with (
        running(tmp_path, *NOWHERE, **settings) as server,
        connected(server.port) as (reader, writer),
    ):
        writer.write(sent)
        await reader.readuntil(b"alive\n")
        assert (await exchange(server.port, sent)).startswith(b"HTTP/1.1 503 ")
        assert await reader.read() == b""  # idle for too long


@pytest.mark.parametrize("form", ["plain", "json"])
async def test_the_access_log_has_the_format_of_the_setting(tmp_path: Path, form: str) -> None:
    async with running(tmp_path, *NOWHERE, "--log-format", form) as server:
        await body(f"{server.address}/healthz")
        line = await server.err.until(lambda line: "healthz" in line)
    fragment = '"path":"/healthz","status":200' if form == "json" else " 200 GET /healthz "
    assert fragment in line


async def test_the_access_log_can_be_off(tmp_path: Path) -> None:
    async with running(tmp_path, *NOWHERE, WAYSTATION_ACCESS_LOG="false") as server:
        await body(f"{server.address}/healthz")
        server.send(signal.SIGTERM)
        await server.ended()
    assert not any("healthz" in line for line in server.err.lines)


async def _request(server: Running) -> bytes:
    """For the file of the project foo."""
    page = await body(f"{server.index}foo/")
    path = "/" + page.partition('href="../../')[2].partition("#")[0]
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@asynccontextmanager
async def _half_arrived(
    folder: Path, gate: asyncio.Event, **settings: str
) -> AsyncIterator[tuple[Running, asyncio.StreamReader, bytes]]:
    """A server in the middle of a download, the client's end of it, and all its bytes."""
    wheel = make_wheel(folder / "dist", "foo", "1.0", padding=2_000_000)
    async with Upstream() as upstream:
        upstream.add(wheel)
        upstream.fault("/files/", Fault(gate=gate, gate_at=1_000_000))
        async with running(folder, "--upstream", upstream.url, **settings) as server:
            sent = await _request(server)
            async with connected(server.port) as (reader, writer):
                writer.write(sent)
                await reader.readuntil(b"\r\n\r\n")
                yield server, reader, wheel.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_one_signal_lets_a_running_download_finish(
    tmp_path: Path, number: signal.Signals
) -> None:
    gate = asyncio.Event()
    async with _half_arrived(tmp_path, gate) as (server, reader, content):
        server.send(number)
        await server.logged(lambda line: line["message"].startswith("stopping"))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        gate.set()
        assert await reader.readexactly(len(content)) == content
        assert await reader.read() == b""
        assert await server.ended() == 0
    assert not any("Traceback" in line for line in server.err.lines)
    assert [each for each in (tmp_path / "cache" / "spool").iterdir() if each.is_file()] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    async with _half_arrived(tmp_path, asyncio.Event()) as (server, reader, content):
        server.send(number)
        await server.logged(lambda line: line["message"].startswith("stopping"))
        server.send(number)
        assert await server.ended() == -number
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(len(content))


async def test_running_downloads_end_after_the_grace_period(tmp_path: Path) -> None:
    grace = {"WAYSTATION_SHUTDOWN_GRACE": "0.5"}
    async with _half_arrived(tmp_path, asyncio.Event(), **grace) as (server, *_):
        server.send(signal.SIGTERM)
        assert await server.ended() == 0
    assert not any("Traceback" in line for line in server.err.lines)


async def test_a_draining_server_is_unready_and_ends_each_connection_with_an_answer(
    tmp_path: Path,
) -> None:
    make_wheel(tmp_path / "packages", "foo", "1.0")
    sent = b"GET /simple/foo/ HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"
    async with (
        running(tmp_path, *NOWHERE, WAYSTATION_DRAIN_DELAY="600") as server,
        connected(server.port) as (reader, writer),
    ):
        heads = []
        for _ in range(3):  # the later answers come from the response cache
            writer.write(sent)
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            length = int(heads[-1].lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
        server.send(signal.SIGTERM)
        await server.logged(lambda line: line["message"].startswith("stopping in 600 seconds"))
        writer.write(sent)
        rest = await reader.read()
        assert [b"\r\nConnection: close" in each for each in (*heads, rest)] == [False] * 3 + [True]
        assert rest.startswith(b"HTTP/1.1 200 ")
        ready = await exchange(server.port, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ready.startswith(b"HTTP/1.1 503 ")
        assert (await exchange(server.port, sent)).startswith(b"HTTP/1.1 200 ")
        server.send(signal.SIGTERM)
        assert await server.ended() == -signal.SIGTERM


async def test_a_drained_server_ends(tmp_path: Path) -> None:
    async with running(tmp_path, *NOWHERE, WAYSTATION_DRAIN_DELAY="0.05") as server:
        server.send(signal.SIGTERM)
        assert await server.ended() == 0
    assert not any("Traceback" in line for line in server.err.lines)
