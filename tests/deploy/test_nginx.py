"""The shipped site for nginx, in a real nginx, in front of a real server.

Only names, ports and certificates are put in. pip and uv install through it; ranges, entity tags,
the prefix, and requests that can be read in two ways are looked at.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from yarl import URL

from tests.support.distributions import make_wheel
from tests.support.fork_server import ROOT
from tests.support.installers import Place, Tools
from tests.support.metrics_text import metrics
from tests.support.nginx import NGINX, nginx, put_in
from tests.support.pki import Authority
from tests.support.running import Running, running
from tests.support.sockets import exchange, free_port
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

SITE = ROOT / "deploy" / "nginx.conf"
JSON = "application/vnd.pypi.simple.v1+json"
HEAD = b"GET /simple/foo/ HTTP/1.1\r\nHost: x\r\n"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine"),
]

# A plain server without TLS for raw requests, and one that caches like a third party's proxy.
MORE = """
    proxy_cache_path {folder}/cache keys_zone=foreign:1m;
    server {{
        listen 127.0.0.1:{caching};
        proxy_cache foreign;
        gzip off;
        location / {{ proxy_pass http://waystation; proxy_cache_valid 200 1h; }}
    }}
    server {{
        listen 127.0.0.1:{plain};
        location / {{ proxy_pass http://waystation; proxy_http_version 1.1; }}
        location /old/ {{ proxy_pass http://waystation/; proxy_http_version 1.0; }}
    }}
"""


class Front(NamedTuple):
    server: Running
    upstream: Upstream
    address: str
    plain: int
    caching: int
    bundle: Path
    wheel: Path

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.bundle)


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    async with _front(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def _front(tmp_path: Path, **table: Any) -> AsyncIterator[Front]:
    """``table``: of a policy on the upstream."""
    folder = tmp_path / "nginx"
    folder.mkdir()
    authority = Authority(folder)
    certificate, key = authority.issue("127.0.0.1")
    tls, plain, caching = (free_port() for _ in range(3))
    async with Upstream() as upstream:
        upstream.add(make_wheel(tmp_path / "dist", "foo", "1.0", requires=["bar"]))
        large = make_wheel(tmp_path / "dist", "bar", "1.0", padding=2_000_000)
        upstream.add(large)
        index = {"kind": "mirror", "url": upstream.url, "policies": list(table and ["rule"])}
        variables = {
            "WAYSTATION_PREFIX": "/unstripped",
            "WAYSTATION_INDEXES": json.dumps({"main": index}),
            "WAYSTATION_POLICIES": json.dumps({"rule": table} if table else {}),
        }
        async with running(tmp_path, **variables) as server:
            site = put_in(
                SITE.read_text(),
                {
                    "listen 443": f"listen 127.0.0.1:{tls}",
                    "127.0.0.1:8080": f"127.0.0.1:{server.port}",
                    "/etc/ssl/certs/packages.example.com.pem": str(certificate),
                    "/etc/ssl/private/packages.example.com.key": str(key),
                },
            )
            more = MORE.format(folder=folder, plain=plain, caching=caching)
            async with nginx(folder, site, tls, more):
                address = f"https://127.0.0.1:{tls}"
                yield Front(server, upstream, address, plain, caching, authority.bundle, large)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """This test uses the pip of its own environment."""
    import pip

    return Tools(Path(pip.__file__).parent)


@pytest.mark.parametrize("prefix", ["", "/pypi", "/unstripped"])
async def test_installers_get_everything_through_tls_and_a_prefix(
    front: Front, tmp_path: Path, tools: Tools, prefix: str
) -> None:
    index = f"{front.address}{prefix}/simple/"
    with_pip, with_uv = Place(tmp_path / "p", tools), Place(tmp_path / "u", tools)
    done = await with_pip.install("pip", index, "--cert", front.bundle, "Foo")
    assert done.succeeded()
    done = await with_uv.uv("pip", "install", "--index-url", index, "foo", ca=front.bundle)
    assert done.succeeded()
    for place in (with_pip, with_uv):
        assert place.installed() == {"foo": "1.0", "bar": "1.0"}


async def test_the_reason_of_a_refusal_arrives(tmp_path: Path, tools: Tools) -> None:
    """It is in the reason phrase, which is cut, and printable ASCII."""
    table = {"kind": "deny", "projects": ["foo"], "reason": "größer\tals " + "x" * 200}
    async with _front(tmp_path, **table) as front:
        here = Place(tmp_path / "p", tools)
        index = f"{front.address}/pypi/simple/"
        done = await here.install("pip", index, "--cert", front.bundle, "foo==1.0")
        assert done.status != 0
        reason = "Refused by rule rule: foo is denied; gr?er als xxxx"
        assert reason in " ".join((done.out + done.err).split()), done.err
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{index}foo/", ssl=front.tls) as answer:
                (link,) = re.findall(r'href="([^"#]*)', await answer.text())
            async with client.get(f"{index}foo/{link}", ssl=front.tls) as answer:
                assert answer.status == 403
                assert answer.reason and len(answer.reason) == 150
                assert answer.reason.startswith(reason) and answer.reason.endswith("xxx...")
                assert answer.headers["Waystation-Rule"] == "rule"


@pytest.mark.parametrize("prefix", ["", "/pypi", "/unstripped"])
async def test_no_link_or_redirect_leaves_the_prefix_or_the_scheme(
    front: Front, prefix: str
) -> None:
    async with aiohttp.ClientSession() as client:
        for path, location in (("Foo/", "../foo/"), ("foo", "foo/"), ("Foo", "foo/")):
            url = f"{front.address}{prefix}/simple/{path}"
            async with client.get(url, ssl=front.tls, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (301, location)
            async with client.get(url, ssl=front.tls) as answer:
                assert answer.status == 200
                assert str(answer.url) == f"{front.address}{prefix}/simple/foo/"
                page = await answer.text()
        assert re.findall(r'href="([^"]*)', page) and "http:" not in page
        if prefix:
            async with client.get(f"{front.address}{prefix}", ssl=front.tls) as answer:
                assert str(answer.url) == f"{front.address}{prefix}/"


async def test_tags_stay_strong_and_pages_come_compressed_as_we_made_them(
    front: Front,
) -> None:
    url = f"{front.address}/simple/foo/"
    headers = {"Accept": JSON, "Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        async with client.get(url, ssl=front.tls, headers=headers) as answer:
            tag = answer.headers["ETag"]
            assert tag.startswith('"')
            assert answer.headers.getall("Vary") == ["Accept, Accept-Encoding"]
            assert answer.headers["Content-Type"] == JSON
            through = await answer.read()
        direct = f"{front.server.address}/simple/foo/"
        async with client.get(direct, headers=headers) as answer:
            assert (answer.headers["ETag"], await answer.read()) == (tag, through)
        again = headers | {"If-None-Match": tag}
        async with client.get(url, ssl=front.tls, headers=again) as answer:
            assert (answer.status, answer.headers["ETag"]) == (304, tag)
            assert "Content-Type" not in answer.headers


async def test_what_is_sent_arrives_whatever_its_size(front: Front) -> None:
    async with aiohttp.ClientSession() as client:
        answers = []
        for address in (front.address, front.server.address):
            url = f"{address}/legacy/"
            async with client.post(url, data=b"x" * 900_000, ssl=front.tls) as answer:
                answers.append((answer.status, await answer.read()))
    assert answers[0] == answers[1]
    assert answers[0][0] in (403, 404, 405)  # no index here accepts uploads


async def test_ranges_and_heads_of_files_go_through(front: Front) -> None:
    async with aiohttp.ClientSession() as client:
        url = await _file(client, front, "bar")
        async with client.head(url, ssl=front.tls) as answer:
            size = int(answer.headers["Content-Length"])
            tag = answer.headers["ETag"]
            assert answer.headers["Accept-Ranges"] == "bytes"
            assert tag.startswith('"sha256-')
        async with client.get(url, ssl=front.tls) as answer:
            content = await answer.read()
            assert answer.headers["ETag"] == tag
            assert "Content-Encoding" not in answer.headers
        assert len(content) == size
        for asked, status, part in (
            ("bytes=0-9", 206, content[:10]),
            ("bytes=-10", 206, content[-10:]),
            (f"bytes={size}-", 416, b""),
            ("bytes=0-1,5-6", 200, content),
        ):
            async with client.get(url, ssl=front.tls, headers={"Range": asked}) as answer:
                body = await answer.read()
                assert (answer.status, body if status != 416 else b"") == (status, part)
        late = {"Range": "bytes=0-9", "If-Range": '"other"'}
        async with client.get(url, ssl=front.tls, headers=late) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "path",
    ["/-/admin/status", "/pypi/-/admin/status", "/x/../-/admin/status", "//-/%61dmin/status"],
)
async def test_administration_is_not_passed_on(front: Front, path: str) -> None:
    """Not even where a client names a host that looks like this machine."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(
            URL(front.address + path, encoded=True), ssl=front.tls, headers={"Host": "localhost"}
        ) as answer,
    ):
        assert answer.status == 403
        assert b"nginx" in await answer.read()


@pytest.mark.parametrize(
    "path", ["/metrics", "/%6detrics", "//metrics", "/x/../metrics", "/pypi/metrics"]
)
async def test_counters_are_not_for_everybody(front: Front, path: str) -> None:
    async with (
        aiohttp.ClientSession() as client,
        client.get(URL(front.address + path, encoded=True), ssl=front.tls) as answer,
    ):
        assert answer.status == 403
    assert "waystation_info" in await metrics(front.server.address)


async def _file(client: aiohttp.ClientSession, front: Front, project: str) -> str:
    headers = {"Accept": JSON}
    url = f"{front.address}/simple/{project}/"
    async with client.get(url, ssl=front.tls, headers=headers) as answer:
        (file,) = json.loads(await answer.read())["files"]
    return f"{front.address}/{file['url'].removeprefix('../../')}"


async def test_a_broken_download_does_not_look_complete_through_nginx(
    front: Front,
) -> None:
    """Also if its length is unknown and nginx uses HTTP/1.0, which is its default."""
    front.upstream.add(front.wheel, size=False)
    front.upstream.fault("bar-1.0", Fault(corrupt=True, chunked=True))
    async with aiohttp.ClientSession() as client:
        url = await _file(client, front, "bar")
        with pytest.raises(aiohttp.ClientPayloadError):
            async with client.get(url, ssl=front.tls) as answer:
                await answer.read()
        path = url.removeprefix(front.address)
        with pytest.raises(aiohttp.ClientPayloadError):
            async with client.get(f"http://127.0.0.1:{front.plain}/old{path}") as answer:
                await answer.read()


async def test_a_cache_between_keeps_the_forms_apart(front: Front) -> None:
    url = f"http://127.0.0.1:{front.caching}/simple/foo/"
    async with aiohttp.ClientSession() as client:
        for _ in range(2):
            for accept, expected in ((JSON, JSON), ("text/html", "text/html; charset=utf-8")):
                async with client.get(url, headers={"Accept": accept}) as answer:
                    assert answer.headers["Content-Type"] == expected

    def asked() -> int:
        return sum(each["path"] == "/simple/foo/" for each in front.server.requests())

    await until(lambda: asked() >= 2)
    assert asked() == 2


SMUGGLED = {
    "CL and TE": HEAD + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two CL": HEAD + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "TE twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "CL signed": HEAD + b"Content-Length: +0\r\n\r\n",
    "two Hosts": HEAD + b"Host: y\r\n\r\n",
    "NUL": HEAD + b"X: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("sent", SMUGGLED.values(), ids=SMUGGLED)
async def test_no_request_is_smuggled_past_nginx(front: Front, sent: bytes) -> None:
    hidden = b"GET /simple/hidden/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = await exchange(front.plain, sent + hidden)
    assert received.split(b" ", 2)[1] == b"400"
    assert received.count(b"HTTP/1.1 ") == 1
    await exchange(front.plain, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await front.server.logged(lambda line: line.get("path") == "/healthz")
    assert not any("hidden" in each["path"] for each in front.server.requests())


async def test_bare_line_feeds_mean_to_us_what_they_mean_to_nginx(front: Front) -> None:
    """nginx accepts them as line ends, and sends CRLF to us."""
    sent = b"GET /simple/foo/ HTTP/1.1\nHost: x\nConnection: close\n\n"
    assert (await exchange(front.plain, sent)).startswith(b"HTTP/1.1 200 ")
    assert (await exchange(front.server.port, sent)).split(b" ", 2)[1] == b"400"
