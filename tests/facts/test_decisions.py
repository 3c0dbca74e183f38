"""Rule ``hook``: a service decides about files, is slow, fails, lies."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.events import Event, UpstreamFailed
from proxy.model import normalize
from tests.facts.conftest import Open
from tests.support.asking import refusal, shown
from tests.support.decision_service import DecisionService
from tests.support.distributions import make_wheel
from tests.support.upstream import Upstream
from tests.support.waiting import until

AAA = normalize("aaa")
ONE, TWO = "aaa-1.0-py3-none-any.whl", "aaa-2.0-py3-none-any.whl"
UNAVAILABLE = "decision service unavailable"


@pytest.fixture
async def service() -> AsyncIterator[DecisionService]:
    async with DecisionService() as running:
        yield running


@pytest.fixture
def files(tmp_path: Path, upstream: Upstream) -> list[Path]:
    made = [make_wheel(tmp_path, "aaa", version) for version in ("1.0", "2.0")]
    for each in made:
        upstream.add(each)
    return made


def hook(service: DecisionService, **more: Any) -> dict[str, Any]:
    return {"kind": "hook", "url": service.url, "timeout": 1, **more}


def refuse(reason: str = "not reviewed", ttl: float = 3600) -> dict[str, Any]:
    return {"decision": "refuse", "reason": reason, "ttl": ttl}


async def test_a_file_is_asked_about_when_it_is_requested(
    opened: Open, service: DecisionService, files: list[Path]
) -> None:
    service.decisions[TWO] = refuse()
    async with opened(hook(service)) as proxy:
        assert await shown(proxy.index) == [ONE, TWO]
        assert service.asked == []
        assert await refusal(proxy.index, f"{TWO}.metadata") == "not reviewed"
        assert await refusal(proxy.index, TWO) == "not reviewed"
        assert await refusal(proxy.index, ONE) == ""
        assert await shown(proxy.index) == [ONE]
    data = files[1].read_bytes()
    assert len(service.asked) == 2
    assert service.asked[0] == {
        "index": "main",
        "project": "aaa",
        "version": "2.0",
        "filename": TWO,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "upload_time": "2024-01-02T03:04:05.000000Z",
        "requires_python": None,
    }


@pytest.mark.usefixtures("files")
async def test_fifty_clients_are_one_question(opened: Open, service: DecisionService) -> None:
    service.delay = 0.1
    async with opened(hook(service)) as proxy:
        found = await asyncio.gather(*(refusal(proxy.index, ONE) for _ in range(50)))
        assert set(found) == {""}
        assert len(service.asked) == 1


@pytest.mark.usefixtures("files")
async def test_decisions_outlive_a_restart(opened: Open, service: DecisionService) -> None:
    service.decisions[TWO] = refuse()
    async with opened(hook(service)) as proxy:
        await refusal(proxy.index, TWO)
    async with opened(hook(service)) as proxy:
        assert await shown(proxy.index) == [ONE]
        assert await refusal(proxy.index, TWO) == "not reviewed"
    assert len(service.asked) == 1


@pytest.mark.usefixtures("files")
async def test_requests_are_signed(opened: Open, service: DecisionService) -> None:
    async with opened(hook(service, secret="shared")) as proxy:
        await refusal(proxy.index, ONE)
    ((sent, expected),) = service.signatures
    assert sent == expected
    async with opened(hook(service)) as proxy:
        await refusal(proxy.index, TWO)
    assert service.signatures[1][0] == ""


def down(service: DecisionService) -> None:
    service.status = 503


def redirects(service: DecisionService) -> None:
    service.status = 307


def slow(service: DecisionService) -> None:
    service.delay = 3.0


def talks_nonsense(service: DecisionService) -> None:
    service.body = b"<html>"


def decides_otherwise(service: DecisionService) -> None:
    service.body = b'{"decision": "perhaps"}'


def floods(service: DecisionService) -> None:
    service.body = b'{"decision": "allow", "reason": "' + b"x" * 1_000_000 + b'"}'


FAILURES = [down, redirects, slow, talks_nonsense, decides_otherwise, floods]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("fail", FAILURES)
@pytest.mark.parametrize(("on_failure", "reason"), [("refuse", UNAVAILABLE), ("allow", "")])
async def test_a_service_that_fails_refuses_or_allows_as_set(
    opened: Open,
    service: DecisionService,
    fail: Any,
    on_failure: str,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail(service)
    events: list[Event] = []
    async with opened(hook(service, on_failure=on_failure, timeout=0.3)) as proxy:
        proxy.events.subscribe(events.append, UpstreamFailed)
        assert await refusal(proxy.index, ONE) == reason
    assert [each.what for each in events if isinstance(each, UpstreamFailed)] == [ONE]
    assert f"the decision about {ONE} failed" in caplog.text


@pytest.mark.usefixtures("files")
async def test_a_failure_is_kept_for_thirty_seconds_and_not_on_disk(
    opened: Open, service: DecisionService
) -> None:
    service.status = 500
    async with opened(hook(service)) as proxy:
        assert await refusal(proxy.index, ONE) == UNAVAILABLE
        service.status = 200
        assert await refusal(proxy.index, ONE) == UNAVAILABLE
        page = await proxy.index.page(AAA)
        assert page.not_after is not None
        assert page.not_after - page.checked <= 31  # type: ignore[operator]
    async with opened(hook(service)) as proxy:
        assert await refusal(proxy.index, ONE) == ""


async def test_a_service_that_failed_several_times_is_left_alone(
    opened: Open, service: DecisionService, upstream: Upstream, tmp_path: Path
) -> None:
    for number in range(10):
        upstream.add(make_wheel(tmp_path, "aaa", f"{number}.0"))
    service.status = 500
    async with opened(hook(service)) as proxy:
        for number in range(10):
            assert await refusal(proxy.index, f"aaa-{number}.0-py3-none-any.whl") == UNAVAILABLE
    assert len(service.asked) == 3


@pytest.mark.usefixtures("files")
async def test_the_life_of_a_decision_has_bounds(opened: Open, service: DecisionService) -> None:
    service.decisions = {ONE: refuse(ttl=0), TWO: refuse(ttl=1e9)}
    async with opened(hook(service)) as proxy:
        await refusal(proxy.index, TWO)
        page = await proxy.index.page(AAA)
        assert page.not_after == pytest.approx(page.checked + 7 * 86400, abs=30)  # type: ignore[operator]
        await refusal(proxy.index, ONE)
        page = await proxy.index.page(AAA)
        assert page.not_after == pytest.approx(page.checked + 60, abs=30)  # type: ignore[operator]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("unknown", "reason"), [("allow", ""), ("refuse", "never heard of it")])
async def test_files_that_the_service_does_not_know(
    opened: Open, service: DecisionService, unknown: str, reason: str
) -> None:
    service.decisions[ONE] = {"decision": "unknown", "reason": "never heard of it"}
    async with opened(hook(service, unknown=unknown)) as proxy:
        assert await refusal(proxy.index, ONE) == reason


async def test_a_whole_page_is_asked_about_in_batches(
    opened: Open, service: DecisionService, upstream: Upstream, tmp_path: Path
) -> None:
    for number in range(103):
        upstream.add(make_wheel(tmp_path, "aaa", f"{number}.0"))
    service.decisions["aaa-7.0-py3-none-any.whl"] = refuse()
    async with opened(hook(service, scope="page", unknown="refuse")) as proxy:
        assert await shown(proxy.index) == []

        async def lists_the_rest() -> bool:
            return len(await shown(proxy.index)) == 102

        await until(lists_the_rest)
        assert sorted(map(len, service.asked)) == [3, 100]


@pytest.mark.usefixtures("files")
async def test_an_answer_of_another_length_is_a_failure(
    opened: Open, service: DecisionService
) -> None:
    service.body = b'[{"decision": "allow"}]'
    async with opened(hook(service, scope="page")) as proxy:
        await proxy.index.page(AAA)

        async def hides_all() -> bool:
            return await shown(proxy.index) == []

        await until(hides_all)


@pytest.mark.usefixtures("files")
async def test_a_decision_that_one_replica_has_got_is_in_force_on_all(
    opened: Open, service: DecisionService, redis_url: str, tmp_path: Path
) -> None:
    service.decisions[TWO] = refuse()
    shared = {"storage": {"records": redis_url}}
    async with (
        opened(hook(service), **shared) as one,
        opened(hook(service), cache_dir=str(tmp_path / "another"), **shared) as other,
    ):
        assert await shown(one.index) == await shown(other.index) == [ONE, TWO]
        assert await refusal(one.index, TWO) == "not reviewed"

        async def is_noticed() -> bool:
            return await shown(other.index) == [ONE]

        await until(is_noticed)
    assert len(service.asked) == 1
