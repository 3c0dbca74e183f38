"""``waystation sync`` as a process, and a server that runs keep tables by itself."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from proxy.cli.standing_work import keeping
from proxy.composition.proxy import open_proxy
from tests.support.faults import Fault
from tests.support.running import Done, running, waystation
from tests.support.waiting import until
from tests.support.warm_site import WarmSite, warm_site

TABLE = """
[[keep]]
sources = ["top"]
python = ["3.12"]
platform = ["linux"]
every = 1
"""
ONE, TWO = "top-1.0-py3-none-any.whl", "top-2.0-py3-none-any.whl"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[WarmSite]:
    async with warm_site(tmp_path) as made:
        yield made


def options(here: WarmSite, table: str = TABLE) -> tuple[str, ...]:
    here.source("waystation.toml", table)
    config = str(here.folder / "waystation.toml")
    return ("--config", config, "--upstream", here.upstream.url)


async def sync(here: WarmSite, *arguments: str, table: str = TABLE) -> Done:
    given = (*options(here, table), "--cache-dir", str(here.cache), *arguments)
    return await waystation("sync", *given, cwd=here.folder)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_dry_run_lists_and_a_run_fetches_and_writes_what_changed(here: WarmSite) -> None:
    one = here.wheel("top")
    line = f"top/{ONE}#{digest(one)}\n"
    assert (await sync(here, "--dry-run")).succeeded().out == line
    assert here.stored_digests() == set()
    assert here.upstream.count(one.name) == here.upstream.count(f"{one.name}.metadata")
    done = (await sync(here, "--changes", "changes.jsonl")).succeeded()
    assert done.out == f"added top/{ONE}\n"
    assert here.store.path(digest(one)).exists()
    change = json.loads((here.folder / "changes.jsonl").read_text())
    assert (change["change"], change["filename"]) == ("added", ONE)
    assert (await sync(here, "--dry-run")).succeeded().out == ""


async def test_a_missing_file_is_status_1(here: WarmSite) -> None:
    here.wheel("top")
    here.upstream.fault(ONE, Fault(status=404))
    done = await sync(here, "--quiet")
    assert done.status == 1 and f"missing: top/{ONE}" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("honour", ["true", "false"])
async def test_sync_reports_a_page_that_is_not_stored_as_missing_like_warm(
    here: WarmSite, honour: str
) -> None:
    """With ``honour_no_store``, an offline server has no page that upstream forbids to store."""
    here.wheel("top")
    here.upstream.page_headers = {"Cache-Control": "no-store"}
    done = await sync(here, table=f"honour_no_store = {honour}\n{TABLE}")
    if honour == "true":
        assert done.status == 1
        assert "missing: top: its page was not stored: does honour_no_store forbid it" in done.err
    else:
        assert done.status == 0 and "missing" not in done.err


@pytest.mark.parametrize(
    ("table", "arguments", "key"),
    [
        ("", (), "keep: "),
        ("[[keep]]\nsources = []\n", (), "keep.0.sources: "),
        (TABLE + 'versions = "newest"\n', (), "keep.0.versions: "),
        (TABLE, ("--offline",), "offline: "),
    ],
)
async def test_wrong_settings_are_status_2(
    here: WarmSite, table: str, arguments: tuple[str, ...], key: str
) -> None:
    done = await sync(here, *arguments, table=table)
    assert done.status == 2 and done.err.startswith(f"waystation: {key}"), done.err
    assert here.upstream.count() == 0


async def test_a_change_list_that_could_not_be_written_is_repeated_by_the_next_run(
    here: WarmSite,
) -> None:
    here.wheel("top")
    done = await sync(here, "--changes", "nowhere/changes.jsonl")
    assert done.status == 2 and "--changes: the list cannot be written" in done.err
    assert (await sync(here)).succeeded().out == f"added top/{ONE}\n"


async def test_a_server_fetches_what_is_new_by_itself(here: WarmSite) -> None:
    one = here.wheel("top")
    lists = here.root / "lists"
    settings = {"WAYSTATION_CHANGE_LISTS": str(lists)}
    async with running(here.root, *options(here), **settings) as server:
        await until(lambda: here.store.path(digest(one)).exists(), 60)
        two = here.wheel("top", "2.0")
        await until(lambda: here.store.path(digest(two)).exists(), 60)
        await until(lambda: len(list(lists.glob("2*.jsonl"))) == 2, 60)
        server.send(signal.SIGTERM)
        assert await server.ended() == 0
    assert server.requests() == []  # requests of the resolver are not logged as a client's
    assert not any("Traceback" in line for line in server.err.lines)


@pytest.mark.parametrize(("offline", "kept"), [(True, False), (False, True)])
async def test_an_offline_server_fetches_nothing(here: WarmSite, offline: bool, kept: bool) -> None:
    settings = here.settings(keep=[{"sources": ["top"]}], offline=offline)
    async with open_proxy(settings) as proxy:
        assert isinstance(keeping(settings, proxy), nullcontext) is not kept
