"""Administration over HTTP: who may, which requests are understood, and what the others get."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import ConfigurationError, NoSuchProject, UpstreamTimeout
from proxy.model import ProjectName
from tests.support.access import token_access
from tests.support.fake_index import FakeIndex
from tests.support.site import Answer, Site, serving

READS = ("status", "cache", "pins", "downloads", "upstreams", "settings")
ACTIONS = ("refresh", "purge", "pin", "unpin", "reload")


class Offered:
    """An administration that remembers what it was asked, and answers with that."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.error: Exception | None = None

    async def _asked(self, *question: object) -> Any:
        self.asked.append(question)
        if self.error:
            raise self.error
        return {"asked": question}

    async def status(self) -> Any:
        return await self._asked("status")

    async def cached(self, project: ProjectName | None, after: str) -> Any:
        return await self._asked("cache", project, after)

    async def pins(self) -> Any:
        return await self._asked("pins")

    async def downloads(self) -> Any:
        return await self._asked("downloads")

    async def upstreams(self) -> Any:
        return await self._asked("upstreams")

    async def settings(self) -> Any:
        return await self._asked("settings")

    async def refresh(self, project: ProjectName, index: str) -> Any:
        return await self._asked("refresh", project, index)

    async def purge(self, project: ProjectName | None, filename: str) -> Any:
        return await self._asked("purge", project, filename)

    async def pin(self, project: ProjectName, filename: str) -> Any:
        return await self._asked("pin", project, filename)

    async def unpin(self, project: ProjectName, filename: str) -> Any:
        return await self._asked("unpin", project, filename)

    async def reload(self) -> Any:
        return await self._asked("reload")


@pytest.fixture
def offered() -> Offered:
    return Offered()


def here(offered: Offered, **options: Any) -> AbstractAsyncContextManager[Site]:
    """A server of which the settings name no public address."""
    return serving(FakeIndex(), administration=offered, **{"fixed_url": False, **options})


@pytest.mark.parametrize("options", [{"fixed_url": True}, {"prefix": "/base"}])
async def test_behind_another_server_access_has_to_be_controlled(
    offered: Offered, tmp_path: Path, options: dict[str, Any]
) -> None:
    base = options.get("prefix", "")
    async with here(offered, **options) as site:
        assert (await site.get(f"{base}/-/admin/status")).status == 403
    assert offered.asked == []
    async with (
        token_access(tmp_path) as rig,
        here(offered, access=rig.access, **options) as site,
    ):
        admin = rig.headers("a", "admin")
        assert (await site.get(f"{base}/-/admin/status", headers=admin)).status == 200


async def post(site: Site, name: str, body: bytes = b"{}", **headers: str) -> Answer:
    given = {"Content-Type": "application/json"} | headers
    lines = "".join(f"{key}: {value}\r\n" for key, value in given.items() if value)
    head = f"POST /-/admin/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{lines}"
    raw = await site.raw(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    first, _, rest = raw.partition(b"\r\n")
    return Answer(int(first.split()[1]), {}, rest.partition(b"\r\n\r\n")[2])  # type: ignore[arg-type]


async def test_requests_from_this_machine_are_answered(offered: Offered) -> None:
    base = ""
    async with here(offered) as site:
        for name in READS:
            answer = await site.get(f"{base}/-/admin/{name}")
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
            assert json.loads(answer.body)["asked"][0] == name
            assert (await site.get(f"{base}/-/admin/{name}", "HEAD")).body == b""
            assert (await site.get(f"{base}/-/admin/{name}", "POST")).status == 405
        for name in ACTIONS:
            for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
                assert (await site.get(f"{base}/-/admin/{name}", method)).status == 405
        await site.get(f"{base}/-/admin/cache?project=F.oo&after=x")
        assert offered.asked[-1] == ("cache", "f-oo", "x")


@pytest.mark.parametrize(
    ("name", "body", "asked"),
    [
        ("refresh", {"project": "Foo", "index": "main"}, ("refresh", "foo", "main")),
        ("purge", {"project": "foo"}, ("purge", "foo", "")),
        ("purge", {"project": "foo", "filename": "f.whl"}, ("purge", "foo", "f.whl")),
        ("purge", {"everything": True}, ("purge", None, "")),
        ("pin", {"project": "foo", "filename": "f.whl"}, ("pin", "foo", "f.whl")),
        ("unpin", {"project": "foo"}, ("unpin", "foo", "")),
        ("reload", {}, ("reload",)),
    ],
)
async def test_actions(
    offered: Offered, name: str, body: dict[str, object], asked: tuple[object, ...]
) -> None:
    async with here(offered) as site:
        answer = await post(site, name, json.dumps(body).encode())
        assert answer.status == 200, answer.body
        assert offered.asked == [asked]


@pytest.mark.parametrize(
    ("name", "body", "headers"),
    [
        ("purge", b"{}", {}),
        ("purge", b"", {}),
        ("purge", b"[]", {}),
        ("purge", b"{", {}),
        ("purge", b"\xff\xfe", {}),
        ("purge", b"[" * 60_000, {}),
        ("purge", b'{"project": "' + b"a" * 70_000 + b'"}', {}),
        ("purge", b'{"project": 3}', {}),
        ("purge", b'{"project": null}', {}),
        ("purge", b'{"project": "../x"}', {}),
        ("purge", b'{"project": "foo", "filename": "../x"}', {}),
        ("purge", b'{"project": "foo", "filename": "a\\u0000b"}', {}),
        ("purge", b'{"project": "foo", "everything": true}', {}),
        ("purge", b'{"project": "foo", "force": true}', {}),
        ("reload", b'{"x": 1}', {}),
        ("purge", b'{"project": "foo"}', {"Content-Type": "text/plain"}),
        ("purge", b'{"project": "foo"}', {"Content-Type": "application/x-www-form-urlencoded"}),
        ("purge", b'{"project": "foo"}', {"Content-Type": ""}),
    ],
)
async def test_what_is_not_understood_is_400_and_does_nothing(
    offered: Offered, name: str, body: bytes, headers: dict[str, str]
) -> None:
    async with here(offered) as site:
        answer = await post(site, name, body, **headers)
        assert answer.status == 400, answer.body
        problem = json.loads(answer.body)
        assert problem["status"] == 400 and problem["detail"]
        assert offered.asked == []


@pytest.mark.parametrize(
    "query", ["?project=../x", "?project=a&project=b", "?x=1", "?project=%00", "?after=a&after=b"]
)
async def test_a_query_that_is_not_understood_is_400(offered: Offered, query: str) -> None:
    async with here(offered) as site:
        assert (await site.get(f"/-/admin/cache{query}")).status == 400
        assert offered.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 front"},
        {"X-Real-IP": "127.0.0.1"},
        {"Host": "evil.example.com"},
        {"Host": "127.0.0.1.example.com"},
        {"Host": "[::1"},
        {"Origin": "http://evil.example.com"},
        {"Origin": "null"},
    ],
)
async def test_without_access_control_a_request_has_to_come_straight_from_this_machine(
    offered: Offered, headers: dict[str, str]
) -> None:
    async with here(offered) as site:
        answer = await site.get("/-/admin/status", headers=headers)
        assert answer.status == 403
        assert offered.asked == []
        own = {"Origin": f"http://127.0.0.1:{site.port}"}
        assert (await site.get("/-/admin/status", headers=own)).status == 200
        assert (await site.get("/-/admin/status", headers={"Host": "localhost"})).status == 200


async def test_with_access_control_the_right_counts(offered: Offered, tmp_path: Path) -> None:
    async with (
        token_access(tmp_path, anonymous=("read:*",)) as rig,
        serving(FakeIndex(), administration=offered, access=rig.access) as site,
    ):
        reader, admin = rig.headers("r", "read:*"), rig.headers("a", "admin")
        refresher = rig.headers("f", "refresh")
        for name in READS:
            path = f"/-/admin/{name}"
            assert (await site.get(path)).status == 401
            assert (await site.get(path, headers=reader)).status == 403
            assert (await site.get(path, headers=refresher)).status == 403
            assert (await site.get(path, headers=admin)).status == 200
        assert all(asked[0] in READS for asked in offered.asked)
        body = b'{"project": "foo"}'
        assert (await post(site, "refresh", body)).status == 401
        assert (await post(site, "purge", body, **refresher)).status == 403
        smallest = {"refresh": "refresh", "purge": "admin", "audit": "audit"}
        for name, right in smallest.items():
            answer = await post(site, name, body, **reader)
            assert answer.body.decode().strip() == f"No right to {right}"
        assert (await post(site, "refresh", body, **refresher)).status == 200
        assert (await post(site, "purge", body, **admin)).status == 200
        far = {**admin, "Host": "packages.example.com", "X-Forwarded-For": "192.0.2.1"}
        assert (await site.get("/-/admin/status", headers=far)).status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoSuchProject("foo", "the cache has nothing of it"), 404),
        (ConfigurationError("index", "there is no index x", "see [indexes]"), 422),
        (UpstreamTimeout("pypi", "did not answer"), 504),
    ],
)
async def test_errors_are_problem_documents(
    offered: Offered, error: Exception, status: int
) -> None:
    offered.error = error
    async with here(offered) as site:
        answer = await site.get("/-/admin/status")
        assert answer.status == status
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert json.loads(answer.body) == {
            "title": "Not done",
            "status": status,
            "detail": str(error),
        }


@pytest.mark.parametrize(
    "path", ["", "/", "/x", "/status/", "/status/x", "/%2e%2e/status", "//status", "/STATUS"]
)
async def test_other_addresses_do_nothing(offered: Offered, path: str) -> None:
    async with here(offered) as site:
        assert (await site.get(f"/-/admin{path}")).status in (301, 404)
        assert offered.asked == []
