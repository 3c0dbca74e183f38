"""Servers with caches of their own that ask each other for files before they ask upstream."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.support import metrics_text
from tests.support.access import basic
from tests.support.distributions import make_wheel
from tests.support.installers import Place, Tools, newest_pip
from tests.support.relay import Relay
from tests.support.replicas import Wheels, get, opened
from tests.support.running import Running, running, waystation
from tests.support.sockets import free_port
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

LARGE = 3_000_000


class Network:
    """Servers of one upstream, each with a cache folder of its own."""

    def __init__(self, upstream: Upstream, folder: Path) -> None:
        self._upstream = upstream
        self._folder = folder
        self._number = 0

    @asynccontextmanager
    async def server(
        self, *peers: str, settings: str = "", port: int = 0, timeout: str = "60"
    ) -> AsyncIterator[Running]:
        """``timeout`` is long, as the machine may be busy."""
        self._number += 1
        folder = self._folder / f"server-{self._number}"
        folder.mkdir()
        config = folder / "waystation.toml"
        config.write_text(f'upstream = "{self._upstream.url}"\nspeculate = "off"\n{settings}')
        variables = {"WAYSTATION_PEERS": ",".join(peers), "WAYSTATION_PEER_TIMEOUT": timeout}
        given = ("--config", config, "--port", str(port))
        async with running(folder, *given, **variables) as server:
            yield server

    def config(self, number: int) -> Path:
        """The settings of the first, second … server."""
        return self._folder / f"server-{number}" / "waystation.toml"


@pytest.fixture
def network(upstream: Upstream, tmp_path: Path) -> Network:
    return Network(upstream, tmp_path)


async def fetch(server: Running, wheels: Wheels, name: str) -> str:
    """Fetch the wheel as a client does, until it is stored; returns its ``Cache-Status``."""
    async with opened(server, wheels.path(name)) as (answer, _):
        assert answer.status == 200
        assert await answer.read() == wheels.content[name]
        status = answer.headers["Cache-Status"]
    await until(lambda: is_stored(server, wheels, name))
    return status


async def is_stored(server: Running, wheels: Wheels, name: str) -> bool:
    return (await get(server, blob(wheels, name), method="HEAD")).status == 200


def blob(wheels: Wheels, name: str, suffix: str = "") -> str:
    return f"/-/blobs/{wheels.sha256(name)}/{name}/{name}-1.0-py3-none-any.whl{suffix}"


async def test_pip_installs_what_a_peer_has_without_upstream(
    network: Network, wheels: Wheels, tmp_path: Path
) -> None:
    for name, size in (("small", 1000), ("large", LARGE)):
        wheels.add(name, size)
    place = Place(tmp_path / "place", Tools(newest_pip(tmp_path)))
    async with network.server() as near, network.server(f"{near.address}/") as server:
        for name in ("small", "large"):
            await fetch(near, wheels, name)
        (await place.install("pip", server.index, "small", "large")).succeeded()
        assert place.installed() == {"small": "1.0", "large": "1.0"}
        assert wheels.asked == 2
        shown = await metrics_text.metrics(server.address)
        assert metrics_text.total(shown, "peer_files", result="hit") == 2
        size = sum(map(len, wheels.content.values()))
        assert metrics_text.total(shown, "peer_bytes") == size
        assert metrics_text.total(shown, "requests", kind="file", outcome="peer") == 2


async def test_where_a_file_came_from_is_in_the_head_and_later_answers_are_hits(
    network: Network, wheels: Wheels
) -> None:
    wheels.add("large", LARGE)
    wheels.add("other")
    async with network.server() as near, network.server(near.address) as server:
        assert await fetch(near, wheels, "large") == "waystation; fwd=miss"
        assert await fetch(server, wheels, "large") == "waystation; fwd=miss; detail=peer"
        assert await fetch(server, wheels, "large") == "waystation; hit"
        assert await fetch(server, wheels, "other") == "waystation; fwd=miss"
        assert wheels.asked == 2


async def test_a_peer_gives_what_is_stored_and_asks_no_other_server(
    network: Network, wheels: Wheels, upstream: Upstream
) -> None:
    wheels.add("known")
    wheels.add("stored")
    async with (
        network.server() as other,
        network.server(other.address, settings="page_ttl = 0.01\n") as server,
    ):
        await fetch(server, wheels, "stored")
        await get(server, "/simple/known/")
        before = len(upstream.requests), len(other.requests())
        assert (await get(server, blob(wheels, "stored"))).body == wheels.content["stored"]
        for path in (
            blob(wheels, "known"),
            blob(wheels, "stored", ".metadata"),
            f"/-/blobs/{'0' * 64}/known/known-2.0-py3-none-any.whl",
            f"/-/blobs/{'0' * 64}/unknown/unknown-1.0-py3-none-any.whl",
            blob(wheels, "stored").replace("/stored/", "/known/"),
            "/-/blobs/x/known/known-1.0-py3-none-any.whl",
        ):
            assert (await get(server, path)).status == 404, path
        assert (len(upstream.requests), len(other.requests())) == before
    assert upstream.count("/simple/known/") == 1  # also none in the background until the end


async def test_a_peer_gives_no_private_file(
    network: Network, wheels: Wheels, tmp_path: Path
) -> None:
    folder = tmp_path / "packages"
    content = make_wheel(folder, "acme", "1.0").read_bytes()
    wheels.content["acme"] = content
    async with network.server(settings=f'packages = "{folder}"\n') as server:
        assert (await get(server, wheels.path("acme"))).body == content
        assert (await get(server, blob(wheels, "acme"))).status == 404


async def test_servers_that_name_each_other_and_themselves_make_no_loop(
    network: Network, wheels: Wheels
) -> None:
    wheels.add("large", LARGE)
    wheels.add("small")
    ports = [free_port() for _ in range(3)]
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(network.server(*addresses, port=port)) for port in ports
        ]
        statuses = [await fetch(each, wheels, "large") for each in servers]
        assert [each.endswith("peer") for each in statuses] == [False, True, True]
        assert wheels.asked == 1
        await fetch(servers[2], wheels, "small")
        assert (await fetch(servers[0], wheels, "small")).endswith("peer")
        assert wheels.asked == 2


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_wrong_bytes_of_a_peer_are_never_a_complete_answer(
    network: Network, wheels: Wheels, size: int
) -> None:
    sha256 = wheels.add("demo", size)
    wrong = bytes(byte ^ 0xFF for byte in wheels.content["demo"])
    async with Upstream() as liar, network.server(liar.origin) as server:
        liar.fault("/-/blobs/", Fault(body=wrong, headers={"ETag": f'"sha256-{sha256}"'}))
        got = await get(server, wheels.path("demo"))
        if size == LARGE:  # some wrong bytes were sent before the digest was known
            assert got.broken and len(got.body) < len(wrong)
            got = await get(server, wheels.path("demo"))
        assert got.body == wheels.content["demo"]
        assert wheels.asked == 1
        asked = len(liar.requests)
        wheels.add("next")
        await fetch(server, wheels, "next")
        assert len(liar.requests) == asked == 2


async def test_a_page_of_some_other_server_is_no_file(network: Network, wheels: Wheels) -> None:
    wheels.add("demo")
    async with Upstream() as other, network.server(other.origin) as server:
        other.fault("/-/blobs/", Fault(body=bytes(len(wheels.content["demo"]))))
        await fetch(server, wheels, "demo")
        assert wheels.asked == other.count("/-/blobs/") == 1


async def test_a_peer_that_redirects_elsewhere_is_not_followed(
    network: Network, wheels: Wheels
) -> None:
    wheels.add("demo")
    async with Upstream() as peer, Upstream() as internal, network.server(peer.origin) as server:
        elsewhere = internal.origin.replace("127.0.0.1", "localhost")
        peer.fault("/-/blobs/", Fault(redirect=f"{elsewhere}/secret"))
        await fetch(server, wheels, "demo")
        assert wheels.asked == peer.count("/-/blobs/") == 1
        assert internal.requests == []


async def test_a_frozen_peer_costs_a_moment_once_and_a_dead_one_nothing(
    network: Network, wheels: Wheels
) -> None:
    for name in ("one", "two", "three"):
        wheels.add(name)
    async with network.server() as near, network.server(near.address, timeout="0.5") as server:
        near.send(signal.SIGSTOP)
        try:
            assert await fetch(server, wheels, "one") == "waystation; fwd=miss"
        finally:
            near.send(signal.SIGCONT)
        await fetch(near, wheels, "two")
        # The breaker is open now: the peer has the file, and is not asked.
        assert await fetch(server, wheels, "two") == "waystation; fwd=miss"
        near.send(signal.SIGKILL)
        await near.ended()
        assert await fetch(server, wheels, "three") == "waystation; fwd=miss"
        assert wheels.asked == 4


async def test_the_rest_comes_from_upstream_if_a_peer_breaks_off(
    network: Network, wheels: Wheels, upstream: Upstream
) -> None:
    wheels.add("large", LARGE)
    async with network.server() as near, Relay(near.port) as relay:
        await fetch(near, wheels, "large")
        async with network.server(f"http://127.0.0.1:{relay.port}") as server:
            relay.answer_limit = LARGE // 2
            assert (await fetch(server, wheels, "large")).endswith("peer")
            shown = await metrics_text.metrics(server.address)
            sent = int(metrics_text.total(shown, "peer_bytes"))
            assert metrics_text.total(shown, "peer_files", result="broken") == 1
        assert LARGE // 4 < sent < LARGE
        (_, rest) = upstream.of(".whl")
        assert rest.headers["Range"] == f"bytes={sent}-" and "If-Range" not in rest.headers


GUARDED = """
speculate = "off"

[indexes.main]
kind = "mirror"
url = "{0}"
policies = ["no"]

[indexes.open]
kind = "mirror"
url = "{0}"

[policies.no]
kind = "deny"
projects = ["denied"]

[access]
"""


async def test_the_rest_comes_from_upstream_if_a_peer_is_slow(
    network: Network, wheels: Wheels, upstream: Upstream
) -> None:
    sha256 = wheels.add("large", LARGE)
    etag = {"ETag": f'"sha256-{sha256}"'}
    async with Upstream() as slow, network.server(slow.origin, timeout="2") as server:
        trickle = Fault(body=wheels.content["large"], headers=etag, rate=(1000, 0.1))
        slow.fault("/-/blobs/", trickle)
        assert (await fetch(server, wheels, "large")).endswith("peer")
        assert wheels.asked == 1
        assert upstream.of(".whl")[0].headers["Range"].startswith("bytes=")


async def test_a_peer_gives_only_what_the_credentials_and_its_rules_let_read(
    network: Network, wheels: Wheels, tmp_path: Path
) -> None:
    for name in ("demo", "denied"):
        wheels.add(name)
    config = tmp_path / "guarded.toml"
    config.write_text(GUARDED.format(wheels.upstream.url))
    given = ("--config", config, "--cache-dir", tmp_path / "cache", "--name", "peer")
    scopes = ("--expires", "1h", "--scope", "read:main", "--scope", "read:open")
    made = await waystation("token", "create", *given, *scopes, cwd=tmp_path)
    secret = made.succeeded().out.strip()
    async with running(tmp_path, "--config", config) as near:
        for name in ("demo", "denied"):
            path = f"/open{wheels.path(name)}"
            got = await get(near, path, {"Authorization": basic(secret)})
            assert got.body == wheels.content[name]
        with_token = f"http://__token__:{secret}@127.0.0.1:{near.port}"
        async with network.server(with_token) as server, network.server(near.address) as bare:
            assert (await fetch(server, wheels, "demo")).endswith("peer")
            assert not (await fetch(server, wheels, "denied")).endswith("peer")
            assert not (await fetch(bare, wheels, "demo")).endswith("peer")
            warning = await bare.logged(lambda line: line["level"] == "warning")
            assert "it answered 401; a token that may read is needed" in warning["message"]
        assert wheels.asked == 4


async def test_check_tries_the_peers(network: Network, tmp_path: Path) -> None:
    async with network.server() as near, Upstream() as other:
        refused = f"http://user:secret@127.0.0.1:{free_port()}/"
        for peer, problem in (
            (near.address, "ok"),
            (other.url, "it answered 404; is that the address of a Waystation?"),
            (refused, "no connection (Connection refused)"),
        ):
            done = await waystation(
                "check", "--config", network.config(1), cwd=tmp_path, WAYSTATION_PEERS=peer
            )
            (line,) = (line for line in done.out.splitlines() if line.startswith("  peer "))
            assert line.endswith(f": {problem}") and "secret" not in done.out
            assert done.status == (problem != "ok")


async def test_an_address_of_a_peer_with_a_query_is_a_wrong_setting(tmp_path: Path) -> None:
    done = await waystation("check", cwd=tmp_path, WAYSTATION_PEERS="http://near.example.com/?a=b")
    assert done.status == 2
    assert "peers" in done.err and "holds more than scheme, host and path" in done.err
