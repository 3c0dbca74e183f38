"""Who may read what over HTTP, parsed and on the fast path alike."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.events import AnswerServed, Event
from proxy.runtime import SharedCounters
from proxy.web import Counters
from tests.support.access import TokenRig, basic, token_access
from tests.support.clock import Clock
from tests.support.fake_index import FakeIndex
from tests.support.site import Answer, Site, serving
from tests.support.waiting import until

PATHS = (
    *("/", "/simple/", "/simple/aaa/", "/simple/absent/", "/team/simple/aaa/", "/no/simple/"),
    *("/nothing", "/files/aaa/-/aaa-1.0.tar.gz", "/+explain/aaa", "/metrics", "/simple/aaa"),
    *("/+asof/2026-05-01/simple/aaa/", "/team/", "/simple/index.html"),
)


def laid_out(name: str = "main") -> FakeIndex:
    return FakeIndex(name, {"aaa": ["aaa-1.0.tar.gz"], "acme-tool": ["acme_tool-1.0.tar.gz"]})


@asynccontextmanager
async def guarded(
    folder: Path, *, anonymous: tuple[str, ...] = (), hide_names: bool = True, **options: Any
) -> AsyncIterator[tuple[Site, TokenRig]]:
    """A server on two indexes, ``main`` and ``team``; all requests may take the fast path."""
    clock = options.get("clock", Clock())
    async with token_access(folder, anonymous=anonymous, hide_names=hide_names, clock=clock) as rig:
        given = {"fast": True, "clock": clock, **options}
        async with serving(
            laid_out(), mounted={"/team": laid_out("team")}, access=rig.access, **given
        ) as site:
            yield site, rig


async def repeated(site: Site, path: str, headers: dict[str, str] | None = None) -> Answer:
    """The answer to the third of equal requests."""
    for _ in range(2):
        await site.get(path, headers=headers)
    return await site.get(path, headers=headers)


def constant(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name != "Date"}
    return answer.status, headers, answer.body


async def test_without_credentials_every_address_has_one_answer(tmp_path: Path) -> None:
    """Whether a project, an index or an address exists, does not show."""
    async with guarded(tmp_path) as (site, _):
        first = await site.get("/simple/aaa/")
        assert first.status == 401
        assert first.headers["WWW-Authenticate"] == 'Basic realm="waystation", charset="UTF-8"'
        assert first.headers["Cache-Control"] == "no-store"
        for path in PATHS:
            for _ in range(2):
                assert constant(await site.get(path)) == constant(first), path
        wrong = {"Authorization": basic("secret", "alice")}
        assert constant(await site.get("/simple/aaa/", headers=wrong)) == constant(first)
        for path in ("/healthz", "/readyz"):
            assert (await site.get(path)).status == 200
        head = await site.get("/simple/aaa/", "HEAD")
        assert constant(await site.get("/simple/aaa/", "HEAD")) == constant(head)


async def test_a_token_reads_the_index_that_it_names(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (site, rig):
        main = rig.headers("ci", "read:main")
        page = await repeated(site, "/simple/aaa/", main)
        assert (page.status, b"aaa-1.0" in page.body) == (200, True)
        assert page.headers["Cache-Control"].startswith("private, ")
        assert "Authorization" in page.headers["Vary"]
        link = re.findall(rb"\.\./\.\.(/files/[^\"#]+)", page.body)[0].decode()
        file = await repeated(site, link, main)
        assert (file.status, file.headers["Cache-Control"]) == (
            200,
            "private, max-age=31536000, immutable",
        )
        for path in ("/team/simple/aaa/", "/team/simple/absent/", f"/team{link}"):
            answer = await repeated(site, path, main)
            assert answer.status == 403
        assert (await repeated(site, "/no/simple/aaa/", main)).status == 404


async def test_metrics_need_a_right_of_their_own(tmp_path: Path) -> None:
    counters = Counters(SharedCounters.single_process())
    async with guarded(tmp_path, counters=counters) as (site, rig):
        for scope, status in (("read:main", 403), ("admin", 403), ("metrics", 200)):
            answer = await repeated(site, "/metrics", rig.headers(scope[:4], scope))
            assert answer.status == status


async def test_the_reason_phrase_names_the_missing_right(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (site, rig):
        secret = rig.token("ci", "read:main")
        request = f"GET /team/simple/aaa/ HTTP/1.0\r\nHost: x\r\nAuthorization: {basic(secret)}\r\n"
        assert (await site.raw(f"{request}\r\n".encode())).startswith(
            b"HTTP/1.0 403 No right to read index team\r\n"
        )


async def test_a_project_that_one_may_not_read_looks_absent(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (site, rig):
        some = rig.headers("some", "read:main:acme-*")
        assert (await repeated(site, "/simple/acme-tool/", some)).status == 200
        hidden = await repeated(site, "/simple/aaa/", some)
        absent = await repeated(site, "/simple/bbb/", some)
        assert hidden.status == absent.status == 404
        assert hidden.body.replace(b"aaa", b"bbb") == absent.body
        for path in ("/files/aaa/-/aaa-1.0.tar.gz", "/+explain/aaa", "/simple/aaa"):
            assert (await repeated(site, path, some)).status == 404
        names = await site.get("/simple/", headers=some)
        assert (b"acme-tool" in names.body, b"aaa" in names.body) == (True, False)
        everything = await site.get("/simple/", headers=rig.headers("all", "read:main"))
        assert b"aaa" in everything.body


async def test_a_report_is_for_those_who_may_read_the_page(tmp_path: Path) -> None:
    """Not permitted. Where names are hidden, that looks like no project."""
    refused = b"No right to read project aaa of index main"
    for hides, status in ((True, 404), (False, 403)):
        async with guarded(tmp_path, hide_names=hides) as (site, rig):
            some = rig.headers(f"some-{hides}", "read:main:acme-*")
            allowed = await site.get("/+explain/acme-tool", headers=some)
            assert (allowed.status, b"acme_tool-1.0" in allowed.body) == (200, True)
            for path in ("/+explain/aaa", "/+explain/aaa/1.0"):
                answer = await site.get(path, headers=some)
                absent = await site.get(path.replace("aaa", "bbb"), headers=some)
                assert (answer.status, absent.status) == (status, status)
                assert absent.body == answer.body.replace(b"aaa", b"bbb")
                assert (refused in answer.body) is not hides
            other = await site.get("/team/+explain/aaa", headers=some)
            assert (other.status, b"No right to read index team" in other.body) == (403, True)


async def test_names_that_are_no_secret_are_refused_with_403(tmp_path: Path) -> None:
    async with guarded(tmp_path, hide_names=False) as (site, rig):
        some = rig.headers("some", "read:main:acme-*")
        for path in ("/simple/aaa/", "/files/aaa/-/aaa-1.0.tar.gz"):
            assert (await repeated(site, path, some)).status == 403
        assert b"aaa" in (await site.get("/simple/", headers=some)).body


async def test_equal_rights_share_an_answer_and_other_rights_never_get_it(tmp_path: Path) -> None:
    """Found on the fast path by the class of rights."""
    served: list[tuple[str | None, int, bool]] = []

    def observe(event: Event) -> None:
        if isinstance(event, AnswerServed):
            served.append((event.principal, event.status, event.cached))

    hits: list[object] = []
    async with guarded(
        tmp_path,
        observers=[observe],
        on_hit=lambda response, client, *rest: hits.append((id(response.body), rest[-1])),
    ) as (site, rig):
        one, two = rig.headers("one", "read:main"), rig.headers("two", "read:main")
        less = rig.headers("less", "read:main:acme-*")
        assert (await repeated(site, "/simple/aaa/", one)).status == 200
        await site.get("/simple/absent/", headers=two)  # its credentials are known from now on
        assert (await site.get("/simple/aaa/", headers=two)).status == 200
        assert (await repeated(site, "/simple/aaa/", less)).status == 404
        await until(lambda: len(hits) == 3)
        bodies, names = zip(*hits, strict=True)
        assert (len(set(bodies)), names) == (1, ("token:one", "token:one", "token:two"))
        assert ("token:less", 404, False) in served


async def test_a_revoked_token_is_refused_by_the_fast_path_too(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (site, rig):
        headers = rig.headers("ci", "read:main")
        assert (await repeated(site, "/simple/aaa/", headers)).status == 200
        rig.revoke("ci")
        await rig.access.refresh()
        assert (await site.get("/simple/aaa/", headers=headers)).status == 401


async def test_a_token_expires_at_its_instant_on_the_fast_path(tmp_path: Path) -> None:
    clock = Clock()
    async with guarded(tmp_path, clock=clock) as (site, rig):
        headers = rig.headers("ci", "read:main", lifetime=30)
        assert (await repeated(site, "/simple/aaa/", headers)).status == 200
        clock.advance(29.9)
        assert (await site.get("/simple/aaa/", headers=headers)).status == 200
        clock.advance(0.1)
        assert (await site.get("/simple/aaa/", headers=headers)).status == 401


async def test_anonymous_rights_are_a_class_of_their_own(tmp_path: Path) -> None:
    counters = Counters(SharedCounters.single_process())
    given: dict[str, Any] = {"anonymous": ("read:main:aaa",), "counters": counters}
    async with guarded(tmp_path, **given) as (site, rig):
        page = await repeated(site, "/simple/aaa/")
        assert (page.status, page.headers["Cache-Control"][:8]) == (200, "private,")
        for path in ("/simple/acme-tool/", "/team/simple/aaa/", "/no/simple/", "/metrics"):
            assert (await repeated(site, path)).status == 401, path
        assert b"acme-tool" not in (await site.get("/simple/")).body
        home = await site.get("/")
        assert (home.status, b"/team/" in home.body) == (200, False)
        lower = {"authorization": basic(rig.token("ci", "read:team"))}
        assert (await repeated(site, "/simple/aaa/", lower)).status == 403


@pytest.mark.parametrize(
    "value",
    [
        "Basic",
        "Basic !!!",
        "Basic " + basic("x")[6:-2],
        "Basic /////w==",
        "Basic YWxpY2U=",
        "Digest abc",
        "Bearer ",
        "Bearer " + "x" * 8000,
        "",
    ],
)
async def test_malformed_credentials_are_wrong_credentials(tmp_path: Path, value: str) -> None:
    async with guarded(tmp_path) as (site, _):
        for _ in range(2):
            answer = await site.get("/simple/aaa/", headers={"Authorization": value})
            assert answer.status == 401


async def test_two_headers_with_credentials_are_refused(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (site, rig):
        line = f"Authorization: {basic(rig.token('ci', 'read:main'))}\r\n"
        for second in (line, line.lower().replace("basic", "Basic"), "authorization: x\r\n"):
            request = f"GET /simple/aaa/ HTTP/1.1\r\nHost: x\r\n{line}{second}Connection: close\r\n"
            for _ in range(2):
                answer = await site.raw(f"{request}\r\n".encode())
                assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "form", ["password", "user name", "bearer"], ids=["password", "user name", "bearer"]
)
async def test_a_token_comes_in_three_forms(tmp_path: Path, form: str) -> None:
    async with guarded(tmp_path) as (site, rig):
        secret = rig.token("ci", "read:main")
        values = {
            "password": basic(secret),
            "user name": basic("", secret),
            "bearer": f"Bearer {secret}",
        }
        answer = await repeated(site, "/simple/aaa/", {"Authorization": values[form]})
        assert answer.status == 200


async def test_wrong_credentials_are_limited_and_missing_ones_are_not(tmp_path: Path) -> None:
    clock = Clock()
    async with guarded(tmp_path, clock=clock) as (site, rig):
        for _ in range(30):
            assert (await site.get("/simple/aaa/")).status == 401
        right = rig.headers("ci", "read:main")
        for number in range(10):
            wrong = {"Authorization": basic(f"wrong {number}", "alice")}
            assert (await site.get("/simple/aaa/", headers=wrong)).status == 401
        wrong = {"Authorization": basic("one more", "bob")}
        limited = await site.get("/simple/aaa/", headers=wrong)
        assert (limited.status, limited.headers["Retry-After"]) == (429, "60")
        # A token cannot be guessed: it must not suffer from others at its address.
        assert (await site.get("/simple/aaa/", headers=right)).status == 200
        only_user = {"Authorization": basic("", "alice")}
        assert (await site.get("/simple/aaa/", headers=only_user)).status == 401


async def test_the_log_names_the_principal_and_never_its_credentials(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (site, rig):
        secret = rig.token("ci", "read:main")
        await site.get("/simple/aaa/", headers={"Authorization": basic(secret)})
        line = await site.lines.next()
        assert line["user"] == "token:ci"
        assert secret not in str(line)
