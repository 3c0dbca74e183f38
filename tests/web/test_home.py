"""The page at ``/`` shows the address by which a client came, and nothing that could harm it."""

from __future__ import annotations

import pytest

from tests.support.fake_index import FakeIndex
from tests.support.site import serving
from tests.support.sockets import exchange


async def _home(port: int, host: str, target: str = "/", version: str = "1.1") -> tuple[str, str]:
    """Head and body of the page, for a request with this ``Host``; none if it is empty."""
    lines = [f"GET {target} HTTP/{version}", "Connection: close", *([f"Host: {host}"] * bool(host))]
    sent = "\r\n".join([*lines, "", ""]).encode("latin-1")
    head, _, body = (await exchange(port, sent)).decode("latin-1").partition("\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    "host",
    [
        *("packages.example.com", "packages.example.com:8443", "10.1.2.3:8080", "[::1]:8080"),
        *("[fe80::1]", "localhost", "under_score.example.com", "UPPER.example.com", "a" * 253),
    ],
)
async def test_the_address_of_the_request_is_shown_and_never_stored(
    stock: FakeIndex, host: str
) -> None:
    async with serving(stock, fixed_url=False) as site:
        head, body = await _home(site.port, host)
        assert head.startswith("HTTP/1.1 200 ") and "Cache-Control: no-store" in head
        assert body.count(f"--index-url http://{host}/simple/ NAME") == 2
        assert "127.0.0.1" not in body


async def test_below_a_prefix_and_for_an_absolute_target_it_is_the_address_too(
    stock: FakeIndex,
) -> None:
    async with serving(stock, fixed_url=False, prefix="/a/pypi") as site:
        _, body = await _home(site.port, "p.example.com", "/a/pypi/")
        assert "--index-url http://p.example.com/a/pypi/simple/ NAME" in body
        _, body = await _home(site.port, "p.example.com", "http://p.example.com/")
        assert "--index-url http://p.example.com/simple/ NAME" in body


@pytest.mark.parametrize(
    "host",
    [
        *("<script>alert(1)</script>", "a.example.com/evil", "a b", 'x"onload="y', "x'y", "a;rm"),
        *("user:pw@a.example.com", "a.example.com:", "a.example.com:99x", "a.example.com:123456"),
        *("[::1", "::1", "[zz::]", "a%20b", "$(id)", "`id`", "a|b", "-rf", ".", "", "a" * 254),
        *("xn--\xe4.example.com", "a\x0bb", "a,b", "a\\b", "a#b", "a?b", "*", "a&amp;b"),
    ],
)
async def test_a_host_of_an_odd_form_is_not_shown(stock: FakeIndex, host: str) -> None:
    """Not even escaped: people copy the line into a shell."""
    async with serving(stock, fixed_url=False) as site:
        version = "1.1" if host else "1.0"
        head, body = await _home(site.port, host, version=version)
        if " 400 " not in head:
            assert "Cache-Control: no-store" in head
            assert f"--index-url http://127.0.0.1:{site.port}/simple/ NAME" in body
        assert not host or len(host) < 3 or host not in body


async def test_a_fixed_address_is_shown_whatever_the_request_says(stock: FakeIndex) -> None:
    async with serving(stock, fixed_url=True) as site:
        head, body = await _home(site.port, "elsewhere.example.com")
        assert "elsewhere" not in body
        assert "Cache-Control: max-age=300" in head
