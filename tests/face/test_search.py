"""Search: exact, prefix, trigram and summary, here only, and always the same whole page."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest

from proxy.storage import HELD, KNOWN, PRIVATE, Listing, SearchBusy, SearchFile
from tests.support.distributions import make_wheel
from tests.support.face_world import ATTACK, FaceWorld
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def hits(text: str) -> list[str]:
    return re.findall(r'<h2><a href="\.\./project/([^/"]+)/"', text)


async def test_projects_are_found_by_name_and_by_summary(world: FaceWorld) -> None:
    _, text = await world.get("/search/?q=ACME_tool")
    assert hits(text)[0] == "acme-tool" and ">exact<" in text and ">1.3<" in text
    assert 'id="results"' in text and 'name="q"' in text and 'name="where"' in text
    assert hits((await world.get("/search/?q=cme"))[1]) == ["acme-base", "acme-tool"]
    assert hits((await world.get("/search/?q=pictures"))[1]) == ["acme-tool"]
    assert hits((await world.get("/search/?q=acme&where=held"))[1]) == []
    assert hits((await world.get("/search/"))[1]) == ["acme-base", "acme-tool"]


async def test_a_file_that_was_just_copied_in_is_found(world: FaceWorld) -> None:
    make_wheel(world.packages, "brand-new", "0.1")
    assert hits((await world.get("/search/?q=brand"))[1]) == ["brand-new"]
    for wheel in world.packages.glob("brand_new*"):
        wheel.unlink()


async def test_a_project_that_was_installed_is_held(world: FaceWorld) -> None:
    name = "demo_base-1.0-py3-none-any.whl"
    async with world.client.get(f"{world.server.index}demo-base/") as page:
        found = re.search(rf'href="\.\./\.\./([^"#]*{name})', await page.text())
    assert found
    async with world.client.get(f"{world.server.address}/{found[1]}") as file:
        assert len(await file.read()) > 100

    async def is_held() -> bool:
        return hits((await world.get("/search/?q=demo-base&where=held"))[1]) == ["demo-base"]

    await until(is_held)  # the file is moved into the store after its last byte was sent


async def test_a_yanked_file_that_was_sent_is_among_what_happened(world: FaceWorld) -> None:
    async with world.client.get(f"{world.server.index}demo-base/") as page:
        found = re.search(r'href="\.\./\.\./([^"#]*demo_base-0.9[^"#]*)', await page.text())
    assert found
    async with world.client.get(f"{world.server.address}/{found[1]}") as file:
        assert len(await file.read()) > 100

    async def is_said() -> bool:
        await world.get("/search/?q=demo-base")
        _, text = await world.get("/-/activity")
        return "demo_base-0.9-py3-none-any.whl is yanked, and was sent: unsafe" in text

    await until(is_said)


async def test_nothing_that_is_typed_is_sent_upstream(world: FaceWorld) -> None:
    before = len(world.upstream.requests)
    for query in ("secret-name", "secret", "s", "%25", "..", "a b c"):
        status, text = await world.get(f"/search/?q={query}")
        assert status == 200 and 'id="results"' in text
    assert len(world.upstream.requests) == before
    _, text = await world.get("/search/?q=secret-name")
    assert 'href="../project/secret-name/"' in text  # the way on


async def test_what_is_not_found_is_proposed(world: FaceWorld) -> None:
    _, text = await world.get("/search/?q=acme-tooll")
    assert 'Did you mean <a href="../project/acme-tool/">acme-tool</a>?' in text


async def test_a_hostile_query_is_shown_as_text(world: FaceWorld) -> None:
    from urllib.parse import quote

    _, text = await world.get(f"/search/?q={quote(ATTACK)}&where=x&page=-1")
    assert "<script>window" not in text and "<img" not in text


async def test_what_a_project_needs_and_what_needs_it(world: FaceWorld) -> None:
    await world.get("/search/?q=acme")  # which reads what has changed
    status, text = await world.get("/project/acme-tool/dependencies/")
    assert status == 200 and 'href="../../../project/demo/"' in text
    _, text = await world.get("/project/demo/dependencies/")
    assert 'href="../../../project/acme-tool/"' in text.split('id="needed-by"')[1]


@pytest.fixture
def file(tmp_path: Path) -> SearchFile:
    return SearchFile(tmp_path / "search.sqlite")


async def test_the_best_hits_come_first(file: SearchFile) -> None:
    names = [("flask", KNOWN), ("flask-x", HELD), ("my-flask", PRIVATE), ("flas", HELD)]
    await file.put("main", [Listing(name, kind) for name, kind in names])
    await file.put("other", [Listing("flask-other", PRIVATE)])
    found = await file.find("main", "flask", (PRIVATE, HELD, KNOWN))
    assert [each.name for each in found.listings] == ["flask", "flask-x", "my-flask"]
    assert found.complete
    assert (await file.find("main", "fl", (HELD,))).listings[0].name == "flas"


async def test_a_name_with_a_typing_error_leads_to_the_right_one(file: SearchFile) -> None:
    names = ("requests", "requests-cache", "flask", "zzz", "pendulum")
    await file.put("main", [Listing(name, HELD) for name in names])
    await file.put("other", [Listing("reqests", HELD)])
    assert await file.near("main", "reqests") == ["requests", "requests-cache"]
    assert await file.near("main", "flaks") == ["flask"]
    assert await file.near("main", "pendlum") == ["pendulum"]
    for nothing in ("", "ab", "quite-another-name", 'x"y OR'):
        assert await file.near("main", nothing) == []


async def test_a_changed_version_is_remembered_with_the_former(file: SearchFile) -> None:
    for version in ("1.0", "1.0", "1.1"):
        await file.put("main", [Listing("demo", HELD, version)])
    (listing,) = await file.last_changed("main", 5)
    assert (listing.version, listing.former) == ("1.1", "1.0") and listing.changed > 0


async def test_a_ring_of_needs_ends(file: SearchFile) -> None:
    await file.put("main", [], [("a", "b", ""), ("b", "c", ""), ("c", "a", ""), ("a", "x", "e")])
    await file.put("main", [Listing("c", HELD), Listing("b", KNOWN)])
    found = await file.below("main", "a")
    assert found.levels == [["b"], ["c"]] and ("c", "a") in found.edges
    hidden = await file.below("main", "a", lambda name: name != "b")
    assert hidden.levels == [["b"]]  # what it needs would be a sign of it
    assert await file.needed_by("main", "a") == [("c", "")]
    assert await file.needed_by("main", "c") == []  # b is neither private nor in the cache


async def test_few_searches_wait_and_others_are_refused(file: SearchFile) -> None:
    """So that people who type never keep a thread busy for long."""
    await file.put("main", [Listing(f"name-{n}", HELD) for n in range(500)])
    found = await asyncio.gather(
        *(file.find("main", "name", (HELD,)) for _ in range(20)), return_exceptions=True
    )
    assert any(isinstance(each, SearchBusy) for each in found)
    assert not isinstance(found[0], BaseException)


async def test_a_damaged_file_is_made_again(tmp_path: Path, file: SearchFile) -> None:
    (tmp_path / "search.sqlite").write_bytes(b"no database" * 1000)
    await file.put("main", [Listing("demo", HELD)])
    await file.put("main", [Listing("demo", HELD)])
    assert await file.names("main") == {"demo"}
    with sqlite3.connect(tmp_path / "search.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
