"""``serve`` and ``check`` report an upstream that is no index; ``check`` also tries the cache."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Literal

import aiohttp
import pytest
from aiohttp import web

from tests.support.distributions import make_wheel
from tests.support.pki import Authority
from tests.support.running import Done, Running, running, waystation
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

pytestmark = pytest.mark.slow

JSON = "application/vnd.pypi.simple.v1+json"


def _nothing_there() -> str:
    """An address on which no server listens any more."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/simple/"


async def _warning(server: Running) -> str:
    found = await server.logged(
        lambda line: line["level"] == "warning" and "upstream" in line["message"]
    )
    return str(found["message"])


async def test_an_upstream_that_cannot_be_reached_is_reported_with_address_and_reason(
    tmp_path: Path,
) -> None:
    url = _nothing_there()
    async with running(tmp_path, "--upstream", url) as server:
        warning = await _warning(server)
        assert warning == f"upstream {url}: no connection (Connection refused)"


async def test_an_unknown_host_name_is_reported(tmp_path: Path) -> None:
    url = "http://nowhere.invalid/simple/"
    async with running(tmp_path, "--upstream", url) as server:
        warning = await _warning(server)
        assert warning.startswith(f"upstream {url}: its name cannot be looked up (")


async def test_a_certificate_that_is_not_trusted_is_reported_with_the_systems_reason(
    tmp_path: Path,
) -> None:
    certificate, key = Authority(tmp_path).issue("127.0.0.1")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with (
        Upstream(tls=tls) as upstream,
        running(tmp_path, "--upstream", upstream.url) as server,
    ):
        warning = await _warning(server)
        assert "certificate is not trusted (unable to get local issuer certificate)" in warning


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(status=500), "it answered 500 Internal Server Error"),
        (Fault(status=401), "it answered 401 Unauthorized; are the credentials right?"),
        (Fault(status=403), "it answered 403 Forbidden; are the credentials right?"),
    ],
)
async def test_a_refusing_upstream_is_reported_without_the_secret(
    tmp_path: Path, fault: Fault, reason: str
) -> None:
    async with Upstream() as upstream:
        upstream.fault("/simple/", fault)
        url = upstream.url.replace("//", "//me:hunter2@")
        async with running(tmp_path, "--upstream", url) as server:
            shown = upstream.url.replace("//", "//***@")
            assert await _warning(server) == f"upstream {shown}: {reason}"
        assert "hunter2" not in "\n".join(server.err.lines)


@pytest.mark.parametrize("form", ["both", "json", "html"])
async def test_an_address_without_simple_is_reported_with_the_right_one(
    tmp_path: Path, form: Literal["both", "json", "html"]
) -> None:
    async with Upstream() as upstream:
        upstream.form = form
        async with running(tmp_path, "--upstream", upstream.origin) as server:
            warning = await _warning(server)
            assert warning == (
                f"upstream {upstream.origin}/: there is an index at {upstream.url};"
                " is that the address?"
            )


@pytest.mark.parametrize(("kind", "word"), [("text/html", "perhaps an"), (JSON, "an")])
async def test_a_site_at_the_address_with_an_index_below_it_is_reported(
    tmp_path: Path, kind: str, word: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="", content_type=kind if "simple" in request.path else "text/html")

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/pypi"
    try:
        async with running(tmp_path, "--upstream", url) as server:
            assert f": there is {word} index at {url}/simple/;" in await _warning(server)
    finally:
        await runner.cleanup()


async def test_a_working_upstream_gets_one_request_and_no_message(
    tmp_path: Path,
) -> None:
    async with Upstream() as upstream:
        async with running(tmp_path, "--upstream", upstream.url, "--workers", "2") as server:
            await until(lambda: len(upstream.probes) == 1)
            async with aiohttp.ClientSession() as client:
                await client.get(f"{server.index}nothing/")
        assert [(each.method, each.path) for each in upstream.probes] == [("HEAD", "/simple/")]
        assert [each.path for each in upstream.requests] == ["/simple/nothing/"]
        assert not any('"level":"warning"' in line for line in server.err.lines)


async def test_an_offline_server_sends_no_request(tmp_path: Path) -> None:
    async with Upstream() as upstream:
        given = ("--upstream", upstream.url, "--offline")
        async with running(tmp_path, *given) as server, aiohttp.ClientSession() as client:
            await client.get(f"{server.index}nothing/")
        assert "upstreams: not tried (offline)" in (await _check(tmp_path, *given)).out
        assert not upstream.probes and not upstream.requests


async def test_an_upstream_that_does_not_answer_delays_neither_start_nor_end(
    tmp_path: Path,
) -> None:
    async with Upstream() as upstream:
        upstream.fault("/simple/", Fault(hang=True))
        async with running(tmp_path, "--upstream", upstream.url) as server:
            await until(lambda: len(upstream.probes) == 1)
            async with (
                aiohttp.ClientSession() as client,
                client.get(f"{server.address}/readyz") as answer,
            ):
                assert answer.status == 200
        assert not any("Traceback" in line for line in server.err.lines)


async def test_an_error_line_names_project_address_and_reason(tmp_path: Path) -> None:
    url = _nothing_there()
    async with running(tmp_path, "--upstream", url) as server, aiohttp.ClientSession() as client:
        async with client.get(f"{server.index}demo/") as answer:
            body = await answer.text()
        assert (answer.status, body) == (502, "upstream: no connection (Connection refused)\n")
        line = await server.logged(lambda line: line.get("project") == "demo")
    assert line["message"] == "upstream: no connection (Connection refused)"
    assert line["address"] == f"{url}demo/"


async def _check(folder: Path, *arguments: str) -> Done:
    return await waystation("check", "--port", "0", "--cache-dir", "c", *arguments, cwd=folder)


async def test_check_prints_each_attempt_and_its_result(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    make_wheel(tmp_path / "packages", "demo", "1.0")
    async with Upstream() as upstream:
        done = (await _check(tmp_path, "--upstream", upstream.url)).succeeded()
        assert done.out.partition("\nTried:\n")[2].splitlines() == [
            f"  cache {tmp_path / 'c'}: ok",
            f"  directory {tmp_path / 'packages'} (1 entry): ok",
            "  port 127.0.0.1:0: ok",
            f"  upstream {upstream.url}: ok",
        ]
        assert not (tmp_path / "c").exists()
        before = len(upstream.probes)
        done = (await _check(tmp_path, "--upstream", upstream.url, "--no-network")).succeeded()
        assert done.out.splitlines()[-1] == "  port and upstreams: not tried (--no-network)"
        assert len(upstream.probes) == before


async def test_check_ends_with_1_for_what_failed_and_names_it(tmp_path: Path) -> None:
    url = _nothing_there()
    (tmp_path / "c").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await _check(tmp_path, "--upstream", url, "--port", str(port))
    assert done.status == 1 and "Traceback" not in done.err
    assert f"  cache {tmp_path / 'c'}: {tmp_path / 'c'} is not a folder" in done.out
    assert f"  port 127.0.0.1:{port}: Address already in use" in done.out
    assert f"  upstream {url}: no connection (Connection refused)" in done.out


async def test_a_redis_that_does_not_answer_is_reported_without_its_password(
    tmp_path: Path,
) -> None:
    nowhere = _nothing_there()
    address = nowhere.removeprefix("http://").removesuffix("/simple/")
    storage = f'{{"records": "redis://proxy:zugang@{address}/0"}}'
    done = await waystation(
        "check", "--upstream", nowhere, cwd=tmp_path, WAYSTATION_STORAGE=storage
    )
    assert f"records redis://***@{address}/0: " in done.out
    assert f"records redis://***@{address}/0: ok" not in done.out
    assert "zugang" not in done.out + done.err


async def test_a_redis_that_answers_is_reported(tmp_path: Path, redis_url: str) -> None:
    storage = f'{{"records": "{redis_url}"}}'
    done = await waystation(
        "check", "--upstream", _nothing_there(), cwd=tmp_path, WAYSTATION_STORAGE=storage
    )
    assert f"records {redis_url}: ok" in done.out
