"""What all pages have in common: headers, colours, static files, addresses, other indexes."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import pytest

from proxy.presentation import assets
from proxy.presentation.assets import HTMX_SHA256
from tests.support.faces import facing
from tests.support.fake_index import FakeIndex

PAGES = ("/", "/-/help", "/-/setup", "/-/setup?tool=renovate")
STATIC = Path(__file__).parents[2] / "proxy/presentation/static"
SCRIPT_LINES = 100
PACKED_LIMIT = 25_000
"""Bytes of style and script together, compressed."""


@pytest.mark.parametrize("path", PAGES)
async def test_pages_may_load_nothing_from_elsewhere_and_be_framed_by_none(path: str) -> None:
    async with facing(FakeIndex()) as site:
        answer = await site.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert answer.status == 200
        assert "unsafe" not in policy and "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy and "sandbox" not in policy
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert b"style=" not in answer.body and b"<style" not in answer.body
        assert not re.search(rb"""(?:src|href)="(?:https?:|//)""", answer.body)


async def test_a_page_is_sent_again_only_if_it_has_changed() -> None:
    async with facing(FakeIndex()) as site:
        first = await site.get("/-/setup")
        again = {"If-None-Match": first.headers["ETag"]}
        assert (await site.get("/-/setup", headers=again)).status == 304
        assert (await site.get("/-/setup?tool=uv", headers=again)).status == 200
        packed = await site.get("/-/setup", headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(packed.body) == first.body
        head = await site.get("/-/setup", "HEAD")
        assert (head.status, head.body) == (200, b"")


async def test_the_form_sets_the_colours_and_an_address_does_not() -> None:
    async with facing(FakeIndex()) as site:
        ours = {
            "Origin": f"http://127.0.0.1:{site.port}",
            "Referer": f"http://127.0.0.1:{site.port}/-/setup?tool=uv",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        async with site.posting("/-/theme", b"theme=dark", ours) as answer:
            assert answer.status == 303
            assert answer.headers["Location"] == "/-/setup?tool=uv"
            assert "theme=dark" in answer.headers["Set-Cookie"]
        broken = ours | {"Referer": "http://[::1"}
        async with site.posting("/-/theme", b"theme=dark", broken) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "../")
        dark = await site.get("/", headers={"Cookie": "theme=dark"})
        assert b'<html lang="en" class="dark">' in dark.body
        odd = await site.get("/", headers={"Cookie": 'theme=x"><script>'})
        assert b'<html lang="en">' in odd.body
        assert "Set-Cookie" not in (await site.get("/?theme=dark")).headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example.com"},
        {"Origin": "http://127.0.0.1:1"},
        {"Referer": "http://evil.example.com/?http://127.0.0.1"},
        {"Origin": "null"},
        {"Referer": "http://[::1/"},
    ],
)
async def test_a_form_of_another_origin_changes_nothing(headers: dict[str, str]) -> None:
    """Another port of this machine is another origin too."""
    async with (
        facing(FakeIndex()) as site,
        site.posting("/-/theme", b"theme=dark", headers) as answer,
    ):
        assert answer.status == 403 and "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", b""),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nX: \0\r\n\r\nx\r\n--b--\r\n"),
        (f"multipart/form-data; boundary={'x' * 80}", b"theme=dark"),
        ("application/x-www-form-urlencoded; charset=nonsense", b"theme=dark"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"odd"),
        ("application/x-www-form-urlencoded", b"theme=\xff"),
    ],
)
async def test_a_body_that_is_no_form_of_a_page_is_refused(kind: str, body: bytes) -> None:
    async with facing(FakeIndex()) as site:
        ours = {"Origin": f"http://127.0.0.1:{site.port}", "Content-Type": kind}
        async with site.posting("/-/theme", body, ours) as answer:
            assert answer.status == 400 and "Set-Cookie" not in answer.headers


async def test_static_files_never_change_under_their_address() -> None:
    async with facing(FakeIndex()) as site:
        for asset in assets().values():
            answer = await site.get(f"/-/static/{asset.path}")
            assert answer.body == asset.body
            assert "immutable" in answer.headers["Cache-Control"]
        style = assets()["style.css"]
        assert (await site.get(f"/-/static/{'0' * 12}/{style.name}")).status == 404
        assert (await site.get("/-/static/x/..%2f..%2fassets.py")).status == 404


def test_scripts_are_small_and_htmx_is_the_file_that_its_authors_publish() -> None:
    htmx = STATIC.joinpath("htmx.min.js").read_bytes()
    assert hashlib.sha256(htmx).hexdigest() == HTMX_SHA256
    own = STATIC.joinpath("app.js").read_text()
    assert len(own.splitlines()) < SCRIPT_LINES
    assert not re.search(r"https?://|innerHTML|eval|localStorage|sessionStorage", own)
    loaded = (assets()[name] for name in ("style.css", "app-htmx.js"))
    assert sum(len(each.packed) for each in loaded) < PACKED_LIMIT


@pytest.mark.parametrize("prefix", ["", "/a/pypi"])
async def test_each_index_has_its_own_pages_below_any_prefix(prefix: str) -> None:
    """Addresses of style and script lead to one place, and commands to the index of the page."""
    async with facing(
        FakeIndex(), mounted={"/team": FakeIndex()}, names=lambda: ["team"], prefix=prefix
    ) as site:
        for base in dict.fromkeys(("", prefix)):
            for root in ("", "/team"):
                body = (await site.get(f"{base}{root}/-/setup")).body.decode()
                assert f"http://127.0.0.1:{site.port}{base}{root}/simple/" in body
                found = re.search(r'stylesheet" href="([^"]+)"', body)
                assert found
                steps, _, rest = found[1].rpartition("../")
                assert steps.count("../") + 1 == (2 if root else 1)
                assert (await site.get(f"{base}/{rest}")).status == 200
        assert (await site.get("/other/-/setup")).status == 404


async def test_the_fixed_address_is_shown_whatever_the_request_says() -> None:
    url = "https://packages.example.com/py/simple/"
    async with facing(FakeIndex(), url=url, fixed_url=True) as site:
        answer = await site.get("/-/setup", headers={"Host": "evil.example.com"})
        assert b"https://packages.example.com/py/simple/" in answer.body
        assert b"evil" not in answer.body


async def test_a_host_of_an_odd_form_is_in_no_command() -> None:
    async with facing(FakeIndex(), url="http://127.0.0.1:8080/simple/") as site:
        sent = b'GET /-/setup HTTP/1.1\r\nHost: a"x$(id)\r\nConnection: close\r\n\r\n'
        answer = await site.raw(sent)
        assert b"$(id)" not in answer and b"http://127.0.0.1:8080/simple/" in answer


async def test_the_certificate_is_offered_without_its_key() -> None:
    public = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----"
    private = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----"
    async with facing(FakeIndex(), certificate=f"{private}\n{public}\n") as site:
        page, file = await site.get("/-/setup"), await site.get("/-/ca.pem")
        assert b"waystation.pem" in page.body
        assert file.body.decode().strip() == public
        fingerprint = hashlib.sha256(b"ABC").hexdigest().upper()
        assert fingerprint[:2] + ":" + fingerprint[2:4] in page.body.decode()
    async with facing(FakeIndex()) as site:
        assert (await site.get("/-/ca.pem")).status == 404
