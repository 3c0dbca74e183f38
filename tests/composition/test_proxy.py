"""Settings to a running tree: which index answers, and that everything ends in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.composition.cache import Cache, open_cache
from proxy.composition.description import describe
from proxy.composition.index_tree import resolve_tree
from proxy.composition.proxy import Proxy, open_proxy
from proxy.config.settings import Settings
from proxy.errors import ConfigurationError, NoSuchFile, NoSuchProject, UpstreamError
from proxy.indexes.fallthrough import Fallthrough
from proxy.maintenance import purge, purge_everything
from proxy.model import ProjectName
from proxy.storage.keys import RecordKind
from tests.support.clock import Clock
from tests.support.content import read_blob, sha256
from tests.support.directories import HeardChanges
from tests.support.distributions import make_wheel
from tests.support.mounts import mounted
from tests.support.network import connections
from tests.support.stored import stored_path
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

FOO, BAR = ProjectName("foo"), ProjectName("bar")
FOO_1, FOO_2 = "foo-1.0-py3-none-any.whl", "foo-2.0-py3-none-any.whl"


class ProxyFolder:
    """An upstream with ``bar`` and another ``foo``, and a directory with a ``foo`` of ours."""

    def __init__(self, root: Path, upstream: Upstream, clock: Clock) -> None:
        self.root = root
        self.upstream = upstream
        self.clock = clock
        self.packages = root / "packages"
        self.ours = make_wheel(self.packages, FOO, "1.0")
        upstream.add(make_wheel(root / "theirs", FOO, "2.0"))
        upstream.add(make_wheel(root / "theirs", BAR, "1.0"))

    def settings(self, **more: Any) -> Settings:
        known: dict[str, Any] = {
            "cache_dir": self.root / "cache",
            "retries": 0,
            "speculate": "off",
            "shutdown_grace": 10.0,
        }
        if "indexes" not in more:
            known |= {"packages": self.packages, "upstream": self.upstream.url}
        return Settings(**known | more)

    @asynccontextmanager
    async def open(self, **settings: Any) -> AsyncIterator[Proxy]:
        async with open_proxy(self.settings(**settings), self.clock) as proxy:
            yield proxy

    def cache(self) -> AbstractAsyncContextManager[Cache]:
        """As a command opens it, beside the servers that are running on it."""
        return open_cache(self.settings(), self.clock)

    def mirror(self, **more: Any) -> dict[str, Any]:
        return {"kind": "mirror", "url": self.upstream.url, **more}

    def local(self, path: Path | None = None) -> dict[str, Any]:
        return {"kind": "local", "path": str(path or self.packages)}


@pytest.fixture
async def place(tmp_path: Path, clock: Clock) -> AsyncIterator[ProxyFolder]:
    async with Upstream() as upstream:
        yield ProxyFolder(tmp_path, upstream, clock)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, 5)


def fall(*names: str) -> dict[str, Any]:
    return {"kind": "fallthrough", "of": list(names)}


async def names(proxy: Proxy, project: ProjectName) -> list[str]:
    return [file.filename for file in (await proxy.index.page(project)).files]


async def get(proxy: Proxy, project: ProjectName) -> bytes:
    (file,) = (await proxy.index.page(project)).files
    artifact = await proxy.index.file(project, file.filename, file.address_digest)
    return await read_blob(artifact.blob)


async def remembered(proxy: Proxy, kind: RecordKind) -> None:
    """Until there is such a record: it is written after the answer."""

    async def is_written() -> bool:
        return bool(await proxy.cache.records.keys(kind))

    await until(is_written)


async def test_the_private_directory_comes_first_and_upstream_second(place: ProxyFolder) -> None:
    async with place.open() as proxy:
        assert await names(proxy, FOO) == [FOO_1]
        assert await get(proxy, FOO) == place.ours.read_bytes()
        with pytest.raises(NoSuchFile):
            await proxy.index.file(FOO, FOO_2)
        assert place.upstream.count() == 0
        assert await names(proxy, BAR) == ["bar-1.0-py3-none-any.whl"]
        await get(proxy, BAR)
        with pytest.raises(NoSuchProject):
            await proxy.index.page(ProjectName("baz"))
        await remembered(proxy, RecordKind.PAGE)
        assert await proxy.index.projects() == {FOO, BAR}


async def test_without_a_directory_upstream_answers_until_one_appears(
    place: ProxyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.root / "theirs")
    async with place.open(packages=None) as proxy:
        assert await names(proxy, FOO) == [FOO_2]
        make_wheel(place.root / "theirs" / "packages", FOO, "1.0")
        assert await names(proxy, FOO) == [FOO_1]


async def test_the_directory_called_packages_is_taken_if_it_is_there(
    place: ProxyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.root)
    async with place.open(packages=None) as proxy:
        assert await names(proxy, FOO) == [FOO_1]


async def test_reserved_names_never_go_upstream(place: ProxyFolder) -> None:
    async with place.open(reserved=["ba*"]) as proxy:
        with pytest.raises(NoSuchProject):
            await proxy.index.page(BAR)
        with pytest.raises(NoSuchProject):
            await proxy.index.file(BAR, "bar-1.0-py3-none-any.whl")
        assert await names(proxy, FOO) == [FOO_1]
    assert place.upstream.count() == 0


async def test_the_settings_reach_the_mirror(place: ProxyFolder) -> None:
    async with place.open(page_ttl=10, absence_ttl=5) as proxy:
        page = await proxy.index.page(BAR)
        assert page.fresh_until == place.clock() + 10
        place.upstream.fault("/files/", Fault(status=418))
        with pytest.raises(UpstreamError):
            await get(proxy, BAR)
        place.upstream.heal()
        await get(proxy, BAR)


async def test_credentials_reach_upstream_and_change_what_is_stored(place: ProxyFolder) -> None:
    async with place.open() as proxy:
        await proxy.index.page(BAR)
    place.upstream.credentials = ("me", "secret")
    async with place.open(upstream_username="me", upstream_password="secret") as proxy:
        await proxy.index.page(BAR)
    async with place.open(upstream_username="me", upstream_password="other") as proxy:
        await proxy.index.page(BAR)  # still fresh, for the same user
        assert len(await proxy.cache.records.keys(RecordKind.PAGE)) == 2
    assert place.upstream.count("/simple/bar/") == 2


async def test_offline_nothing_is_connected_to(place: ProxyFolder) -> None:
    with connections() as seen:
        async with place.open(offline=True, upstream="http://10.255.255.1/simple/") as proxy:
            assert await names(proxy, FOO) == [FOO_1]
            with pytest.raises(NoSuchProject, match="offline"):
                await proxy.index.page(BAR)
    assert seen == []


async def test_named_indexes_make_the_tree_they_describe(
    place: ProxyFolder, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    make_wheel(more, "more", "1.0")
    indexes = {
        "one": place.local(),
        "two": place.local(more),
        "pypi": place.mirror(reserved=["acme-*"]),
        "ours": fall("one", "two"),
        "main": fall("ours", "pypi"),
        "idle": place.mirror(url="http://127.0.0.1:9/simple/"),
    }
    settings = place.settings(indexes=indexes)
    assert list(describe(resolve_tree(settings))) == [
        "main: the first of these that has the project",
        "  ours: the first of these that has the project",
        f"    one: directory {place.packages}",
        f"    two: directory {more}",
        f"  pypi: mirror of {place.upstream.url}, never asked for acme-*",
        "idle: mirror of http://127.0.0.1:9/simple/",
    ]
    async with place.open(indexes=indexes) as proxy:
        assert await names(proxy, FOO) == [FOO_1]
        assert await names(proxy, ProjectName("more")) == ["more-1.0-py3-none-any.whl"]
        assert await names(proxy, BAR) == ["bar-1.0-py3-none-any.whl"]
        assert list(proxy.served) == ["", "/one", "/two", "/pypi", "/ours", "/main", "/idle"]


async def test_every_index_of_the_tree_is_there_by_its_name(place: ProxyFolder) -> None:
    async with place.open() as proxy:
        assert list(proxy.indexes) == ["private", "upstream", "main"]
        assert proxy.indexes["main"] is proxy.index
        assert all(index.name == name for name, index in proxy.indexes.items())
        page = await proxy.indexes["upstream"].page(FOO)
        assert [file.filename for file in page.files] == [FOO_2]


async def test_a_stale_page_is_revalidated_in_the_background_in_its_own_index(
    place: ProxyFolder,
) -> None:
    async with place.open() as proxy:
        upstream = proxy.indexes["upstream"]
        await upstream.page(FOO)
        place.clock.advance(601)
        proxy.revalidate("upstream", FOO)
        await until(lambda: place.upstream.count("/simple/foo/") == 2, 5)
        await proxy.close()
        assert (await upstream.page(FOO)).checked == place.clock()


async def test_an_index_that_is_named_twice_is_one_index(place: ProxyFolder) -> None:
    indexes = {"pypi": place.mirror(), "a": fall("pypi"), "main": fall("a", "pypi")}
    async with place.open(indexes=indexes) as proxy:
        assert len(proxy.mirrors) == 1
        assert isinstance(proxy.index, Fallthrough)
        assert await names(proxy, BAR) == ["bar-1.0-py3-none-any.whl"]


async def test_another_index_can_be_the_one_that_is_served(place: ProxyFolder) -> None:
    indexes = {"pypi": place.mirror(), "ours": place.local()}
    async with place.open(indexes=indexes, index="ours") as proxy:
        with pytest.raises(NoSuchProject):
            await proxy.index.page(BAR)
        assert proxy.served["/pypi"] is proxy.indexes["pypi"]


@pytest.mark.parametrize(
    ("indexes", "more", "key", "words"),
    [
        ({"main": fall("main")}, {}, "indexes.main.of", "main -> main"),
        ({"main": fall("a"), "a": fall("b"), "b": fall("a")}, {}, "indexes.b.of", "a -> b -> a"),
        ({"main": fall("nothing")}, {}, "indexes.main.of", "no index 'nothing'"),
        ({"a": fall("a")}, {}, "index", "no index 'main'"),
        ({"a": fall("a")}, {"index": "b"}, "index", "the indexes are: a"),
        ({"main": {"kind": "local", "path": "/no/such"}}, {}, "indexes.main.path", "not a dir"),
        ({"main": fall("a"), "a": fall("a")}, {}, "indexes.a.of", "circle: a -> a"),
        ({"main": fall("main")}, {"packages": "/tmp"}, "packages", "beside"),
        ({"main": fall("main")}, {"upstream": "http://a.example.com/"}, "upstream", "beside"),
        ({"main": fall("main")}, {"reserved": ["a"]}, "reserved", "beside"),
    ],
)
async def test_a_tree_that_cannot_be_is_an_error_that_names_its_key(
    place: ProxyFolder, indexes: dict[str, Any], more: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        async with place.open(indexes=indexes, **more):
            pass
    assert error.value.key == key
    assert words in str(error.value)
    assert not (place.root / "cache").exists()


async def test_a_directory_that_is_not_there_is_an_error(place: ProxyFolder) -> None:
    with pytest.raises(ConfigurationError) as error:
        async with place.open(packages=place.root / "missing"):
            pass
    assert error.value.key == "packages"


async def test_what_is_opened_is_closed_when_a_later_index_cannot_be(place: ProxyFolder) -> None:
    broken = place.mirror(file_hosts=["not a host/"])
    indexes = {"a": place.local(), "b": place.mirror(), "c": broken, "main": fall("a", "b", "c")}
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigurationError):
        async with place.open(indexes=indexes):
            pass
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1


async def test_leftovers_of_a_crash_are_removed_at_start(place: ProxyFolder) -> None:
    spool = place.root / "cache" / "spool"
    spool.mkdir(parents=True)
    (spool / "1-left.part").write_bytes(b"half")
    async with place.open():
        assert list(spool.iterdir()) == []


async def test_what_another_process_purges_is_forgotten(place: ProxyFolder) -> None:
    async with place.open() as proxy:
        data = await get(proxy, BAR)
        await remembered(proxy, RecordKind.CACHED_FILE)
        await remembered(proxy, RecordKind.PAGE)
        heard = HeardChanges()
        proxy.events.subscribe(heard)
        async with place.cache() as cache:
            await purge(cache, [BAR])
        await heard.until(lambda: BAR in heard.changes())
        assert await get(proxy, BAR) == data
    assert place.upstream.count("/simple/bar/") == 2
    assert place.upstream.count("/files/") == 2


async def test_all_is_forgotten_when_another_process_purges_everything(place: ProxyFolder) -> None:
    async with place.open() as proxy:
        await proxy.index.page(BAR)
        await remembered(proxy, RecordKind.PAGE)
        heard = HeardChanges()
        proxy.events.subscribe(heard)
        async with place.cache() as cache:
            await purge_everything(cache)
        await heard.until(lambda: None in heard.changes())
        assert await proxy.index.projects() == {FOO}
        await proxy.index.page(BAR)
    assert place.upstream.count("/simple/bar/") == 2


async def test_a_private_name_is_given_up_by_purging_it_while_a_server_runs(
    place: ProxyFolder,
) -> None:
    async with place.open() as proxy:
        place.ours.unlink()
        assert await names(proxy, FOO) == []
        heard = HeardChanges()
        proxy.events.subscribe(heard)
        async with place.cache() as cache:
            await purge_everything(cache)
        await heard.until(lambda: None in heard.changes())
        assert await names(proxy, FOO) == []  # ours, until it is named
        async with place.cache() as cache:
            await purge(cache, [FOO])
        await heard.until(lambda: heard.changes().count(FOO) == 2)  # the mirror, the directory
        assert await names(proxy, FOO) == [FOO_2]
    async with place.open() as proxy:
        assert await names(proxy, FOO) == [FOO_2]


async def test_a_private_name_with_files_stays_private_when_it_is_purged(
    place: ProxyFolder,
) -> None:
    async with place.open() as proxy:
        heard = HeardChanges()
        proxy.events.subscribe(heard)
        async with place.cache() as cache:
            await purge(cache, [FOO])
        await heard.until(lambda: heard.changes().count(FOO) == 2)  # the mirror, the directory
        assert await names(proxy, FOO) == [FOO_1]
        place.ours.unlink()
        assert await names(proxy, FOO) == []
    async with place.open() as proxy:
        assert await names(proxy, FOO) == []
    assert place.upstream.count() == 0


async def test_running_downloads_finish_at_the_end(place: ProxyFolder) -> None:
    wheel = make_wheel(place.root / "theirs", "big", "1.0", padding=1_000_000)
    place.upstream.add(wheel)
    gate = asyncio.Event()
    place.upstream.fault("/files/", Fault(gate=gate, gate_at=500_000))
    async with place.open() as proxy:
        reading = asyncio.create_task(get(proxy, ProjectName("big")))
        await until(lambda: place.upstream.count("/files/") == 1)
        reading.cancel()
        asyncio.get_running_loop().call_later(0.1, gate.set)
    async with place.open() as proxy:
        assert stored_path(proxy.cache.folder / "blob", sha256(wheel.read_bytes())).exists()


async def test_several_processes_share_one_cache(place: ProxyFolder) -> None:
    async with place.open() as one, place.open() as two:
        pages = await asyncio.gather(*(proxy.index.page(BAR) for proxy in (one, two) * 10))
        assert len({page.version for page in pages}) == 1
        assert len({await get(proxy, BAR) for proxy in (one, two)}) == 1
    assert place.upstream.count("/simple/bar/") <= 2


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"index": "upstream"}, "index"),
        ({"file_hosts": ["http://x/"]}, "file_hosts"),
        ({"file_hosts": ["a/b"]}, "file_hosts"),
        ({"upstream": "https://index.example/simple/?x=1"}, "upstream"),
        ({"indexes": {"main": {"kind": "local", "path": "."}}, "watch": False}, "watch"),
        ({"indexes": {"main": {"kind": "mirror", "url": "https://x.example/#f"}}}, "indexes.main"),
    ],
)
def test_what_serve_would_refuse_is_refused_before(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        resolve_tree(Settings(**settings))
    assert error.value.key == key


async def test_a_cache_that_cannot_be_written_is_reported_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mounted(tmp_path / "cache" / "spool", "ro"):
        async with open_cache(Settings(cache_dir=tmp_path / "cache")) as cache:
            await cache.tidy(evict=True)
    assert "nothing new is stored" in caplog.text
