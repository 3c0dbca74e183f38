"""Several addresses of one content: dead, slow, lagging and lying ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import DigestMismatch, NoSuchProject, UpstreamError
from proxy.events import UpstreamFailed
from proxy.indexes import Index
from proxy.model import ProjectName
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.distributions import make_wheel
from tests.support.mirror_site import DEMO, MirrorSite, OpenMirror
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

PAGE = f"/simple/{DEMO}/"


class Addresses:
    """The index and two mirrors of it, with the same wheels; nothing is fetched twice by luck."""

    def __init__(self, root: Path, upstreams: tuple[Upstream, ...], clock: Clock) -> None:
        self.index, self.near, self.far = upstreams
        self.all = upstreams
        self.site = MirrorSite(root, self.index, clock)
        self.clock = clock
        self.root = root
        self.add("1.0")

    def add(self, version: str, *where: Upstream, padding: int = 0) -> Path:
        wheel = make_wheel(self.root / "dist", DEMO, version, padding=padding)
        for upstream in where or self.all:
            upstream.add(wheel)
        return wheel

    @asynccontextmanager
    async def open(self, **settings: Any) -> AsyncIterator[OpenMirror]:
        mirrors = [self.near.url, self.far.url]
        async with self.site.open(mirrors=mirrors, **settings) as it:
            yield it


@pytest.fixture
async def addresses(tmp_path: Path, clock: Clock) -> AsyncIterator[Addresses]:
    async with Upstream() as index, Upstream() as near, Upstream() as far:
        yield Addresses(tmp_path, (index, near, far), clock)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, 5)


async def read(index: Index, version: str = "1.0") -> bytes:
    name = f"{DEMO}-{version}-py3-none-any.whl"
    file = (await index.page(DEMO)).file(name)
    return await read_blob((await index.file(DEMO, name, file.address_digest)).blob)


async def test_the_index_itself_is_asked_alone_while_it_answers(addresses: Addresses) -> None:
    async with addresses.open() as it:
        assert await read(it.mirror)
    assert addresses.near.requests == addresses.far.requests == []


@pytest.mark.parametrize("status", [500, 503, 403])
async def test_an_index_that_fails_is_replaced_at_once(addresses: Addresses, status: int) -> None:
    addresses.index.fault("", Fault(status=status))
    async with addresses.open(soft_deadline=20.0) as it:
        assert await read(it.mirror)
    assert addresses.near.count(PAGE) == 1
    assert addresses.far.requests == []


async def test_dead_addresses_are_skipped(addresses: Addresses) -> None:
    await addresses.index.stop()
    addresses.near.fault("", Fault(status=502))
    async with addresses.open(soft_deadline=20.0) as it:
        assert await read(it.mirror)
    assert addresses.far.count(PAGE) == 1


async def test_a_slow_index_is_overtaken_and_its_answer_is_not_awaited(
    addresses: Addresses,
) -> None:
    addresses.index.fault(PAGE, Fault(hang=True))
    async with addresses.open(soft_deadline=0.05) as it:
        async with asyncio.timeout(10):
            assert (await it.page()).files
    assert addresses.near.count(PAGE) == 1


async def test_pages_of_two_addresses_are_never_mixed(addresses: Addresses) -> None:
    addresses.add("2.0", addresses.index)
    addresses.add("3.0", addresses.near)
    async with addresses.open() as it:
        assert len(await it.names()) == 2
    addresses.index.fault("", Fault(status=500))
    addresses.clock.advance(10_000)
    async with addresses.open() as it:
        assert set(await it.names()) == {f"{DEMO}-{v}-py3-none-any.whl" for v in ("1.0", "3.0")}


async def test_absence_is_certain_from_the_index_alone(addresses: Addresses) -> None:
    async with addresses.open() as it:
        with pytest.raises(NoSuchProject):
            await it.page("absent")
    addresses.index.fault("", Fault(status=503))
    addresses.clock.advance(100)
    async with addresses.open() as it:
        with pytest.raises(UpstreamError):
            await it.page("absent")


async def test_a_mirror_that_lags_behind_does_not_replace_a_newer_page(
    addresses: Addresses,
) -> None:
    addresses.add("2.0", addresses.index, addresses.far)
    async with addresses.open(stale_if_error=0.0) as it:
        assert len(await it.names()) == 2
        addresses.index.fault("", Fault(status=500))
        addresses.clock.advance(10_000)
        assert len(await it.names()) == 2
    assert addresses.near.count(PAGE) == addresses.far.count(PAGE) == 1


async def test_validators_go_only_to_the_address_that_they_are_from(addresses: Addresses) -> None:
    async with addresses.open() as it:
        await it.page()
        addresses.clock.advance(10_000)
        addresses.index.fault("", Fault(status=500))
        await it.page()
    (request,) = addresses.near.of(PAGE)
    assert "If-None-Match" not in request.headers
    assert "If-None-Match" in addresses.index.of(PAGE)[1].headers


async def test_a_file_comes_from_another_address_if_its_own_fails(addresses: Addresses) -> None:
    async with addresses.open() as it:
        page = await it.page()
        addresses.index.fault("", Fault(status=500))
        assert await it.read(page.files[0])
    assert addresses.near.count("/files/") == 1


async def test_wrong_bytes_are_replaced_and_their_sender_is_not_used(addresses: Addresses) -> None:
    wheel = addresses.site.root / "dist" / f"{DEMO}-1.0-py3-none-any.whl"
    addresses.index.fault("/files/", Fault(corrupt=True))
    addresses.add("2.0")
    async with addresses.open() as it:
        assert await read(it.mirror) == wheel.read_bytes()
        assert addresses.index.count("/files/") == 1
        assert await read(it.mirror, "2.0")
        assert addresses.index.count("/files/") == 1  # it is not asked again
        assert [each.index for each in it.heard if isinstance(each, UpstreamFailed)] == ["pypi"]
        addresses.index.heal()
        addresses.clock.advance(10_000)
        await it.page()
        assert addresses.index.count(PAGE) == 2  # and is trusted again after some minutes


async def test_wrong_bytes_that_were_sent_break_off_and_the_next_request_is_right(
    addresses: Addresses,
) -> None:
    wheel = addresses.add("2.0", padding=2_000_000)
    addresses.index.fault("/files/", Fault(corrupt=True))
    async with addresses.open() as it:
        with pytest.raises(DigestMismatch):
            await read(it.mirror, "2.0")
        assert await read(it.mirror, "2.0") == wheel.read_bytes()


async def test_if_all_lie_nothing_is_served(addresses: Addresses) -> None:
    for upstream in addresses.all:
        upstream.fault("/files/", Fault(corrupt=True))
    async with addresses.open() as it:
        for _ in range(2):
            with pytest.raises(DigestMismatch):
                await read(it.mirror)
        assert it.stored == set()


async def test_credentials_go_to_the_index_alone(addresses: Addresses) -> None:
    addresses.index.fault(PAGE, Fault(status=500))
    async with addresses.open(username="me", password="secret") as it:
        await it.page()
    assert "Authorization" in addresses.index.of(PAGE)[0].headers
    assert "Authorization" not in addresses.near.of(PAGE)[0].headers


async def test_offline_no_address_is_asked(addresses: Addresses) -> None:
    async with addresses.open() as it:
        data = await read(it.mirror)
    for upstream in addresses.all:
        await upstream.stop()
    async with addresses.open(offline=True) as it:
        assert await read(it.mirror) == data
        with pytest.raises(NoSuchProject):
            await it.page(ProjectName("absent"))
