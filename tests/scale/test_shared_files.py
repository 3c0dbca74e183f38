"""Replicas without state: what one of them has fetched, the others have."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.scale.object_store import path_of
from tests.support.installers import Place, Tools, newest_pip
from tests.support.replicas import SharedStore, Wheels, get
from tests.support.upstream import Upstream
from tests.support.waiting import until


@pytest.mark.slow
async def test_pip_installs_from_what_another_replica_has_fetched(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    small, large = wheels.add("small"), wheels.add("large", 3_000_000)
    place = Place(tmp_path / "place", Tools(newest_pip(tmp_path)))
    async with shared.replica(upstream) as one, shared.replica(upstream) as other:
        (await place.pip("download", "--index-url", one.index, "small", "large")).succeeded()
        for each in (small, large):
            await until(lambda each=each: shared.has(each))  # type: ignore[misc]
        fetched = wheels.asked
        (await place.install("pip", other.index, "small", "large")).succeeded()
        assert place.installed() == {"small": "1.0", "large": "1.0"}
        assert wheels.asked == fetched == 2
    assert not list(shared.folder_of(2).glob("blob/*"))
    assert not list(shared.folder_of(2).glob("spool/*"))


async def test_ranges_and_heads_of_shared_files(
    shared: SharedStore, upstream: Upstream, wheels: Wheels
) -> None:
    sha256 = wheels.add("large", 3_000_000)
    path, content = wheels.path("large"), wheels.content["large"]
    async with shared.replica(upstream) as one, shared.replica(upstream) as other:
        assert (await get(one, path)).body == content
        await until(lambda: shared.has(sha256))
        await get(other, "/simple/large/")
        part = await get(other, path, {"Range": "bytes=1000000-1999999"})
        assert (part.status, part.body) == (206, content[1_000_000:2_000_000])
        assert (await get(other, path, method="HEAD")).status == 200
        assert (await get(other, path)).body == content
        assert wheels.asked == 1


async def test_local_copies_are_made_of_what_is_read_and_of_what_is_put(
    shared: SharedStore, upstream: Upstream, wheels: Wheels
) -> None:
    sha256 = wheels.add("large", 3_000_000)
    async with (
        shared.replica(upstream, local_cache="1GB") as one,
        shared.replica(upstream, local_cache="1GB") as other,
    ):
        for server, number in ((one, 1), (other, 2)):
            assert (await get(server, wheels.path("large"))).body == wheels.content["large"]
            copy = shared.folder_of(number) / "blob" / sha256[:2] / sha256
            await until(copy.is_file)
            await until(lambda: shared.has(sha256))
            await shared.client.put_async(path_of(sha256), b"never read again")
            assert (await get(server, wheels.path("large"))).body == wheels.content["large"]
            await shared.client.put_async(path_of(sha256), wheels.content["large"])
        assert wheels.asked == 1


async def test_a_file_that_is_read_again_soon_is_read_once_from_the_store(
    shared: SharedStore, upstream: Upstream, wheels: Wheels
) -> None:
    sha256 = wheels.add("large", 3_000_000)
    content = wheels.content["large"]
    await shared.client.put_async(path_of(sha256), content)
    async with shared.replica(upstream) as server:
        assert (await get(server, wheels.path("large"))).body == content
        await shared.client.put_async(path_of(sha256), content[:-1] + b"x")
        for start in (0, 1000, 2_000_000):
            part = await get(server, wheels.path("large"), {"Range": f"bytes={start}-"})
            assert part.body == content[start:]
        assert wheels.asked == 0
