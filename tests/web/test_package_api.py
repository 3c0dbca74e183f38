"""Changes of packages by HTTP, who may make them, and the feed of changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.model import normalize
from proxy.publish import Action, Selection, Upkeep
from tests.support.access import token_access
from tests.support.distributions import make_wheel
from tests.support.publishing import ADMIN, DirectoryPublisher, publish, publishing
from tests.support.site import Answer, Site, serving
from tests.web.test_uploads import body, listed, upload


@asynccontextmanager
async def site_of(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Site, DirectoryPublisher]]:
    """foo 1.0 and 2.0 are published."""
    async with publishing(tmp_path / "packages") as publisher:
        for version in ("1.0", "2.0"):
            await publish(publisher, make_wheel(tmp_path / "dist", "foo", version), ADMIN)
        given = {"publishers": {"": publisher}} | options
        async with serving(publisher.directory, **given) as site:
            yield site, publisher


async def change(
    site: Site, action: str, wanted: object, project: str = "foo", **headers: str
) -> Answer:
    given = {"Content-Type": "application/json"} | headers
    return await site.post(f"/-/packages/{project}/{action}", json.dumps(wanted).encode(), given)


async def test_each_action_changes_the_page(tmp_path: Path) -> None:
    async with site_of(tmp_path) as (site, _):
        answer = await change(site, "yank", {"version": "1.0", "reason": "bad"})
        assert answer.status == 200
        (made,) = json.loads(answer.body)
        assert (made["action"], made["version"], made["detail"]) == ("yank", "1.0", "bad")
        assert b'data-yanked="bad"' in (await site.get("/simple/foo/")).body
        assert (await change(site, "unyank", {"everything": True})).status == 200
        assert b"data-yanked" not in (await site.get("/simple/foo/")).body
        name = "foo-1.0-py3-none-any.whl"
        assert (await change(site, "delete", {"filename": name})).status == 200
        assert await listed(site) == ["foo-2.0-py3-none-any.whl"]
        assert (await change(site, "restore", {"version": "1.0"})).status == 200
        assert name in await listed(site)
        assert (await change(site, "status", {"status": "archived"})).status == 200
        assert b'content="archived"' in (await site.get("/simple/foo/")).body
        assert (await change(site, "claim", {}, "bar")).status == 200
        assert (await change(site, "owners", {"owners": ["ana"]})).status == 200


async def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    async with site_of(tmp_path) as (site, publisher):
        for action, wanted, message in (
            ("yank", {}, b"give a version, a filename, or everything"),
            ("yank", {"version": "1.0", "everything": True}, b"give a version, a filename, or"),
            ("yank", {"version": "3.0"}, b"there is no file version 3.0 of foo"),
            ("yank", {"versoin": "1.0"}, b"unknown field `versoin`"),
            ("yank", [], b"the JSON is not what is expected"),
            ("burn", {"version": "1.0"}, b"there is no such action"),
            ("status", {"status": "sold"}, b"there is no status"),
        ):
            answer = await change(site, action, wanted)
            assert (answer.status, message in answer.body) == (400, True), answer.body
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await site.post("/-/packages/foo/yank", b"version=1.0", form)
        assert (answer.status, b"send JSON" in answer.body) == (400, True)
        assert (await change(site, "yank", {"reason": "x" * 70_000})).status == 400
        assert len(publisher.journal.changes()) == 2


async def test_the_feed_gives_changes_after_a_number(tmp_path: Path) -> None:
    async with site_of(tmp_path) as (site, _):
        answer = await site.get("/-/changes")
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.body.splitlines()]
        assert [line["number"] for line in lines] == [1, 2]
        assert lines[0]["filename"] == "foo-1.0-py3-none-any.whl"
        assert (await site.get("/-/changes?since=2")).body == b""
        waiting = asyncio.create_task(site.get("/-/changes?since=2&wait=30"))
        await change(site, "yank", {"version": "1.0"})
        (line,) = (await waiting).body.splitlines()
        assert json.loads(line)["action"] == "yank"
        assert (await site.get("/-/changes?since=one")).status == 400
        assert (await site.get(f"/-/changes?since={10**30}")).body == b""


async def test_who_waits_for_a_change_does_not_delay_the_end_of_the_server(tmp_path: Path) -> None:
    stopping = asyncio.Event()
    async with site_of(tmp_path, ready=lambda: not stopping.is_set()) as (site, _):
        waiting = asyncio.create_task(site.get("/-/changes?since=2&wait=60"))
        await change(site, "yank", {"version": "3.0"})  # by then the request has arrived
        stopping.set()
        async with asyncio.timeout(20):
            assert (await waiting).body == b""


async def test_each_change_needs_its_right(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-foo", "1.0")
    async with token_access(tmp_path) as rig, site_of(tmp_path, access=rig.access) as (site, pub):
        reader = rig.headers("r", "read:*")
        acme = rig.headers("a", "upload:private:acme-*", "read:*")
        wanted = {"version": "1.0"}
        assert (await upload(site, body(wheel))).status == 401
        for headers in (reader, rig.headers("other", "upload:else")):
            assert (await site.post("/legacy/", body(wheel), headers)).status == 403
        assert (await site.post("/legacy/", body(wheel), acme)).status == 200
        assert pub.journal.owners(normalize("acme-foo")) == ["token:a"]
        assert (await change(site, "yank", wanted, **acme)).status == 403
        assert (await change(site, "yank", wanted, "acme-foo", **reader)).status == 403
        other = rig.headers("b", "upload:private:acme-*")
        answer = await change(site, "yank", wanted, "acme-foo", **other)
        assert (answer.status, b"acme-foo belongs to token:a" in answer.body) == (403, True), (
            answer.body
        )
        assert (await change(site, "yank", wanted, "acme-foo", **acme)).status == 200
        assert (await change(site, "claim", {}, "acme-bar", **acme)).status == 403
        admin = rig.headers("root", "admin")
        assert (await change(site, "claim", {}, "acme-bar", **admin)).status == 200
        assert (await change(site, "unyank", wanted, "acme-foo", **admin)).status == 200


async def test_the_feed_has_only_visible_projects(tmp_path: Path) -> None:
    async with token_access(tmp_path) as rig, site_of(tmp_path, access=rig.access) as (site, _):
        assert (await site.get("/-/changes")).status == 401
        acme = rig.headers("a", "read:*:acme-*")
        assert (await site.get("/-/changes", headers=acme)).body == b""
        everything = rig.headers("b", "read:*")
        assert len((await site.get("/-/changes", headers=everything)).body.splitlines()) == 2


async def test_a_feed_goes_on_after_changes_that_are_not_visible(tmp_path: Path) -> None:
    """Its client cannot: it sees no number that it could begin after. It waits for what it may see,
    too."""
    wheel = make_wheel(tmp_path / "dist", "acme-foo", "1.0")
    async with token_access(tmp_path) as rig, site_of(tmp_path, access=rig.access) as (site, pub):
        change_of = pub.change(Action.CLAIM, normalize("bar"), ADMIN)
        pub.packages.journal.complete(*[change_of] * 1500)
        await publish(pub, wheel, ADMIN)
        acme = rig.headers("a", "read:*:acme-*")
        (line,) = (await site.get("/-/changes", headers=acme)).body.splitlines()
        assert json.loads(line)["project"] == "acme-foo"
        number = json.loads(line)["number"]
        address = f"/-/changes?since={number}&wait=30"
        waiting = asyncio.create_task(site.get(address, headers=acme))
        await Upkeep(pub).yank(Selection(normalize("foo")), "", ADMIN)
        await Upkeep(pub).yank(Selection(normalize("acme-foo")), "", ADMIN)
        (line,) = (await waiting).body.splitlines()
        assert json.loads(line)["project"] == "acme-foo"


@pytest.mark.parametrize("path", ["/-/changes", "/-/packages/foo/yank"])
async def test_an_index_without_uploads_has_no_changes(tmp_path: Path, path: str) -> None:
    async with site_of(tmp_path, publishers={}) as (site, _):
        if path.endswith("yank"):
            assert (await change(site, "yank", {"version": "1.0"})).status == 405
        else:
            assert (await site.get(path)).status == 404


async def test_a_version_is_promoted_by_who_may_read_there_and_publish_here(
    tmp_path: Path,
) -> None:
    async with (
        token_access(tmp_path) as rig,
        publishing(tmp_path / "prod") as prod,
        site_of(tmp_path, access=rig.access) as (_, dev),
        serving(
            dev.directory,
            mounted={"/dev": dev.directory, "/prod": prod.directory},
            publishers={"/dev": dev, "/prod": prod},
            access=rig.access,
        ) as site,
    ):

        async def promoted(headers: dict[str, str], source: str = "dev") -> Answer:
            wanted = json.dumps({"version": "1.0", "from": source}).encode()
            given = {"Content-Type": "application/json"} | headers
            return await site.post("/prod/-/packages/foo/promote", wanted, given)

        no_source = rig.headers("a", "upload:private", "read:other")
        assert (await promoted(no_source)).status in (403, 404)
        assert (await promoted(rig.headers("b", "read:*"))).status == 403
        both = rig.headers("c", "upload:private", "read:*")
        answer = await promoted(both, "stage")
        assert (answer.status, b"'stage' is no other index" in answer.body) == (400, True)
        assert prod.journal.changes() == []
        answer = await promoted(both)
        assert answer.status == 200, answer.body
        (made,) = json.loads(answer.body)
        assert (made["version"], made["detail"]) == ("1.0", dev.name)
        assert [each.filename for each in prod.journal.changes()] == [made["filename"]]
