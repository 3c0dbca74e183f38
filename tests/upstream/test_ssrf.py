"""Pitfall 69: nothing that an upstream says makes us connect to where it must not lead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.errors import UpstreamError
from proxy.model import ProjectName
from proxy.upstream.address_rules import Addresses, AddressRefused
from proxy.upstream.connections import CheckedResolver
from proxy.upstream.remote import Remote
from tests.support.network import connections
from tests.support.remotes import Names, open_remote
from tests.support.upstream import Fault, Upstream

NAMES: dict[str, str | list[str]] = {
    "localhost": "127.0.0.1",
    "localhost.": "127.0.0.1",
    "inside.example": "10.0.0.1",
    "metadata.example": "169.254.169.254",
    "here.example": "127.0.0.1",
    "six.example": "::1",
    "mapped.example": "::ffff:127.0.0.1",
    "wrapped.example": "64:ff9b::7f00:1",
    "both.example": ["93.184.215.14", "127.0.0.1"],
}
HOSTILE = [
    "http://169.254.169.254/latest/meta-data/x-1.0.tar.gz",
    "https://169.254.169.254/x-1.0.tar.gz",
    "http://localhost:{port}/x-1.0.tar.gz",
    "https://localhost:{port}/x-1.0.tar.gz",
    "http://0x7f000001:{port}/x-1.0.tar.gz",
    "https://0x7f000001/x-1.0.tar.gz",
    "http://2130706433:{port}/x-1.0.tar.gz",
    "https://2130706433/x-1.0.tar.gz",
    "https://0177.0.0.1/x-1.0.tar.gz",
    "https://127.1/x-1.0.tar.gz",
    "https://[::1]/x-1.0.tar.gz",
    "http://[::ffff:127.0.0.1]:{port}/x-1.0.tar.gz",
    "https://[::ffff:127.0.0.1]/x-1.0.tar.gz",
    "https://[::ffff:7f00:1]/x-1.0.tar.gz",
    "https://[64:ff9b::7f00:1]/x-1.0.tar.gz",
    "https://127.0.0.1@here.example/x-1.0.tar.gz",
    "https://10.0.0.1/x-1.0.tar.gz",
    "https://0.0.0.0/x-1.0.tar.gz",
    "http://intern:6379/x-1.0.tar.gz",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/x",
    *(f"https://{name}/x-1.0.tar.gz" for name in NAMES),
    "https://[fe80::1%25eth0]/x-1.0.tar.gz",
]
REFUSED = "leads to an address that "

Ask = Callable[[Remote, str], Awaitable[object]]


async def opened(remote: Remote, url: str) -> object:
    async with remote.open(url) as body:
        return body


async def paged(remote: Remote, _: str) -> object:
    return await remote.page(ProjectName("demo"))


ASKED: dict[str, Ask] = {
    "size": lambda remote, url: remote.size(url),
    "read": lambda remote, url: remote.read(url, 1000),
    "open": opened,
}


class Victim:
    """A server that must receive no connection."""

    port = 0
    visitors = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Victim]:
        async def visited(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.visitors += 1
            writer.close()

        server = await asyncio.start_server(visited, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self


@pytest.fixture
async def victim() -> AsyncIterator[Victim]:
    async with Victim().listening() as listening:
        yield listening


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_link_of_a_page(upstream: Upstream, victim: Victim, hostile: str) -> None:
    url = hostile.replace("{port}", str(victim.port))
    async with open_remote(upstream.url, resolver=Names(NAMES)) as remote:
        for ask in ASKED.values():
            with connections() as made, pytest.raises(UpstreamError, match=REFUSED):
                await ask(remote, url)
            assert made == []
    assert victim.visitors == 0


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_redirect(upstream: Upstream, victim: Victim, hostile: str) -> None:
    upstream.fault("", Fault(redirect=hostile.replace("{port}", str(victim.port))))
    async with open_remote(upstream.url, resolver=Names(NAMES)) as remote:
        for ask in (*ASKED.values(), paged):
            with connections() as made, pytest.raises(UpstreamError, match=REFUSED):
                await ask(remote, upstream.files_url + "x")
            assert set(made) <= {("127.0.0.1", upstream.port)}
    assert upstream.count() == 4
    assert victim.visitors == 0


async def test_the_same_addresses_are_reached_where_settings_name_them(
    upstream: Upstream, wheel: Path
) -> None:
    """The control: what refuses above is the rule, not the network."""
    hosts = [f"here.example:{upstream.port}", f"localhost:{upstream.port}"]
    names = Names(NAMES)
    path = upstream.url_of(wheel.name).removeprefix(f"http://127.0.0.1:{upstream.port}")
    async with open_remote(upstream.url, file_hosts=hosts, resolver=names) as remote:
        for host in hosts:
            assert await remote.size(f"http://{host}{path}") == wheel.stat().st_size


async def test_name_is_refused_by_its_addresses_and_once_is_enough(upstream: Upstream) -> None:
    names = Names(NAMES)
    async with open_remote(upstream.url, resolver=names) as remote:
        with pytest.raises(UpstreamError) as caught:
            await remote.size("https://inside.example/x")
    assert str(caught.value) == "upstream pypi: leads to an address that is not public"
    assert names.asked == ["inside.example"]


async def test_public_name_would_be_connected_to(upstream: Upstream) -> None:
    """The other control: loopback is all that a test may reach, and this is beyond it."""
    names = Names({"files.example": "93.184.215.14"})
    async with open_remote(upstream.url, resolver=names) as remote:
        with pytest.raises(UpstreamError, match="no connection"):
            await remote.size("https://files.example/x")
    assert names.asked == ["files.example"]


@pytest.mark.parametrize("host", [f"{'a' * 70}.example", "a..example", f"{'a.' * 150}example"])
async def test_host_that_no_name_service_can_be_asked_for(upstream: Upstream, host: str) -> None:
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match=r"no host name|cannot be looked up|too long"):
            await remote.size(f"https://{host}/x")


async def test_page_does_not_come_from_a_host_that_no_setting_names(
    upstream: Upstream, wheel: Path
) -> None:
    """An upstream that sends unknown names on to a public index would undo the order of indexes."""
    names = Names({"elsewhere.example": "127.0.0.1", "named.example": "127.0.0.1"})
    async with Upstream() as other:
        other.add(wheel)
        for host in ("elsewhere.example", "named.example"):
            upstream.fault(
                f"/{host[:5]}/", Fault(redirect=f"http://{host}:{other.port}/simple/demo/")
            )
        hosts = [f"named.example:{other.port}"]
        async with open_remote(upstream.url, file_hosts=hosts, resolver=names) as remote:
            with pytest.raises(UpstreamError, match="file_hosts"):
                await remote.page(ProjectName("elsew"))
            assert other.count() == 0
            await remote.page(ProjectName("named"))
    assert other.count() == 1


async def test_page_does_not_come_from_a_public_host_either(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(redirect="https://public.example/simple/demo/"))
    names = Names({"public.example": "93.184.215.14"})
    async with open_remote(upstream.url, resolver=names) as remote:
        with pytest.raises(UpstreamError, match="file_hosts"):
            await remote.page(ProjectName("demo"))
    assert names.asked == []


async def test_files_may_be_where_the_index_is_in_a_network_with_one_gateway() -> None:
    """All names lead to the gateway there, at an address that is not public."""
    gateway, other = "10.0.0.1", "10.0.0.2"
    names = Names({"index.example": gateway, "files.example": gateway, "db.example": other})
    addresses = Addresses("https://index.example/simple/")
    resolver = CheckedResolver(addresses, names)
    assert [each["host"] for each in await resolver.resolve("files.example", 443)] == [gateway]
    with pytest.raises(AddressRefused):
        await resolver.resolve("db.example", 443)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254"])
async def test_an_index_on_this_machine_opens_it_to_no_other_name(address: str) -> None:
    names = Names({"index.example": address, "files.example": address})
    with pytest.raises(AddressRefused):
        await CheckedResolver(Addresses("https://index.example/"), names).resolve("files.example")
    literal = Addresses(f"http://{address}:8080/")
    with pytest.raises(AddressRefused):
        await CheckedResolver(literal, names).resolve("files.example")
