"""The rules on where links and redirects may lead, as tables."""

from __future__ import annotations

import ipaddress

import pytest

from proxy.upstream.address_rules import (
    Addresses,
    AddressRefused,
    HostPattern,
    Origin,
    is_public,
    origin_of,
)

INDEX = "https://index.example.org/simple/"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Example.ORG/a", ("https", "example.org", 443)),
        ("HTTP://example.org", ("http", "example.org", 80)),
        ("http://user:p@w@example.org:8080?x", ("http", "example.org", 8080)),
        ("https://[2001:DB8::0:1]:8443/", ("https", "2001:db8::1", 8443)),
        ("https://192.0.2.7#x", ("https", "192.0.2.7", 443)),
        ("https://a_b.example.org./", ("https", "a_b.example.org.", 443)),
    ],
)
def test_origin(url: str, origin: tuple[str, str, int]) -> None:
    assert origin_of(url) == Origin(*origin)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "data:text/html,x",
        "git+https://example.org/",
        "//example.org/",
        "/x",
        "https:///x",
        "https://",
        f"https://{'a.' * 127}example.org/",
        "https://example.org:0/",
        "https://example.org:65536/",
        "https://example.org:1e3/",
        "https://example.org\\@example.com/",
        "https://exa mple.org/",
        "https://example.org/\n",
        "https://example.org/\x00",
        "https://ex%61mple.org/",
        "https://exämple.org/",
        "https://①27.0.0.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.0x1/",
        "https://127.0.0.1./",
        "https://0x/",
        "https://[::1%25eth0]/",
        "https://[::1/",
        "https://::1/",
        "https://[127.0.0.1]:1:2/",
    ],
)
def test_what_is_no_address_or_spelled_oddly_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) "):
        origin_of(url)
    assert not Addresses(INDEX).allows(url)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:93.184.215.14",
        "64:ff9b::a00:1",
        "64:ff9b::5db8:d70e",
        "64:ff9b:1::1",
        "2002:a00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "2001:2::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://index.example.org", True),
        ("https://INDEX.example.org:8443", True),
        ("http://index.example.org", False),
        ("https://files.example.com", True),
        ("https://files.example.com:443", True),
        ("https://files.example.com:8443", False),
        ("http://files.example.com", False),
        ("https://93.184.215.14", True),
        ("https://127.0.0.1", False),
        ("https://[::1]", False),
        ("https://[::ffff:93.184.215.14]", False),
        ("https://169.254.169.254", False),
    ],
)
def test_without_file_hosts_any_public_https_host(origin: str, allowed: bool) -> None:
    assert Addresses(INDEX).allows(origin) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://index.example.org:8443", True),
        ("https://files.example.com", True),
        ("https://files.example.com:8443", False),
        ("https://evilfiles.example.com", False),
        ("https://files.example.com.evil.example", False),
        ("https://a.b.cdn.example.net", True),
        ("https://cdn.example.net", False),
        ("https://evilcdn.example.net", False),
        ("https://intern:8443", True),
        ("https://intern", False),
        ("https://10.1.2.3", True),
        ("https://10.1.2.4", False),
        ("https://[fd00::1]:9000", True),
        ("http://files.example.com", False),
        ("https://elsewhere.example", False),
    ],
)
def test_with_file_hosts_only_these_on_label_boundaries(origin: str, allowed: bool) -> None:
    hosts = ["files.example.com", "*.cdn.example.net", "intern:8443", "10.1.2.3", "[fd00::1]:9000"]
    assert Addresses(INDEX, hosts).allows(origin) is allowed


def test_plain_http_only_for_an_index_on_plain_http() -> None:
    addresses = Addresses("http://index.example.org:3141/simple/", ["files.example.com"])
    assert addresses.allows("http://index.example.org:9000")
    assert addresses.allows("http://files.example.com")
    assert not Addresses("http://index.example.org/").allows("http://files.example.com")


def test_page_redirects_stay_on_hosts_that_the_settings_name() -> None:
    with pytest.raises(AddressRefused):
        Addresses(INDEX).check("https://files.example.com/simple/a/", named_hosts_only=True)
    named = Addresses(INDEX, ["files.example.com"])
    named.check("https://files.example.com/simple/a/", named_hosts_only=True)
    named.check("https://index.example.org/elsewhere/", named_hosts_only=True)


def test_only_named_hosts_may_lie_inside() -> None:
    addresses = Addresses(INDEX, ["*.corp.example"], proxies=["proxy.example.net"])
    trusted = {"index.example.org", "a.corp.example", "proxy.example.net"}
    for host in (*trusted, "corp.example", "example.org", "other"):
        assert addresses.trusts(host) is (host in trusted)


def test_host_of_the_outgoing_proxy_is_no_place_for_files() -> None:
    assert not Addresses(INDEX, proxies=["proxy.example.net"]).allows("https://proxy.example.net")


@pytest.mark.parametrize("text", ["", "*", "*.", "a b", "https://a", "a/b", "u@a", "127.1", "a:x"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        HostPattern.parse(text)
