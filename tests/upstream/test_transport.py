"""Tries, redirects, credentials and the breaker, on real sockets."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from proxy.errors import UpstreamError, UpstreamTimeout
from proxy.model import ProjectName
from proxy.upstream.remote import Remote, UpstreamDocument
from proxy.upstream.upstream_options import Timeouts
from tests.support.clock import Clock
from tests.support.network import connections
from tests.support.remotes import Names, Pauses, open_remote
from tests.support.upstream import Fault, Upstream

DEMO = ProjectName("demo")
WHEEL = "demo-1.0-py3-none-any.whl"


async def page(remote: Remote) -> UpstreamDocument:
    answer = await remote.page(DEMO)
    assert isinstance(answer, UpstreamDocument)
    return answer


async def content(remote: Remote, url: str) -> bytes:
    async with remote.open(url) as body:
        return b"".join([chunk async for chunk in body.chunks])


def assert_growing(pauses: Pauses) -> None:
    """0.4 and 0.8 seconds, each up to half as long again or half as short."""
    first, second = pauses
    assert 0.2 <= first <= 0.6
    assert 0.4 <= second <= 1.2


# tries


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(status=status) for status in (429, 500, 502, 503, 504)),
        Fault(truncate=10),
        Fault(truncate=0),
    ],
    ids=repr,
)
async def test_trouble_that_passes_is_tried_again(upstream: Upstream, fault: Fault) -> None:
    upstream.fault("/demo/", fault, times=2)
    pauses = Pauses()
    async with open_remote(upstream.url, sleep=pauses) as remote:
        await page(remote)
    assert upstream.count() == 3
    assert_growing(pauses)


async def test_reset_connection_is_tried_again_at_once_and_then_after_pauses(
    upstream: Upstream,
) -> None:
    """At once, since it may have been an old connection that upstream no longer wanted."""
    upstream.fault("/demo/", Fault(reset=True), times=5)
    pauses = Pauses()
    async with open_remote(upstream.url, sleep=pauses) as remote:
        await page(remote)
    assert upstream.count() == 6
    assert_growing(pauses)


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(truncate=10)], ids=repr)
async def test_at_most_two_more_tries(upstream: Upstream, fault: Fault) -> None:
    upstream.fault("/demo/", fault)
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match=r"503 Service Unavailable|broke off"):
            await remote.page(DEMO)
    assert upstream.count() == 3


async def test_number_of_tries_is_a_setting(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(status=503))
    async with open_remote(upstream.url, retries=0) as remote:
        with pytest.raises(UpstreamError):
            await remote.page(DEMO)
    assert upstream.count() == 1


async def test_short_pause_that_upstream_asks_for_is_kept(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(status=503, headers={"Retry-After": "3"}), times=1)
    pauses = Pauses()
    async with open_remote(upstream.url, sleep=pauses) as remote:
        await page(remote)
    assert pauses == [3]


async def test_a_long_retry_after_of_upstream_reaches_the_caller(
    upstream: Upstream,
) -> None:
    upstream.fault("/demo/", Fault(status=429, headers={"Retry-After": "60"}))
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match="429 Too Many Requests") as caught:
            await remote.page(DEMO)
        assert caught.value.retry_after == 60
        with pytest.raises(UpstreamError):
            await remote.page(DEMO)
        assert upstream.count() == 2
        upstream.fault("/files/", Fault(status=503, headers={"Retry-After": "60"}))
        with pytest.raises(UpstreamError):
            await content(remote, upstream.url_of(WHEEL))
    assert upstream.count("/files/") == 1


async def test_no_further_try_when_its_pause_would_end_too_late(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(status=503, headers={"Retry-After": "4"}))
    async with open_remote(upstream.url, timeouts=Timeouts(page=3)) as remote:
        with pytest.raises(UpstreamError):
            await remote.page(DEMO)
    assert upstream.count() == 1


async def test_file_is_tried_again_before_its_first_byte_only(
    upstream: Upstream, wheel: Path
) -> None:
    url = upstream.url_of(WHEEL)
    upstream.fault("/files/", Fault(status=502), times=2)
    upstream.fault("/files/", Fault(truncate=100), times=1)
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match="broke off"):
            await content(remote, url)
        assert upstream.count() == 3
        assert await content(remote, url) == wheel.read_bytes()


async def test_file_that_falls_silent_is_a_timeout(upstream: Upstream) -> None:
    upstream.fault("/files/", Fault(rate=(10, 60.0)))
    async with open_remote(upstream.url, timeouts=Timeouts(read=0.1)) as remote:
        with pytest.raises(UpstreamTimeout):
            await content(remote, upstream.url_of(WHEEL))


async def test_slow_file_has_no_total_time(upstream: Upstream, wheel: Path) -> None:
    upstream.fault("/files/", Fault(rate=(20_000, 0.05)))
    async with open_remote(upstream.url, timeouts=Timeouts(page=0.1)) as remote:
        assert await content(remote, upstream.url_of(WHEEL)) == wheel.read_bytes()


async def test_connection_is_used_again_also_after_errors(upstream: Upstream) -> None:
    upstream.fault("/old/", Fault(redirect="/simple/demo/"))
    upstream.fault("/busy/", Fault(status=503))
    with connections() as made:
        async with open_remote(upstream.url) as remote:
            for name in ("none", "old", "demo"):
                try:
                    await remote.page(ProjectName(name))
                except LookupError:
                    raise
                except Exception as error:  # NoSuchProject
                    assert name in str(error)
            with pytest.raises(UpstreamError):
                await remote.page(ProjectName("busy"))
    assert len(made) == 1


# redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(upstream: Upstream, wheel: Path, status: int) -> None:
    target = upstream.url_of(WHEEL)
    upstream.fault("/files/moved", Fault(status=status, redirect=target))
    async with open_remote(upstream.url) as remote:
        assert await content(remote, upstream.files_url + "moved") == wheel.read_bytes()
        assert await remote.size(upstream.files_url + "moved") == wheel.stat().st_size


@pytest.mark.parametrize(("hops", "works"), [(30, True), (31, False)])
async def test_at_most_thirty_redirects(upstream: Upstream, hops: int, works: bool) -> None:
    for hop in range(hops):
        upstream.fault(f"/simple/hop{hop}/", Fault(redirect=f"../hop{hop + 1}/"))
    upstream.fault(f"/simple/hop{hops}/", Fault(body=b"{}"))
    async with open_remote(upstream.url) as remote:
        if works:
            await remote.page(ProjectName("hop0"))
        else:
            with pytest.raises(UpstreamError, match="more than 30 times"):
                await remote.page(ProjectName("hop0"))
    assert upstream.count() == 31


@pytest.mark.parametrize("target", ["", "#top", "/simple/demo/", "../other/"])
async def test_a_circle_of_redirects_ends_where_it_closes(upstream: Upstream, target: str) -> None:
    upstream.fault("/simple/demo/", Fault(redirect=target, headers={"Location": target or "#"}))
    upstream.fault("/simple/other/", Fault(redirect="/simple/demo/"))
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match="in a circle"):
            await remote.page(ProjectName("demo"))
    assert upstream.count() <= 2


async def test_signed_address_of_a_redirect_is_asked_for_letter_by_letter(
    upstream: Upstream,
) -> None:
    signed = f"{upstream.origin}/bucket/%7Ea/b%2Fc//../d?X-Sig=a%2Fb%7E%2b+c&x=%C3%A4&y="
    upstream.fault("/files/", Fault(redirect=signed))
    upstream.fault("/bucket/", Fault(body=b"bytes"))
    async with open_remote(upstream.url) as remote:
        assert await remote.read(upstream.files_url + "x", 9) == b"bytes"
    assert upstream.requests[-1].path == signed.removeprefix(upstream.origin)


@pytest.mark.parametrize(
    "target",
    ["ftp://example.com/x", "file:///etc/passwd", "javascript:x", "http://", "http:x"],
)
async def test_redirect_to_what_is_no_address(upstream: Upstream, target: str) -> None:
    upstream.fault("/files/", Fault(redirect=target))
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match="is not an http address"):
            await remote.read(upstream.files_url + "x", 9)
    assert upstream.count() == 1


# credentials


async def test_password_goes_to_its_origin_and_nowhere_else(
    upstream: Upstream, wheel: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.credentials = ("user7", "hunter2")
    async with Upstream() as files:
        files.add(wheel)
        there, back = files.url_of(WHEEL), upstream.url_of(WHEEL)
        upstream.fault("/files/there", Fault(redirect=there))
        files.fault("/files/back", Fault(redirect=back))
        async with open_remote(upstream.url, user="user7", password="hunter2") as remote:
            await page(remote)
            for url in (back, there, upstream.files_url + "there", files.files_url + "back"):
                assert await content(remote, url) == wheel.read_bytes()
                assert await remote.size(url) == wheel.stat().st_size
    assert files.count() == 6
    assert not [each for each in files.requests if "Authorization" in each.headers]
    assert all("Authorization" in each.headers for each in upstream.requests)
    assert not [each for each in files.requests if "hunter2" in str(each)]
    assert "hunter2" not in caplog.text


async def test_wrong_password_is_an_error_that_does_not_show_it(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.credentials = ("user7", "right")
    url = upstream.url.replace("//", "//user7:hunter2@", 1)
    async with open_remote(url) as remote:
        with pytest.raises(UpstreamError, match="401 Unauthorized") as caught:
            await remote.page(DEMO)
    text = caplog.text + str(caught.value) + repr(caught.value) + repr(vars(remote))
    assert "hunter2" not in text


async def test_user_and_password_in_a_link_or_redirect_are_not_used(upstream: Upstream) -> None:
    link = upstream.url_of(WHEEL).replace("//", "//evil:word@", 1)
    upstream.fault("/files/moved", Fault(redirect=link))
    async with open_remote(upstream.url) as remote:
        await remote.size(link)
        await remote.size(upstream.files_url + "moved")
    assert upstream.count() == 3
    assert not [each for each in upstream.requests if "Authorization" in each.headers]


async def test_cookies_of_upstream_are_not_kept(upstream: Upstream) -> None:
    upstream.page_headers = {"Set-Cookie": "session=1; Path=/"}
    url = f"http://index.example.org:{upstream.port}/simple/"
    names = Names({"index.example.org": "127.0.0.1"})
    async with open_remote(url, resolver=names) as remote:
        await page(remote)
        await page(remote)
    assert "Cookie" not in upstream.requests[1].headers


# errors and the breaker


async def test_errors_name_the_index_and_no_address(upstream: Upstream) -> None:
    await upstream.stop()
    async with open_remote(upstream.url, name="mirror") as remote:
        with pytest.raises(UpstreamError) as caught:
            await remote.page(DEMO)
    assert str(caught.value) == "upstream mirror: no connection (Connection refused)"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_name_that_does_not_exist() -> None:
    names = Names({})
    async with open_remote("http://index.example.org/", resolver=names) as remote:
        with pytest.raises(UpstreamError, match="its name cannot be looked up"):
            await remote.page(DEMO)
    assert len(names.asked) == 3


async def test_answer_that_is_not_http(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(headers={"X-Long": "x" * 200_000}))
    async with open_remote(upstream.url) as remote:
        with pytest.raises(UpstreamError, match="not HTTP"):
            await remote.page(DEMO)


async def test_upstream_that_is_down_is_not_asked_until_a_trial_succeeds(
    upstream: Upstream, clock: Clock
) -> None:
    await upstream.stop()
    async with open_remote(upstream.url, clock=clock) as remote:
        with connections() as made:
            for _ in range(4):
                with pytest.raises(UpstreamError) as caught:
                    await remote.page(DEMO)
        assert len(made) == 5
        assert caught.value.retry_after == 15
        assert str(caught.value) == "upstream pypi: cannot be reached"
        await upstream.start()
        clock.advance(15)
        await page(remote)
        await page(remote)
    assert upstream.count() == 2


async def test_upstream_that_answers_errors_is_asked_on(upstream: Upstream) -> None:
    upstream.fault("/demo/", Fault(status=500))
    async with open_remote(upstream.url) as remote:
        for _ in range(4):
            with pytest.raises(UpstreamError, match="500"):
                await remote.page(DEMO)
    assert upstream.count() == 12


async def test_host_of_files_that_is_down_does_not_stop_pages(upstream: Upstream) -> None:
    names = Names({"files.example.org": "127.0.0.1"})
    hosts = ["files.example.org:1"]
    async with open_remote(upstream.url, file_hosts=hosts, resolver=names) as remote:
        for _ in range(3):
            with pytest.raises(UpstreamError, match="no connection"):
                await remote.size("http://files.example.org:1/x")
        await page(remote)
