"""Rule ``licence`` in a proxy: when licences become known, and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.errors import PolicyFailed
from proxy.events import Event, PageChanged
from proxy.maintenance import purge_everything
from proxy.model import normalize
from tests.facts.conftest import Open
from tests.support.asking import refusal, shown
from tests.support.clock import Clock
from tests.support.distributions import make_sdist, make_wheel
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

AAA = normalize("aaa")
NO_COPYLEFT = {"kind": "licence", "deny": ["GPL-3.0-only"]}


def wheel(folder: Path, version: str, licence: str, *, tag: str = "py3-none-any") -> Path:
    lines = ["Metadata-Version: 2.4", "Name: aaa", f"Version: {version}", licence, "", ""]
    metadata = {f"aaa-{version}.dist-info/METADATA": "\n".join(lines).encode()}
    return make_wheel(folder, "aaa", version, files=metadata, tag=tag)


def name(version: str) -> str:
    return f"aaa-{version}-py3-none-any.whl"


@pytest.fixture
def two(tmp_path: Path, upstream: Upstream) -> None:
    upstream.add(wheel(tmp_path, "1.0", "License-Expression: MIT"))
    upstream.add(wheel(tmp_path, "2.0", "License-Expression: GPL-3.0-only"))


@pytest.mark.usefixtures("two")
async def test_the_first_request_for_metadata_is_refused_and_the_page_follows(
    opened: Open,
) -> None:
    async with opened(NO_COPYLEFT) as proxy:
        assert await shown(proxy.index) == [name("1.0"), name("2.0")]
        reason = await refusal(proxy.index, f"{name('2.0')}.metadata")
        assert reason == f"{name('2.0')} has the licence GPL-3.0-only"
        assert await shown(proxy.index) == [name("1.0")]
        assert await refusal(proxy.index, name("2.0")) == reason
        assert await refusal(proxy.index, name("1.0")) == ""


@pytest.mark.usefixtures("two")
async def test_a_request_for_a_file_asks_only_for_its_metadata_before_it_is_refused(
    opened: Open, upstream: Upstream
) -> None:
    async with opened(NO_COPYLEFT) as proxy:
        assert await refusal(proxy.index, name("2.0"))
        asked = [each.path for each in upstream.requests if "/files/" in each.path]
        assert [each.endswith(f"{name('2.0')}.metadata") for each in asked] == [True]


@pytest.mark.usefixtures("two")
async def test_licences_are_known_after_a_restart_without_a_request(
    opened: Open, upstream: Upstream
) -> None:
    async with opened(NO_COPYLEFT) as proxy:
        assert await refusal(proxy.index, name("2.0"))
    async with opened(NO_COPYLEFT, offline=True, offline_list_all=True) as proxy:
        assert await shown(proxy.index) == [name("1.0")]


@pytest.mark.usefixtures("two")
async def test_two_indexes_share_a_mirror_under_different_rules(opened: Open) -> None:
    async with opened(NO_COPYLEFT) as proxy:
        assert await refusal(proxy.indexes["main"], name("2.0"))
        assert await refusal(proxy.indexes["free"], name("2.0")) == ""
        assert await shown(proxy.indexes["free"]) == [name("1.0"), name("2.0")]
        assert await shown(proxy.indexes["main"]) == [name("1.0")]


@pytest.mark.usefixtures("two")
async def test_a_licence_that_decides_nothing_changes_no_page(opened: Open) -> None:
    events: list[Event] = []
    async with opened(NO_COPYLEFT) as proxy:
        await proxy.index.page(AAA)
        proxy.events.subscribe(events.append, PageChanged)
        assert await refusal(proxy.index, name("1.0")) == ""
        assert events == []
        assert await refusal(proxy.index, name("2.0"))
        assert events == [PageChanged(AAA)]


@pytest.mark.usefixtures("two")
async def test_unknown_licences_may_be_refused_until_they_are_known(opened: Open) -> None:
    policy = {"kind": "licence", "allow": ["MIT"], "unknown": "refuse"}
    async with opened(policy) as proxy:
        assert await shown(proxy.index) == []
        assert await refusal(proxy.index, name("1.0")) == ""
        assert await shown(proxy.index) == [name("1.0")]
        assert await refusal(proxy.index, name("2.0"))


@pytest.mark.usefixtures("two")
async def test_the_newest_release_may_be_read_when_its_page_is_requested(
    opened: Open, upstream: Upstream
) -> None:
    async with opened(NO_COPYLEFT | {"prefetch": True}) as proxy:
        await proxy.index.page(AAA)

        async def is_hidden() -> bool:
            return await shown(proxy.index) == [name("1.0")]

        await until(is_hidden)
        asked = [each.path for each in upstream.requests if "/files/" in each.path]
        assert [each.endswith(f"{name('2.0')}.metadata") for each in asked] == [True]


@pytest.mark.parametrize(
    ("unknown", "reason"),
    [("allow", ""), ("refuse", f"{name('1.0')} has an unknown licence")],
)
async def test_metadata_that_cannot_be_had_leave_the_licence_unknown(
    opened: Open, upstream: Upstream, tmp_path: Path, unknown: str, reason: str
) -> None:
    upstream.add(wheel(tmp_path, "1.0", "License-Expression: GPL-3.0-only"), metadata=False)
    async with opened(NO_COPYLEFT | {"unknown": unknown}) as proxy:
        assert await refusal(proxy.index, name("1.0")) == reason


async def test_an_upstream_that_fails_is_asked_again_for_the_licence(
    opened: Open, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.add(wheel(tmp_path, "1.0", "License-Expression: MIT"))
    upstream.fault("/files/", Fault(status=500), times=2)
    policy = {"kind": "licence", "allow": ["MIT"], "unknown": "refuse"}
    async with opened(policy) as proxy:
        assert await refusal(proxy.index, name("1.0")) == f"{name('1.0')} has an unknown licence"
        assert await refusal(proxy.index, name("1.0")) == ""


async def test_a_stored_sdist_and_a_stored_wheel_are_read_where_there_are_no_metadata(
    opened: Open, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.add(make_sdist(tmp_path, "aaa", "1.0"))
    upstream.add(wheel(tmp_path, "2.0", "License: GPLv3"), metadata=False)
    denied = {"kind": "licence", "deny": ["GPL-3.0-only"], "unknown": "allow"}
    async with opened(denied) as proxy:
        assert await refusal(proxy.index, "aaa-1.0.tar.gz") == ""
        assert await refusal(proxy.index, name("2.0")) == ""  # it is not stored yet

        async def is_refused() -> bool:
            return "GPL-3.0-only" in await refusal(proxy.index, name("2.0"))

        await until(is_refused)
        assert await shown(proxy.index) == ["aaa-1.0.tar.gz"]


async def test_a_wheel_and_another_of_one_release_may_differ(
    opened: Open, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.add(wheel(tmp_path, "1.0", "License: MIT"))
    upstream.add(wheel(tmp_path, "1.0", "License: GPLv3", tag="py2-none-any"))
    async with opened(NO_COPYLEFT) as proxy:
        assert await refusal(proxy.index, name("1.0")) == ""
        assert await refusal(proxy.index, "aaa-1.0-py2-none-any.whl")
        assert await shown(proxy.index) == [name("1.0")]


@pytest.mark.usefixtures("two")
async def test_what_another_process_has_learnt_is_taken_over(opened: Open, clock: Clock) -> None:
    async with opened(NO_COPYLEFT) as one, opened(NO_COPYLEFT) as other:
        assert await shown(other.index) == [name("1.0"), name("2.0")]
        assert await refusal(one.index, name("2.0"))
        clock.advance(30)
        assert await shown(other.index) == [name("1.0")]


@pytest.mark.usefixtures("two")
async def test_a_purge_drops_what_is_known_of_a_project(opened: Open, clock: Clock) -> None:
    async with opened(NO_COPYLEFT) as proxy:
        assert await refusal(proxy.index, name("2.0"))
        assert await shown(proxy.index) == [name("1.0")]
        await purge_everything(proxy.cache)
        clock.advance(30)
        assert await shown(proxy.index) == [name("1.0"), name("2.0")]


async def test_an_expression_that_fails_refuses_and_names_the_rule(
    opened: Open, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.add(wheel(tmp_path, "1.0", "License: MIT"), size=False)
    async with opened({"kind": "expression", "refuse": "file.size > 10"}) as proxy:
        for request in (proxy.index.page(AAA), proxy.index.file(AAA, name("1.0"))):
            with pytest.raises(PolicyFailed, match="the policy rule of index main failed"):
                await request


@pytest.mark.usefixtures("two")
async def test_an_expression_may_use_licences(opened: Open) -> None:
    policy: dict[str, Any] = {"kind": "expression", "refuse": 'file.licence == "GPL-3.0-only"'}
    async with opened(policy) as proxy:
        assert await refusal(proxy.index, name("2.0"))
        assert await shown(proxy.index) == [name("1.0")]
