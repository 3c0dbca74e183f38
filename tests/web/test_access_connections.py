"""Identities that come with the connection, which the bytes of a request do not show."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.access import Access, FrontProxies, GrantTable, parse_grant
from proxy.events import AnswerServed, Event
from proxy.web.response_cache import CachedResponse
from tests.support.access import basic, token_access
from tests.support.fake_index import FakeIndex
from tests.support.pki import Authority
from tests.support.site import Site, serving

PROXY = "127.0.0.2"
"""The address of the trusted proxy; all other clients have another one."""
FRONT = FrontProxies([PROXY], "X-User", "X-Groups")
GRANTS = GrantTable(
    {
        "alice": [parse_grant("read:stock:aaa")],
        "@dev": [parse_grant("read:stock:bbb")],
        "spiffe://example.com/ci": [parse_grant("read:stock")],
    }
)


def stock() -> FakeIndex:
    return FakeIndex("stock", {"aaa": ["aaa-1.0.tar.gz"], "bbb": ["bbb-1.0.tar.gz"]})


async def statuses(
    site: Site,
    lines: str,
    *,
    address: str = "127.0.0.1",
    paths: Sequence[str] = ("aaa", "bbb"),
    tls: ssl.SSLContext | None = None,
) -> list[int]:
    """Of two pages, each requested three times over one connection, with these header lines."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", site.port, local_addr=(address, 0), ssl=tls
    )
    found = []
    try:
        for project in paths:
            request = f"GET /simple/{project}/ HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
            three = set()
            for _ in range(3):
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = head.lower().partition("content-length: ")[2].split("\r\n")[0]
                await reader.readexactly(int(length or 0))
                three.add(int(head.split()[1]))
            (status,) = three
            found.append(status)
    finally:
        writer.close()
    return found


@asynccontextmanager
async def behind_proxy(anonymous: tuple[str, ...] = (), **options: Any) -> AsyncIterator[Site]:
    access = Access([], GRANTS, anonymous=map(parse_grant, anonymous), front=FRONT)
    async with serving(stock(), fast=True, access=access, **options) as site:
        yield site


async def test_a_trusted_proxy_names_the_user_and_groups() -> None:
    async with behind_proxy() as site:
        asked = [
            ("X-User: alice\r\n", [200, 404]),
            ("X-User: bob\r\nX-Groups: ops, dev\r\n", [404, 200]),
            ("x-user: alice\r\nx-groups: dev\r\n", [200, 200]),
            ("X-User: carol\r\n", [403, 403]),
            ("", [401, 401]),
            ("X-User: \r\n", [401, 401]),
        ]
        for _ in range(2):
            for lines, expected in asked:
                assert await statuses(site, lines, address=PROXY) == expected, lines


@pytest.mark.parametrize("lines", ["X-User: alice\r\n", "x-groups: dev\r\n", "X-USER:alice\r\n"])
async def test_the_header_of_another_peer_is_refused(lines: str) -> None:
    """Also after the same bytes were answered to the proxy."""
    async with behind_proxy() as site:
        await statuses(site, "X-User: alice\r\n", address=PROXY)
        assert await statuses(site, "") == [401, 401]  # the constant answer is known
        assert await statuses(site, lines) == [400, 400]
    async with behind_proxy(("read:stock",)) as site:
        assert await statuses(site, lines) == [400, 400]


@pytest.mark.parametrize(
    "lines",
    [
        "X-User: alice\r\nX-User: bob\r\n",
        "X-User: alice\r\nX-Groups: dev\r\nX-Groups: ops\r\n",
        "X-User: token:ci\r\n",
        "X-User: @dev\r\n",
        "X-User: *\r\n",
        "X-User: oidc:github\r\n",
    ],
)
async def test_names_that_could_be_mistaken_are_refused(lines: str) -> None:
    async with behind_proxy() as site:
        assert await statuses(site, lines, address=PROXY) == [400, 400]


async def test_equal_bytes_are_answered_by_the_peer(tmp_path: Path) -> None:
    """A token in the same request counts only where no proxy names the user."""
    async with token_access(tmp_path, grants=GRANTS, front=FRONT) as rig:
        token = f"Authorization: {basic(rig.token('ci', 'read:stock'))}\r\n"
        async with serving(stock(), fast=True, access=rig.access) as site:
            for _ in range(2):
                assert await statuses(site, token, address=PROXY) == [200, 200]
                assert await statuses(site, token) == [200, 200]
                named = f"{token}X-User: alice\r\n"
                assert await statuses(site, named, address=PROXY) == [200, 404]
                assert await statuses(site, named) == [400, 400]


async def test_the_client_is_the_last_address_that_is_no_proxy() -> None:
    seen: list[tuple[str | None, ...]] = []

    def observe(event: Event) -> None:
        if isinstance(event, AnswerServed):
            seen.append((event.client, event.principal))

    def hit(
        response: CachedResponse, client: str, start: float, end: float, by: str | None
    ) -> None:
        seen.append((client, by))

    async with behind_proxy(observers=[observe], on_hit=hit) as site:
        lines = "X-User: alice\r\nX-Forwarded-For: 192.0.2.1, 192.0.2.7, 127.0.0.2\r\n"
        await statuses(site, lines, address=PROXY, paths=["aaa"])
    assert seen == [("192.0.2.7", "alice")] * 3


def test_networks_include_mapped_addresses() -> None:
    front = FrontProxies(["10.0.0.0/8", "2001:db8::/32"])
    assert front.trusts("10.1.2.3")
    assert front.trusts("::ffff:10.1.2.3")
    assert front.trusts("2001:db8::1%eth0")
    assert not front.trusts("11.0.0.1")
    assert not front.trusts("unix")
    assert front.client_of("11.0.0.1", ["192.0.2.1"]) == "11.0.0.1"
    assert front.client_of("10.0.0.1", []) == "10.0.0.1"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def client_tls(authority: Authority, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.bundle)
    context.check_hostname = False
    if names:
        context.load_cert_chain(*authority.issue(*names))
    return context


async def test_a_certificate_names_the_principal_of_its_connection(
    authority: Authority, tmp_path: Path
) -> None:
    """The bytes of the requests are the same."""
    context = authority.server("127.0.0.1")
    context.load_verify_locations(authority.bundle)
    context.verify_mode = ssl.CERT_OPTIONAL
    ours = client_tls(authority, "ci", "spiffe://example.com/ci")
    others = client_tls(authority, "other", "spiffe://example.com/other")
    async with token_access(tmp_path, grants=GRANTS, certificates="san-uri") as rig:
        token = f"Authorization: {basic(rig.token('some', 'read:stock:aaa'))}\r\n"
        async with serving(stock(), fast=True, access=rig.access, tls=context) as site:
            for _ in range(2):
                assert await statuses(site, "", tls=ours) == [200, 200]
                assert await statuses(site, "", tls=others) == [403, 403]
                assert await statuses(site, "", tls=client_tls(authority)) == [401, 401]
                assert await statuses(site, token, tls=ours) == [200, 404]
            wrong = f"Authorization: {basic('wrong')}\r\n"
            assert await statuses(site, wrong, tls=ours) == [401, 401]
            strangers = Authority(tmp_path, "strangers")
            foreign = client_tls(authority)
            foreign.load_cert_chain(*strangers.issue("ci", "spiffe://example.com/ci"))
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)):
                await statuses(site, "", tls=foreign)
