"""Routed and merging indexes and page files, from their tables to a running proxy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pypi_simple
import pytest

from proxy.composition.description import describe
from proxy.composition.index_checks import upstream_url
from proxy.composition.index_tree import resolve_tree
from proxy.composition.proxy import Proxy, open_proxy
from proxy.config import MirrorTable, load_settings
from proxy.config.settings import Settings
from proxy.errors import ConfigurationError, Denied, IndexUnavailable, NoSuchFile, NoSuchProject
from proxy.model import ProjectName
from tests.support.clock import Clock
from tests.support.content import read_blob, sha256
from tests.support.distributions import make_wheel
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

TORCH, NUMPY = ProjectName("torch"), ProjectName("numpy")
WHEEL = "torch-1.0-py3-none-any.whl"


def test_the_default_upstream_is_that_of_pypi_simple() -> None:
    assert str(upstream_url(MirrorTable(kind="mirror"))) == pypi_simple.PYPI_SIMPLE_ENDPOINT


class Shops:
    """Two upstreams that both have torch and numpy, and a folder of page files."""

    def __init__(self, root: Path, world: Upstream, cuda: Upstream, clock: Clock) -> None:
        self.root, self.world, self.cuda, self.clock = root, world, cuda, clock
        self.pages = root / "pages"
        self.pages.mkdir()
        for upstream, version in ((world, "1.0"), (cuda, "2.0")):
            for project in (TORCH, NUMPY):
                upstream.add(make_wheel(root / version, project, version))

    def settings(self, main: dict[str, Any], **more: Any) -> Settings:
        tables = {
            "world": {"kind": "mirror", "url": self.world.url, "reserved": ["acme-*"]},
            "cuda": {"kind": "mirror", "url": self.cuda.url},
            "main": main,
        }
        known = {"cache_dir": self.root / "cache", "retries": 0, "speculate": "off", **more}
        return load_settings({"indexes": tables, "netrc": False, **known}).settings

    @asynccontextmanager
    async def open(self, main: dict[str, Any], **more: Any) -> AsyncIterator[Proxy]:
        async with open_proxy(self.settings(main, **more), self.clock) as proxy:
            yield proxy

    def page_file(self, name: str, *urls: str) -> None:
        links = "".join(f'<a href="{url}">{url.rpartition("/")[2]}</a>' for url in urls)
        (self.pages / name).write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")

    def by_page(self, path: str, *patterns: str) -> dict[str, Any]:
        rule = {"projects": list(patterns) or ["*"], "to": {"page": str(self.pages / path)}}
        host = self.world.origin.partition("://")[2]
        return {"kind": "routed", "rules": [rule], "file_hosts": [host]}


@pytest.fixture
async def shops(tmp_path: Path, clock: Clock) -> AsyncIterator[Shops]:
    async with Upstream() as world, Upstream() as cuda:
        yield Shops(tmp_path, world, cuda, clock)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, 5)


def routed(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "routed", "rules": list(rules)}


ROUTES = routed(
    {"projects": ["torch", "re:nvidia-.*"], "to": "cuda"},
    {"projects": ["evil"], "to": "deny", "reason": "see wiki"},
    {"projects": ["internal-*"], "to": "reserved"},
    {"projects": ["*"], "to": "world"},
)


async def read(proxy: Proxy, project: ProjectName) -> bytes:
    (file,) = (await proxy.index.page(project)).files
    return await read_blob(
        (await proxy.index.file(project, file.filename, file.address_digest)).blob
    )


async def test_rules_lead_to_upstreams_that_never_see_the_names_of_others(shops: Shops) -> None:
    async with shops.open(ROUTES) as proxy:
        for project in (TORCH, NUMPY):
            assert await read(proxy, project)
        with pytest.raises(Denied, match="see wiki"):
            await proxy.index.page(ProjectName("evil"))
        with pytest.raises(NoSuchProject):
            await proxy.index.page(ProjectName("internal-x"))
    paths = {each.path for each in (*shops.world.requests, *shops.cuda.requests)}
    assert not [path for path in paths if "evil" in path or "internal" in path]
    assert shops.world.count("torch") == shops.cuda.count("numpy") == 0
    assert shops.cuda.count("torch") == shops.world.count("numpy") == 2


async def test_a_merging_index_unites_what_it_names(shops: Shops) -> None:
    main = {"kind": "fallthrough", "of": ["world", "cuda"], "merge": ["numpy"]}
    async with shops.open(main) as proxy:
        names = [file.filename for file in (await proxy.index.page(NUMPY)).files]
        assert sorted(names) == [f"numpy-{each}.0-py3-none-any.whl" for each in (1, 2)]
        assert len((await proxy.index.page(TORCH)).files) == 1
        for name in names:
            assert await read_blob((await proxy.index.file(NUMPY, name)).blob)


async def test_a_merge_may_not_touch_reserved_names(shops: Shops) -> None:
    main = {"kind": "fallthrough", "of": ["world", "cuda"], "merge": ["numpy", "*-tool"]}
    with pytest.raises(ConfigurationError, match=r"indexes\.main\.merge: '\*-tool' has names"):
        resolve_tree(shops.settings(main))


async def test_the_tree_is_described_with_rules_and_exposures(shops: Shops) -> None:
    lines = list(describe(resolve_tree(shops.settings(ROUTES))))
    assert lines[0] == (
        "main: torch, re:nvidia-.* from cuda; evil denied; internal-* reserved; "
        "* from world; nothing else"
    )
    assert [line.split(":")[0] for line in lines[1:]] == ["  cuda", "  world"]
    main = {"kind": "fallthrough", "of": ["world", "cuda"], "merge": ["numpy"]}
    assert list(describe(resolve_tree(shops.settings(main))))[1] == (
        "  (numpy: from all of world, cuda; an upload of a higher version to any is installed)"
    )


@pytest.mark.parametrize(
    ("main", "key"),
    [
        (routed({"projects": ["a"], "to": "nowhere"}), "indexes.main.rules"),
        (routed({"projects": ["a"], "to": "main"}), "indexes.main.rules"),
        (routed({"projects": [], "to": "world"}), "indexes.main.rules.0.projects"),
        (routed({"projects": ["a b"], "to": "world"}), "indexes.main.rules.0.projects"),
        (routed({"projects": ["re:(a+)+"], "to": "world"}), "indexes.main.rules.0.projects"),
        (routed({"projects": ["a"]}), "indexes.main.rules.0.to"),
        (routed({"projects": ["a"], "to": 3}), "indexes.main.rules.0.to"),
        (routed({"projects": ["a"], "to": {"pages": "x"}}), "indexes.main.rules.0.to"),
        (routed({"projects": ["a"], "to": {"page": "../{name}"}}), "indexes.main.rules.0.to.page"),
        (routed({"projects": ["a"], "to": {"page": "{other}"}}), "indexes.main.rules.0"),
        (routed({"projects": ["a"], "too": "world"}), "indexes.main.rules.0"),
        (routed(), "indexes.main.rules"),
        ({**ROUTES, "file_hosts": ["not a host"]}, "indexes.main.file_hosts"),
        ({"kind": "fallthrough", "of": ["world"], "merge": ["a b"]}, "indexes.main.merge"),
    ],
)
async def test_a_wrong_table_is_reported_with_its_key(
    shops: Shops, main: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        resolve_tree(shops.settings(main))
    assert error.value.key.startswith(key)
    assert "pydantic" not in str(error.value)


async def test_a_page_file_is_a_page_and_its_files_are_fetched_once(shops: Shops) -> None:
    url = shops.world.url_of(WHEEL)
    data = (shops.root / "1.0" / WHEEL).read_bytes()
    shops.page_file("torch.html", f"{url}#sha256={sha256(data)}", "relative-1.0.tar.gz")
    async with shops.open(shops.by_page("{name}.html")) as proxy:
        page = await proxy.index.page(TORCH)
        assert [file.filename for file in page.files] == [WHEEL]
        assert await read(proxy, TORCH) == await read(proxy, TORCH) == data
        assert await proxy.index.projects() == {TORCH}
        with pytest.raises(NoSuchProject):
            await proxy.index.page(NUMPY)
    assert shops.world.count("/simple/") == 0
    assert shops.world.count("/files/") == 1
    async with shops.open(shops.by_page("{name}.html"), offline=True) as proxy:
        assert await read(proxy, TORCH) == data


async def test_a_changed_page_file_is_seen(shops: Shops) -> None:
    shops.page_file("torch.html", shops.world.url_of(WHEEL))
    async with shops.open(shops.by_page("{name}.html")) as proxy:
        first = await proxy.index.page(TORCH)
        shops.page_file("torch.html")
        second = await proxy.index.page(TORCH)
        assert (len(first.files), len(second.files)) == (1, 0)
        assert first.version != second.version
        with pytest.raises(NoSuchFile):
            await proxy.index.file(TORCH, WHEEL)


async def test_variables_of_a_page_are_captured_by_its_pattern(shops: Shops) -> None:
    wheel = shops.world.add(make_wheel(shops.root / "more", "torch-cu130", "1.0"))
    shops.page_file("cu130-torch.html", shops.world.url_of(wheel.entry["filename"]))
    main = shops.by_page("{chip}-{tool}.html", "re:(?P<tool>[a-z]+)-(?P<chip>cpu|cu130)")
    async with shops.open(main) as proxy:
        assert len((await proxy.index.page(ProjectName("torch-cu130"))).files) == 1
        for other in ("torch-cpu", "torch", "torch-cu130-x"):
            with pytest.raises(NoSuchProject):
                await proxy.index.page(ProjectName(other))


async def test_a_file_of_a_refused_host_is_not_listed(shops: Shops) -> None:
    shops.page_file(
        "torch.html",
        "http://10.0.0.1/torch-1.0.tar.gz",
        shops.cuda.url_of("torch-2.0-py3-none-any.whl"),
    )
    async with shops.open(shops.by_page("{name}.html")) as proxy:
        assert (await proxy.index.page(TORCH)).files == ()


async def test_a_page_file_that_cannot_be_read_is_an_error(shops: Shops) -> None:
    (shops.pages / "torch.html").mkdir()
    (shops.pages / "numpy.html").write_bytes(b"\x89PNG\r\n\x1a\n")
    async with shops.open(shops.by_page("{name}.html")) as proxy:
        for project in (TORCH, NUMPY):
            with pytest.raises(IndexUnavailable, match=rf"{project}\.html"):
                await proxy.index.page(project)


async def test_a_page_file_may_be_json(shops: Shops) -> None:
    file = {"filename": WHEEL, "url": shops.world.url_of(WHEEL), "hashes": {}}
    page = {"meta": {"api-version": "1.0"}, "name": "torch", "files": [file]}
    (shops.pages / "torch.json").write_text(json.dumps(page))
    async with shops.open(shops.by_page("{name}.json")) as proxy:
        assert await read(proxy, TORCH)


async def test_page_paths_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    config = tmp_path / "conf" / "waystation.toml"
    config.parent.mkdir()
    config.write_text(
        '[indexes.main]\nkind = "routed"\n'
        'rules = [{ projects = ["*"], to = { page = "pages/{name}.html" } }]\n'
    )
    (rule,) = load_settings({}, config).settings.model_dump()["indexes"]["main"]["rules"]
    assert rule["to"]["page"] == tmp_path / "conf" / "pages" / "{name}.html"


async def test_an_upstream_that_is_down_is_no_reason_to_ask_another(shops: Shops) -> None:
    shops.cuda.fault("/simple/", Fault(status=503))
    async with shops.open(ROUTES) as proxy:
        with pytest.raises(Exception, match="cuda"):
            await proxy.index.page(TORCH)
    assert shops.world.requests == []


async def test_the_short_settings_and_their_tables_are_the_same_tree(shops: Shops) -> None:
    packages = shops.root / "packages"
    packages.mkdir()
    short = {"packages": str(packages), "upstream": shops.world.url, "reserved": ["acme-*"]}
    tables = {
        "private": {"kind": "local", "path": str(packages)},
        "upstream": {"kind": "mirror", "url": shops.world.url, "reserved": ["acme-*"]},
        "main": {"kind": "fallthrough", "of": ["private", "upstream"]},
    }
    one = resolve_tree(load_settings({**short}).settings)
    other = resolve_tree(load_settings({"indexes": tables}).settings)
    assert list(describe(one)) == list(describe(other))
    for name, node in one.named.items():
        assert node.table.model_dump() == other.named[name].table.model_dump()


async def test_a_project_that_rules_hide_completely_in_the_first_index_stops_there(
    shops: Shops,
) -> None:
    tables = {
        "first": {"kind": "mirror", "url": shops.cuda.url, "policies": ["none"]},
        "world": {"kind": "mirror", "url": shops.world.url},
        "main": {"kind": "fallthrough", "of": ["first", "world"]},
    }
    given = {"indexes": tables, "policies": {"none": {"kind": "deny", "filenames": ["*"]}}}
    known = {"cache_dir": shops.root / "cache", "retries": 0, "speculate": "off", "netrc": False}
    settings = load_settings({**known, **given}).settings
    async with open_proxy(settings, shops.clock) as proxy:
        for file in (await proxy.index.page(NUMPY)).files:
            assert file.yanked
        with pytest.raises(Denied):
            await proxy.index.file(NUMPY, "numpy-2.0-py3-none-any.whl")
        with pytest.raises(NoSuchFile):
            await proxy.index.file(NUMPY, "numpy-1.0-py3-none-any.whl")
    assert shops.world.requests == []


async def test_an_address_of_a_project_that_is_routed_elsewhere_now_is_decided_by_the_route(
    shops: Shops,
) -> None:
    before = {"kind": "fallthrough", "of": ["world"]}
    async with shops.open(before) as proxy:
        digest = (await proxy.index.page(TORCH)).files[0].address_digest
        assert await read(proxy, TORCH)
    async with shops.open(ROUTES) as proxy:
        with pytest.raises(NoSuchFile):
            await proxy.index.file(TORCH, WHEEL, digest)


async def test_an_index_that_many_are_made_of_is_described_once(shops: Shops) -> None:
    """Each layer names the two below it: a walk over all ways would not end."""
    size = 100
    tables: dict[str, Any] = {
        f"i{number}": {"kind": "fallthrough", "of": [f"i{number + 1}", f"i{number + 2}"]}
        for number in range(size)
    }
    tables |= {f"i{size + each}": {"kind": "mirror", "url": shops.world.url} for each in (0, 1)}
    tree = resolve_tree(load_settings({"indexes": tables, "index": "i0"}).settings)
    lines = list(describe(tree))
    assert sum(line.endswith("as above") for line in lines) == size - 2
    assert [leaf.name for leaf in tree.leaves] == ["i100", "i101"]
