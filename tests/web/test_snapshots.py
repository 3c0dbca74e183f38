"""Local indexes as they were: addresses of instants and snapshots, and snapshots by HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proxy.composition import index_as_of
from proxy.indexes import Fallthrough, Guarded, Merged, Route, Routed
from proxy.model import ProjectName, ProjectStatus
from proxy.policies import ParsedPages, project_pattern
from proxy.publish import Selection, Upkeep
from proxy.web.as_of import canonical
from tests.support.access import token_access
from tests.support.clock import Clock
from tests.support.distributions import make_wheel
from tests.support.fake_index import FakeIndex
from tests.support.judging import policies_of
from tests.support.policies import upload_time
from tests.support.publishing import ADMIN, DirectoryPublisher, publish, publishing
from tests.support.site import Answer, Site, serving

FOO = ProjectName("foo")
NOW = 1_800_000_000.0
PAGES = {"Accept": "application/vnd.pypi.simple.v1+json"}
JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def site_of(
    tmp_path: Path, clock: Clock, **options: Any
) -> AsyncIterator[tuple[Site, DirectoryPublisher]]:
    """foo 1.0 is published, and is also in an index of others, beside "open"."""
    async with publishing(tmp_path / "packages", clock=clock) as publisher:
        await publish(publisher, make_wheel(tmp_path / "dist", "foo", "1.0"), ADMIN)
        others = FakeIndex("others")
        for number in range(2):
            when = upload_time(NOW - 10 + 20 * number)
            others.add(ProjectName("open"), f"open-{number}.zip", b"", uploaded=when)
            others.add(FOO, f"foo-9{number}.zip", b"", uploaded=upload_time(NOW - 10))
        rules = policies_of({"kind": "deny", "versions": {"foo": "==3"}, "show": "hide"})
        local = Merged("local", [Guarded(publisher.directory, rules)])
        everything = [Route(project_pattern(["*"]), Fallthrough("all", [local, others]), "*")]
        given: dict[str, Any] = {
            "publishers": {"": publisher},
            "as_of": lambda index, moment: index_as_of(index, moment, ParsedPages(), [publisher]),
            "clock": clock,
        }
        async with serving(Routed("main", everything), **given | options) as site:
            yield site, publisher


async def listed(site: Site, moment: str = "", project: str = "foo") -> list[str]:
    root = f"/+asof/{moment}" if moment else ""
    answer = await site.get(
        f"{root}/simple/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    assert answer.status == 200, answer.body
    return [file["filename"] for file in json.loads(answer.body)["files"]]


async def names(site: Site, moment: str = "") -> set[str]:
    answer = await site.get(f"/+asof/{moment}/simple/" if moment else "/simple/", headers=PAGES)
    return {project["name"] for project in json.loads(answer.body)["projects"]}


async def snapshot(
    site: Site, name: str, action: str, body: object = None, **headers: str
) -> Answer:
    sent = json.dumps(body or {}).encode()
    return await site.post(f"/-/snapshots/{name}/{action}", sent, JSON | headers)


async def test_an_index_is_as_it_was_with_what_was_deleted_since(tmp_path: Path) -> None:
    clock = Clock(NOW)
    async with site_of(tmp_path, clock) as (site, publisher):
        clock.advance(1)
        first = canonical(clock())
        assert (await snapshot(site, "first", "create")).status == 200
        clock.advance(60)
        await Upkeep(publisher).delete(Selection(FOO), ADMIN)
        for version in ("2.0", "3.0"):
            await publish(publisher, make_wheel(tmp_path / "dist", "foo", version), ADMIN)
        clock.advance(1)
        second = canonical(clock())
        old, new = "foo-1.0-py3-none-any.whl", "foo-2.0-py3-none-any.whl"
        assert await listed(site) == [new]
        assert await listed(site, second) == [new]  # what is denied now was not allowed then
        for moment in (first, "first"):
            assert await listed(site, moment) == [old]
            assert await listed(site, moment, "open") == ["open-0.zip"]
            page = await site.get(f"/+asof/{moment}/simple/foo/")
            address = page.body.decode().partition('href="../..')[2].partition("#")[0]
            wheel = await site.get(f"/+asof/{moment}{address}")
            assert wheel.body == (tmp_path / "dist" / old).read_bytes()
            assert (await site.get(f"/+asof/{moment}{address}.metadata")).status == 200
            assert (await site.get(address)).status == 404
            explained = await site.get(f"/+asof/{moment}/+explain/foo")
            assert (old in explained.body.decode(), new in explained.body.decode()) == (True, False)
            assert await names(site, moment) == {"foo", "open"}
        await publish(publisher, make_wheel(tmp_path / "dist", "later", "1.0"), ADMIN)
        assert await names(site) == {"foo", "later", "open"}
        assert await names(site, second) == {"foo", "open"}
        before = canonical(NOW - 1)
        assert await names(site, before) == {"foo", "open"}  # others have it too
        assert await listed(site, before) == []  # the private name goes to no other index
        assert await listed(site, before, "open") == ["open-0.zip"]


async def test_what_is_quarantined_now_is_in_no_view(tmp_path: Path) -> None:
    clock = Clock(NOW)
    async with site_of(tmp_path, clock) as (site, publisher):
        upkeep = Upkeep(publisher)
        await upkeep.set_status(FOO, ProjectStatus("archived"), ADMIN)
        clock.advance(1)
        archived = canonical(clock())
        await upkeep.set_status(FOO, ProjectStatus("active"), ADMIN)
        assert b'content="archived"' in (await site.get(f"/+asof/{archived}/simple/foo/")).body
        assert len(await listed(site, archived)) == 1
        await upkeep.set_status(FOO, ProjectStatus("quarantined"), ADMIN)
        assert await listed(site, archived) == []


async def test_snapshots_by_http(tmp_path: Path) -> None:
    clock = Clock(NOW)
    async with site_of(tmp_path, clock) as (site, publisher):
        (made,) = json.loads((await snapshot(site, "one", "create")).body)
        assert (made["action"], made["detail"], made["project"]) == ("snapshot", "one", "")
        (one,) = json.loads((await site.get("/-/snapshots")).body)
        assert (one["name"], one["number"], one["at"]) == ("one", 2, NOW)
        await Upkeep(publisher).delete(Selection(FOO), ADMIN)
        (restored,) = json.loads((await snapshot(site, "one", "restore")).body)
        assert (restored["action"], restored["detail"]) == ("restore", "snapshot one")
        for name, action, body, message in (
            ("one", "create", {}, b"there is a snapshot one already"),
            ("two", "delete", {}, b"has no snapshot 'two'"),
            ("One", "create", {}, b"cannot be the name of a snapshot"),
            ("one", "burn", {}, b"there is no such action"),
            ("one", "restore", {"all": True}, b"unknown field `all`"),
        ):
            answer = await snapshot(site, name, action, body)
            assert (answer.status, message in answer.body) == (400, True), answer.body
        assert (await snapshot(site, "one", "delete")).status == 200
        assert (await site.get("/-/snapshots")).body == b"[]"
        for name in ("one", "One", "-one"):
            answer = await site.get(f"/+asof/{name}/simple/foo/")
            assert (answer.status, b"the name of a snapshot" in answer.body) == (404, True)


async def test_snapshots_are_changed_by_administrators(tmp_path: Path) -> None:
    clock = Clock(NOW)
    async with (
        token_access(tmp_path) as rig,
        site_of(tmp_path, clock, access=rig.access) as (site, _),
    ):
        publisher, admin = rig.headers("a", "upload:*", "read:*"), rig.headers("b", "admin")
        assert (await snapshot(site, "one", "create")).status == 401
        assert (await snapshot(site, "one", "create", **publisher)).status == 403
        assert (await snapshot(site, "one", "create", **admin)).status == 200
        assert (await site.get("/-/snapshots")).status == 401
        assert b'"one"' in (await site.get("/-/snapshots", headers=publisher)).body
        assert (await site.get("/+asof/one/simple/foo/")).status == 401
        assert (await site.get("/+asof/one/simple/foo/", headers=publisher)).status == 200


async def test_an_index_without_uploads_has_no_snapshots(tmp_path: Path) -> None:
    async with site_of(tmp_path, Clock(NOW), publishers={}) as (site, _):
        assert (await site.get("/-/snapshots")).status == 404
        assert (await snapshot(site, "one", "create")).status == 405
        assert (await site.get("/+asof/one/simple/foo/")).status == 404
