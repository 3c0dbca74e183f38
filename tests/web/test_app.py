"""What holds for every address, and the few addresses for people and monitors."""

from __future__ import annotations

import pytest

from proxy import __version__, errors
from tests.support.fake_index import FakeIndex
from tests.support.site import Site, serving

PATHS = ("/", "/healthz", "/readyz", "/simple/", "/simple/foo/", "/simple/Foo", "/files/foo/-/x")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_405_with_the_allowed_ones(
    site: Site, path: str, method: str
) -> None:
    answer = await site.get(path, method)
    assert answer.status == 405
    allowed = {"GET", "HEAD"} | ({"POST"} if path == "/" and method != "POST" else set())
    assert set(answer.headers["Allow"].split(",")) == allowed  # uploads, where there is a place
    assert answer.headers["Cache-Control"] == "no-store"


async def test_an_unknown_address_is_a_plain_404(site: Site) -> None:
    answer = await site.get("/nowhere/%3Cscript%3E")
    assert (answer.status, answer.body) == (404, b"404 Not Found\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "waystation"


class Surprise(errors.UpstreamError):
    """A kind of error that the table does not know."""


ERRORS: list[tuple[errors.ProxyError, int, str | None]] = [
    (errors.NoSuchProject("foo"), 404, None),
    (errors.NoSuchFile("foo", "x"), 404, None),
    (errors.GoneUpstream("u"), 404, None),
    (errors.Denied("foo", "malware"), 403, None),
    (errors.NotAuthenticated(), 401, None),
    (errors.TooManyFailures(30), 429, "30"),
    (errors.DirectoryUnavailable(), 503, "5"),
    (errors.NoRight("read index main"), 403, None),
    (errors.IndexUnavailable("private", "gone"), 503, "5"),
    (errors.PrivateNameWithheld("acme"), 503, "5"),
    (errors.PolicyFailed("public", "cooldown"), 503, "5"),
    (errors.UpstreamError("u", "HTTP 500"), 502, "5"),
    (errors.UpstreamError("u", "HTTP 429", retry_after=120), 502, "120"),
    (errors.UpstreamError("u", "soon", retry_after=0), 502, "0"),
    (errors.UpstreamTimeout("u", "late"), 504, "5"),
    (errors.UpstreamRefused("u", "HTTP 403"), 502, "5"),
    (errors.UnreadablePage("u", "no page"), 502, "5"),
    (errors.DigestMismatch("u", "other bytes"), 502, "5"),
    (Surprise("u", "odd"), 502, "5"),
    (errors.RefusedByUpstreamRule("u", "cooldown", "too young"), 502, "5"),
    (errors.UploadRefused("no file"), 400, None),
    (errors.NotPermitted("not yours"), 403, None),
    (errors.FileConflict("foo-1.0.tar.gz", "other bytes"), 409, None),
    (errors.UploadTooLarge("2 GB"), 413, None),
    (errors.StoreUnavailable(), 503, "5"),
    (errors.StoreDamaged("0" * 64), 500, None),
    (errors.ProxyError("?"), 500, None),
]


@pytest.mark.parametrize(
    ("error", "status", "retry_after"), ERRORS, ids=lambda value: type(value).__name__
)
@pytest.mark.parametrize("path", ["/simple/foo/", "/files/foo/-/foo-1.0.tar.gz"])
async def test_every_error_has_its_status(
    site: Site,
    stock: FakeIndex,
    path: str,
    error: errors.ProxyError,
    status: int,
    retry_after: str | None,
) -> None:
    stock.error = error
    answer = await site.get(path)
    assert answer.status == status
    assert answer.headers.get("Retry-After") == retry_after
    assert answer.body == f"{error}\n".encode()
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


def test_every_kind_of_error_is_tried_here() -> None:
    tried = {type(error) for error, *_ in ERRORS}
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    kinds = {each for each in classes if issubclass(each, errors.ProxyError)}
    for_the_start = {errors.ConfigurationError, errors.ConfigurationErrors}
    assert kinds - tried == {errors.NotFound, *for_the_start}


async def test_a_bug_is_500_without_a_word_of_it(
    site: Site, stock: FakeIndex, caplog: pytest.LogCaptureFixture
) -> None:
    stock.error = RuntimeError("the secret is 42")
    answer = await site.get("/simple/foo/", headers={"Accept": "text/html"})
    assert answer.status == 500
    assert b"42" not in answer.body and b"Traceback" not in answer.body
    assert "the secret is 42" in caplog.text


async def test_trouble_has_a_warning_and_other_errors_only_the_line_of_their_request(
    site: Site, stock: FakeIndex, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for error, level in (
        (errors.NoSuchProject("foo"), None),
        (errors.Denied("foo", "malware"), None),
        (errors.UpstreamError("u", "down"), "WARNING"),
        (errors.IndexUnavailable("private", "gone"), "WARNING"),
        (errors.StoreDamaged("key"), "WARNING"),
    ):
        caplog.clear()
        stock.error = error
        await site.get("/simple/foo/")
        levels = {r.levelname for r in caplog.records if r.getMessage() == str(error)}
        assert levels == ({level} if level else set())


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 200),
        (b"GET / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost:\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n", 400),
        (b"GET / HTTP/1.0\r\n", 200),  # it knew no hosts
        (b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n", 200),
        (b"GET http://X:80/ HTTP/1.1\r\nHost: x:80\r\n", 200),
        (b"GET http://y.example/ HTTP/1.1\r\nHost: x\r\n", 200),  # RFC 9112, section 3.2.2
        (b"GET http://x/ HTTP/1.0\r\n", 200),
        (b"GET http://user@x/ HTTP/1.1\r\nHost: x\r\n", 400),
        (b"GET http://[/ HTTP/1.1\r\nHost: x\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n", 400),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n", 400),
    ],
)
async def test_requests_of_unclear_authority_are_refused(
    site: Site, head: bytes, status: int
) -> None:
    answer = await site.raw(head + b"Connection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] == str(status).encode()


async def test_the_home_page_shows_the_real_address(stock: FakeIndex) -> None:
    async with serving(stock) as site:
        answer = await site.get("/", headers={"Host": "evil.example"})
        address = f"http://127.0.0.1:{site.port}/simple/".encode()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"pip install --index-url " + address in answer.body
    assert b"uv pip install --index-url " + address in answer.body
    assert __version__.encode() in answer.body
    assert b"evil.example" not in answer.body
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_readiness_is_its_own_question(stock: FakeIndex) -> None:
    ready = True
    async with serving(stock, ready=lambda: ready) as site:
        assert (await site.get("/readyz")).status == 200
        ready = False
        assert (await site.get("/readyz")).status == 503
        alive = await site.get("/healthz")
    assert (alive.status, alive.body) == (200, b"alive\n")
    assert alive.headers["Cache-Control"] == "no-store"
    assert stock.asked == []


async def test_with_a_prefix_everything_is_there_twice(stock: FakeIndex) -> None:
    """A server in front may strip the prefix, or not."""
    file = stock.add("foo", "foo-1.0.tar.gz", b"bytes")
    rest = (
        "",
        "healthz",
        "readyz",
        "simple/",
        "simple/foo/",
        f"files/foo/{file.address_digest}/foo-1.0.tar.gz",
    )
    async with serving(stock, prefix="/a/pypi") as site:
        for path in rest:
            bare, prefixed = await site.get(f"/{path}"), await site.get(f"/a/pypi/{path}")
            assert (bare.status, prefixed.status) == (200, 200)
            assert bare.body == prefixed.body
            assert b"http:" not in bare.body or path == ""  # the home page shows the address
        assert (await site.get("/b/simple/foo/")).status == 404


async def test_a_prefix_like_an_own_path_hides_nothing(stock: FakeIndex) -> None:
    stock.page_of("foo")
    async with serving(stock, prefix="/simple") as site:
        assert (await site.get("/simple/foo/")).status == 200
        assert b"Simple index" in (await site.get("/simple/")).body
        assert (await site.get("/simple/simple/foo/")).status == 200
