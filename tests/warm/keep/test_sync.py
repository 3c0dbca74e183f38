"""Runs of keep tables: what is fetched, pinned and reported after upstream has changed."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.model import ProjectName
from proxy.warm.keep.run import UNCONFIRMED
from proxy.warm.keep.schedule import MATURITY_INTERVAL, Schedule, SyncRunning, lock_path
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.distributions import make_wheel
from tests.support.faults import Fault
from tests.support.keep_tables import changes_of, keep, opened, run, runner
from tests.support.policies import upload_time
from tests.support.requirement_sources import LINUX, WINDOWS, choice
from tests.support.warm_site import WarmSite, names, warm_site

pytestmark = pytest.mark.slow

ONE, TWO = "top-1.0-py3-none-any.whl", "top-2.0-py3-none-any.whl"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[WarmSite]:
    async with warm_site(tmp_path) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    """From now on: the file system tells when files were stored."""
    return Clock(time.time())


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("vanished", ["hide", "show"])
async def test_changes_upstream_since_the_last_run_are_fetched_and_reported(
    here: WarmSite, clock: Clock, vanished: str
) -> None:
    one = here.wheel("top")
    table = keep("top", latest=1)
    async with opened(here, clock, vanished_files=vanished) as proxy:
        first = await run(proxy, clock, table)
        assert first[0].complete and changes_of(first) == [("added", ONE)]
        assert here.store.path(digest(one)).exists()
        assert changes_of(await run(proxy, clock, table)) == []
        two = here.wheel("top", "2.0")
        here.upstream.remove(ONE)
        clock.advance(1)  # the page is still fresh to clients
        second = await run(proxy, clock, table)
        assert changes_of(second) == [("removed", ONE), ("added", TWO)]
        assert here.store.path(digest(two)).exists()
        here.list(two, yanked="broken")
        clock.advance(1)
        third = await run(proxy, clock, table)
        assert [(one.change, one.filename, one.reason) for one in third[0].changes] == [
            ("yanked", TWO, "broken")
        ]
        clock.advance(1)
        assert changes_of(await run(proxy, clock, table)) == []


async def test_a_file_removed_upstream_is_still_served_by_its_digest(
    here: WarmSite, clock: Clock
) -> None:
    one = here.wheel("top")
    table = keep("top")
    async with opened(here, clock, max_size=1) as proxy:
        await run(proxy, clock, table)
        here.wheel("top", "2.0")
        here.upstream.remove(ONE)
        clock.advance(600)
        assert ("removed", ONE) in changes_of(await run(proxy, clock, table))
        clock.advance(600)
        await proxy.cache.evictor.enforce(10**6)
        artifact = await proxy.index.file(ProjectName("top"), ONE, digest(one))
        assert await read_blob(artifact.blob) == one.read_bytes()


async def test_a_removed_project_is_reported_once_its_removal_is_certain(
    here: WarmSite, clock: Clock
) -> None:
    here.wheel("top")
    here.wheel("dep")
    async with opened(here, clock) as proxy:
        await run(proxy, clock, keep("top", "dep"))
        here.upstream.remove("dep-1.0-py3-none-any.whl")
        here.upstream.pages.pop("dep", None)
        here.upstream.fault("/simple/dep/", Fault(status=404))
        clock.advance(1)
        assert changes_of(await run(proxy, clock, keep("top", "dep"))) == []
        clock.advance(86400)
        ran = await run(proxy, clock, keep("top", "dep"))
        assert changes_of(ran) == [("removed", "dep-1.0-py3-none-any.whl")]
        assert not ran[0].complete


async def test_a_dry_run_lists_and_changes_nothing(
    here: WarmSite, clock: Clock, tmp_path: Path
) -> None:
    one = here.wheel("top")
    table, changes = keep("top"), tmp_path / "changes.jsonl"
    async with opened(here, clock) as proxy:
        ran = await run(proxy, clock, table, dry=here.settings(), changes=changes)
        assert [need.filename for need in ran[0].fetched] == [ONE]
        assert not here.store.path(digest(one)).exists() and not changes.exists()
        assert await proxy.cache.pins.all() == set()
        assert here.upstream.count(f"{ONE}", "GET") == here.upstream.count(f"{ONE}.metadata")
        assert here.stored_digests() == set()
        await run(proxy, clock, table)
        assert (await run(proxy, clock, table, dry=here.settings()))[0].fetched == ()
        here.wheel("top", "2.0")
        pins = await proxy.cache.pins.all()
        clock.advance(1)
        assert len((await run(proxy, clock, table, dry=here.settings()))[0].fetched) == 1
        assert await proxy.cache.pins.all() == pins
        assert changes_of(await run(proxy, clock, table)) == [("added", TWO)]


@pytest.mark.parametrize("how", ["not listed", "not there", "no wheel"])
async def test_a_file_read_for_its_metadata_still_counts_as_new(
    here: WarmSite, clock: Clock, how: str
) -> None:
    files = {here.sdist("top")}
    if how != "no wheel":
        files |= {make_wheel(here.index, "top", "1.0", requires=["dep"]), here.wheel("dep")}
        here.list(here.index / ONE, metadata=how == "not there")
        here.upstream.fault(f"{ONE}.metadata", Fault(status=404))
    wanted = {file.name for file in files}
    async with opened(here, clock) as proxy:
        for _ in range(2):
            (ran,) = await run(proxy, clock, keep("top"), dry=here.settings())
            assert {need.filename for need in ran.fetched} == wanted and ran.complete
            assert here.stored_digests() == set()
        (ran,) = await run(proxy, clock, keep("top"))
        assert {need.filename for need in ran.fetched} == wanted
        assert {digest(file) for file in files} <= here.stored_digests()
        (ran,) = await run(proxy, clock, keep("top"))
        assert ran.complete and ran.fetched == ()


async def test_pinned_files_are_not_evicted_until_unpinned(here: WarmSite, clock: Clock) -> None:
    one, other = here.wheel("top"), here.wheel("other")
    async with opened(here, clock, max_size=1) as proxy:
        await run(proxy, clock, keep("top"), keep("other"))
        clock.advance(600)
        await proxy.cache.evictor.enforce(10**6)
        assert here.store.path(digest(one)).exists() and here.store.path(digest(other)).exists()
        await run(proxy, clock, keep("top"))  # the other table is gone
        clock.advance(600)
        await proxy.cache.evictor.enforce(10**6)
        assert here.store.path(digest(one)).exists() and not here.store.path(digest(other)).exists()


async def test_filters_by_name_version_target_kind_and_size(here: WarmSite, clock: Clock) -> None:
    here.wheel("top", requires=["dep"])
    here.wheel("top", "2.0", requires=["dep"])
    here.sdist("top")
    here.wheel("dep", padding=100_000)
    for platform in (LINUX, WINDOWS):
        here.wheel("built", tag=f"cp312-cp312-{platform}")
    async with opened(here, clock) as proxy:

        async def found(*sources: str, **more: object) -> set[str]:
            (ran,) = await run(proxy, clock, keep(*sources, **more), dry=here.settings())
            return names(ran)  # type: ignore[arg-type]

        dep = "dep-1.0-py3-none-any.whl"
        assert await found("top") == {TWO, dep}
        assert await found("top", names=("T?p",)) == {TWO}
        assert await found("top", max_file_size=50_000) == {TWO}
        wheels = choice(sdists="none")
        assert await found("top", to=wheels, latest=5) == {ONE, TWO, dep}
        assert await found("top", to=wheels, latest=1, versions="<2") == {ONE, dep}
        assert await found("built") == {f"built-1.0-cp312-cp312-{LINUX}.whl"}


async def test_missing_files_are_reported_and_the_run_goes_on(here: WarmSite, clock: Clock) -> None:
    here.wheel("top")
    here.upstream.fault(f"/{ONE}", Fault(status=404))
    one = here.wheel("other")
    async with opened(here, clock) as proxy:
        ran = await run(proxy, clock, keep("no-such-file.txt"), keep("top"), keep("other"))
        assert [each.complete for each in ran] == [False, False, True]
        assert changes_of(ran) == [("added", one.name)]
        here.upstream.heal()
        clock.advance(1)
        assert changes_of(await run(proxy, clock, keep("top"))) == [("added", ONE)]


async def test_while_upstream_is_down_nothing_counts_as_removed(
    here: WarmSite, clock: Clock
) -> None:
    here.wheel("top")
    async with opened(here, clock) as proxy:
        await run(proxy, clock, keep("top"))
        here.upstream.fault("/simple/", Fault(status=500))
        clock.advance(3600)
        ran = await run(proxy, clock, keep("top"))
        assert changes_of(ran) == []
        assert [lack.reason for lack in ran[0].missing] == [UNCONFIRMED]


async def test_change_lists_are_json_lines_in_a_file_or_a_folder(
    here: WarmSite, clock: Clock, tmp_path: Path
) -> None:
    one = here.wheel("top")
    file, folder = tmp_path / "changes.jsonl", tmp_path / "lists"
    folder.mkdir()
    async with opened(here, clock) as proxy:
        with pytest.raises(OSError, match="No such file"):
            await run(proxy, clock, keep("top"), changes=tmp_path / "nowhere" / "list")
        await run(proxy, clock, keep("top"), keep("top", latest=1), changes=file)
        (line,) = file.read_text().splitlines()
        assert json.loads(line) == {
            "change": "added",
            "project": "top",
            "filename": ONE,
            "digest": digest(one),
        }
        await run(proxy, clock, keep("top"), changes=file)
        assert file.read_text() == ""
        await run(proxy, clock, keep("top"), changes=folder)
        assert list(folder.iterdir()) == []
        for version in ("2.0", "3.0"):
            here.wheel("top", version)
            await run(proxy, clock, keep("top", latest=1), changes=folder)
            clock.now += 0.1
        lists = sorted(folder.iterdir())
        assert len(lists) == 2 and all(each.suffix == ".jsonl" for each in lists)


async def test_two_runs_are_never_under_way_at_once(here: WarmSite, clock: Clock) -> None:
    here.wheel("top")
    async with opened(here, clock) as proxy:
        with lock_path(proxy.cache).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(SyncRunning):
                await run(proxy, clock, keep("top"))
            schedule = Schedule([keep("top")], runner(proxy, clock), None, clock)
            assert 0 < await schedule.run_due() <= 5
        assert here.upstream.count("/simple/") == 0


async def test_each_table_is_run_at_its_interval_in_whichever_process(
    here: WarmSite, clock: Clock
) -> None:
    here.wheel("often")
    here.wheel("seldom")
    tables = [keep("often", every=60.0), keep("seldom", every=600.0)]
    async with opened(here, clock) as proxy, asyncio.timeout(120):
        schedule = Schedule(tables, runner(proxy, clock), None, clock)
        assert await schedule.run_due() == 60
        asked = here.upstream.count("/simple/seldom/")
        clock.advance(30)
        assert await Schedule(tables, runner(proxy, clock), None, clock).run_due() == 30
        here.wheel("often", "2.0")
        clock.advance(30)
        assert await schedule.run_due() == 60
        assert here.store.path(digest(here.index / "often-2.0-py3-none-any.whl")).exists()
        assert here.upstream.count("/simple/seldom/") == asked
        clock.advance(540)
        await schedule.run_due()
        assert here.upstream.count("/simple/seldom/") == asked + 1


async def test_what_a_cooldown_refuses_is_fetched_soon_after_it_passes(
    here: WarmSite, clock: Clock
) -> None:
    hour, day = 3600.0, 86400.0
    for version, age in (("1.0", 30 * day), ("2.0", 7 * day - 2 * hour)):
        wheel = make_wheel(here.index, "top", version)
        here.list(wheel, uploaded=upload_time(int(clock()) - age))
    table = keep("top", every=day)
    async with opened(here, clock, cooldown="7d") as proxy, asyncio.timeout(120):
        schedule = Schedule([table], runner(proxy, clock), None, clock)
        assert 2 * hour - 2 < await schedule.run_due() <= 2 * hour
        assert not here.upstream.count(TWO) and here.upstream.count(ONE)
        asked = here.upstream.count("/simple/")
        clock.advance(2 * hour - 2)
        assert 0 < await schedule.run_due() <= 2
        assert here.upstream.count("/simple/") == asked
        clock.advance(2)
        assert await Schedule([table], runner(proxy, clock), None, clock).run_due() == day
        assert here.store.path(digest(here.index / TWO)).exists()


async def test_files_that_pass_one_after_the_other_do_not_run_a_table_all_the_time(
    here: WarmSite, clock: Clock
) -> None:
    day = 86400.0
    for number in range(8):
        wheel = make_wheel(here.index, "top", f"{number}.0")
        here.list(wheel, uploaded=upload_time(int(clock()) - day + 10 * number))
    async with opened(here, clock, cooldown="1d") as proxy, asyncio.timeout(120):
        schedule = Schedule([keep("top", every=day)], runner(proxy, clock), None, clock)
        assert await schedule.run_due() == MATURITY_INTERVAL
        clock.advance(MATURITY_INTERVAL)
        assert await schedule.run_due() == day
        often = Schedule([keep("top", every=60.0)], runner(proxy, clock), None, clock)
        assert await often.run_due() == 60
