"""Outgoing proxies: which is taken for what, and the wire through a real one."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from proxy.errors import ConfigurationError, UpstreamError
from proxy.model import ProjectName
from proxy.upstream.outgoing_proxies import OutgoingProxies
from proxy.upstream.remote import UpstreamDocument
from tests.support.network import ForwardProxy, connections
from tests.support.pki import Authority
from tests.support.remotes import Names, open_remote
from tests.support.upstream import Upstream

DEMO = ProjectName("demo")


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://example.com/", "http://s.example:1"),
        ("http://example.com/", "http://p.example:2"),
        ("https://intern/", None),
        ("https://a.corp.example/", None),
        ("https://corp.example:8443/", None),
        ("https://notcorp.example/", "http://s.example:1"),
        ("http://h.example:81/", None),
        ("http://h.example/", "http://p.example:2"),
    ],
)
def test_by_scheme_and_not_for_hosts_to_be_asked_directly(url: str, proxy: str | None) -> None:
    environment = {
        "https": "http://s.example:1",
        "http": "p.example:2",
        "no": "intern, .corp.example,h.example:81",
    }
    found = OutgoingProxies(environment).proxy_for(url)
    assert (str(found) if found else None) == proxy


@pytest.mark.parametrize(
    ("entry", "direct", "proxied"),
    [
        ("127.0.0.0/8", ["127.0.0.1", "127.255.1.2"], ["128.0.0.1", "localhost", "[::1]"]),
        ("127.0.0.1/8", ["127.9.9.9"], ["126.0.0.1"]),
        ("10.0.0.0/255.0.0.0", ["10.1.2.3"], ["11.1.2.3"]),
        ("192.0.2.7/32", ["192.0.2.7"], ["192.0.2.8"]),
        ("0.0.0.0/0", ["192.0.2.7"], ["[2001:db8::1]", "a.example"]),
        ("192.0.2.7", ["192.0.2.7", "192.0.2.7:81"], ["1.192.0.2.7.example", "192.0.2.77"]),
        ("192.0.2.7:81", ["192.0.2.7:81"], ["192.0.2.7", "192.0.2.7:82"]),
        ("2.7", [], ["192.0.2.7"]),
        ("::1", ["[::1]", "[0:0::1]:81"], ["[::2]", "127.0.0.1"]),
        ("[::1]", ["[::1]"], ["[::2]"]),
        ("[::1]:81", ["[::1]:81"], ["[::1]", "[::2]:81"]),
        ("0:0:0:0:0:0:0:1", ["[::1]"], []),
        ("2001:DB8::/32", ["[2001:db8:1::2]"], ["[2001:db9::1]", "192.0.2.7"]),
        ("[fd00::]/8", ["[fd12::1]"], ["[fe80::1]"]),
        ("example", ["example", "a.example", "EXAMPLE", "example."], ["anexample"]),
        (".Example.", ["example", "a.b.example", "a.example."], ["example.org"]),
        ("a.example:81", ["a.example:81", "b.a.example:81"], ["a.example", "a.example:811"]),
        ("a.example:80", ["a.example"], []),
        ("*", ["a.example", "192.0.2.7", "[::1]"], []),
        ("*.example", [], ["a.example"]),
        ("no/where, 1.2.3.4/99, :81, ., /8", [], ["where", "1.2.3.4", "a:81", "[::1]"]),
        ("intern\t10.0.0.0/8 , *", ["a.example"], []),
        ("intern 10.0.0.0/8,,b", ["intern", "10.9.9.9", "b"], ["intern10", "c"]),
        ("", [], ["a.example", "192.0.2.7"]),
    ],
)
def test_hosts_and_networks_in_no_proxy(entry: str, direct: list[str], proxied: list[str]) -> None:
    outgoing = OutgoingProxies({"http": "http://p.example:1", "no": entry})
    for host in direct:
        assert outgoing.proxy_for(f"http://{host}/x") is None, host
    for host in proxied:
        assert outgoing.proxy_for(f"http://{host}/x") is not None, host


def test_one_proxy_for_all() -> None:
    outgoing = OutgoingProxies({"all": "http://u:p@proxy.example:3128"})
    assert outgoing.hosts == {"proxy.example"}
    for scheme in ("http", "https"):
        assert outgoing.proxy_for(f"{scheme}://example.com/")
    assert OutgoingProxies({"no": "*"}).proxy_for("https://example.com/") is None


@pytest.mark.parametrize(
    "proxy", ["socks5://u:hunter2@h:1080", "http://u:hunter2@", "u:hunter2@ h"]
)
def test_a_malformed_proxy_address_is_reported_without_its_password(proxy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OutgoingProxies({"https": proxy})
    assert "hunter2" not in str(caught.value)


async def test_plain_http_goes_through_the_proxy_with_its_password_only(
    upstream: Upstream,
) -> None:
    upstream.credentials = ("me", "mine")
    async with ForwardProxy({"index.example.org": ("127.0.0.1", upstream.port)}) as proxy:
        proxies = {"http": f"http://u%40:hunter2@127.0.0.1:{proxy.port}"}
        url = "http://index.example.org/simple/"
        async with open_remote(url, user="me", password="mine", proxies=proxies) as remote:
            page = await remote.page(DEMO)
    assert isinstance(page, UpstreamDocument)
    assert page.url == "http://index.example.org/simple/demo/"
    [(line, shown)] = proxy.requests
    assert line == "GET http://index.example.org/simple/demo/ HTTP/1.1"
    assert shown == "Basic " + b64encode(b"u@:hunter2").decode()
    assert "Proxy-Authorization" not in upstream.requests[0].headers


async def test_tls_goes_through_a_tunnel_and_the_proxy_looks_names_up(
    tmp_path: Path, wheel: Path
) -> None:
    authority, names = Authority(tmp_path), Names({})
    async with Upstream(tls=authority.server("index.example.org")) as upstream:
        upstream.add(wheel)
        where = {"index.example.org:443": ("127.0.0.1", upstream.port)}
        async with (
            ForwardProxy(where) as proxy,
            open_remote(
                "https://index.example.org/simple/",
                user="me",
                password="mine",
                proxies={"https": f"http://u:hunter2@127.0.0.1:{proxy.port}"},
                ca_bundle=authority.bundle,
                resolver=names,
            ) as remote,
        ):
            assert isinstance(await remote.page(DEMO), UpstreamDocument)
            with connections() as made, pytest.raises(UpstreamError):
                await remote.read("https://127.0.0.1/x", 9)  # rules on hosts apply as well
    assert (names.asked, made) == ([], [])
    assert [line for line, _ in proxy.requests] == ["CONNECT index.example.org:443 HTTP/1.1"]
    assert proxy.requests[0][1] == "Basic " + b64encode(b"u:hunter2").decode()
    assert "Proxy-Authorization" not in upstream.requests[0].headers
    assert upstream.requests[0].headers["Authorization"].startswith("Basic ")


async def test_hosts_to_be_asked_directly_are(upstream: Upstream) -> None:
    async with ForwardProxy() as proxy:
        proxies = {"all": f"http://127.0.0.1:{proxy.port}", "no": "127.0.0.1"}
        async with open_remote(upstream.url, proxies=proxies) as remote:
            await remote.page(DEMO)
    assert proxy.requests == []


async def test_environment_is_not_looked_at(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ForwardProxy() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        async with open_remote(upstream.url) as remote:
            await remote.page(DEMO)
    assert proxy.requests == []


async def test_proxy_with_an_internal_name_is_used(upstream: Upstream) -> None:
    names = Names({"proxy.example.net": "127.0.0.1"})
    async with ForwardProxy() as proxy:
        proxies = {"http": f"http://proxy.example.net:{proxy.port}"}
        async with open_remote(upstream.url, proxies=proxies, resolver=names) as remote:
            await remote.page(DEMO)
    assert len(proxy.requests) == 1


async def test_an_unreachable_proxy_is_reported_without_its_address(upstream: Upstream) -> None:
    proxies = {"http": "http://u:hunter2@127.0.0.1:1"}
    async with open_remote(upstream.url, proxies=proxies) as remote:
        with pytest.raises(UpstreamError, match="proxy cannot be reached") as caught:
            await remote.page(DEMO)
    assert "127.0.0.1" not in str(caught.value)
