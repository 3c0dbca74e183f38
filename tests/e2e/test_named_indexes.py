"""Named indexes: each has addresses of its own, and real installers use these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from tests.docs.documents import ROOT, steps
from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.running import Running, running, waystation
from tests.support.upstream import Fault, Upstream

pytestmark = pytest.mark.slow

MakePlace = Callable[[], Place]


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, (await response.read()).decode(errors="replace")


def write_settings(folder: Path, text: str) -> Path:
    path = folder / "waystation.toml"
    path.write_text(text)
    return path


@pytest.fixture
async def other() -> AsyncIterator[Upstream]:
    async with Upstream() as running_upstream:
        yield running_upstream


@pytest.fixture
async def two(tmp_path: Path, upstream: Upstream, other: Upstream) -> AsyncIterator[Running]:
    """Two upstreams and a directory, each with its own version of ``aaa``."""
    upstream.add(make_wheel(tmp_path / "world", "aaa", "1.0"))
    other.add(make_wheel(tmp_path / "other", "aaa", "2.0"))
    make_wheel(tmp_path / "packages", "aaa", "3.0")
    config = write_settings(
        tmp_path,
        f"""
        prefix = "/base"
        [indexes.private]
        kind = "local"
        path = "packages"
        [indexes.world]
        kind = "mirror"
        url = "{upstream.url}"
        [indexes.other]
        kind = "mirror"
        url = "{other.url}"
        [indexes.main]
        kind = "fallthrough"
        of = ["private", "world"]
        """,
    )
    async with running(tmp_path, "--config", config) as server:
        yield server


VERSIONS = {"": "3.0", "/main": "3.0", "/private": "3.0", "/world": "1.0", "/other": "2.0"}


async def test_each_index_has_addresses_of_its_own(two: Running, other: Upstream) -> None:
    for _ in range(3):  # from upstream, from memory, and by the fast path
        for root, version in VERSIONS.items():
            for base in ("", "/base"):
                status, text = await get(f"{two.address}{base}{root}/simple/aaa/")
                assert status == 200
                assert f"aaa-{version}-py3-none-any.whl" in text
                assert 'href="../../files/aaa/' in text
    assert other.count("/simple/aaa/") == 1


async def test_installers_use_any_of_them(two: Running, place: MakePlace, tool: str) -> None:
    for root, version in (("/other", "2.0"), ("/base/world", "1.0"), ("", "3.0")):
        here = place()
        (await here.install(tool, f"{two.address}{root}/simple/", "aaa")).succeeded()
        assert here.installed()["aaa"] == version


async def test_a_file_is_served_by_the_indexes_that_list_it_and_no_other(two: Running) -> None:
    _, text = await get(f"{two.address}/world/simple/aaa/")
    path = text.split('href="../../')[1].split("#")[0]
    assert (await get(f"{two.address}/world/{path}"))[0] == 200
    for root in ("", "/main", "/private", "/other"):
        assert (await get(f"{two.address}{root}/{path}"))[0] == 404


async def test_people_are_shown_all_indexes(two: Running) -> None:
    for root in ("", "/base"):
        _, text = await get(f"{two.address}{root}/")
        assert f"--index-url {two.address}{root}/simple/" in text
        assert all(f'href="{name}/"' in text for name in ("private", "world", "other", "main"))
    for path in ("/world/", "/world", "/base/world"):
        _, text = await get(f"{two.address}{path}")
        assert f"--index-url {two.address}{path.rstrip('/')}/simple/" in text
    greeting = "\n".join(two.out.lines)
    assert "other: mirror of http" in greeting
    assert "each also at /NAME/simple/: private, world, other, main" in greeting


async def test_a_name_that_no_index_has_is_not_found(two: Running) -> None:
    for path in ("/none/simple/aaa/", "/none/", "/none/files/aaa/-/a.whl", "/upstream/simple/"):
        assert (await get(f"{two.address}{path}"))[0] == 404


async def test_the_short_settings_serve_one_index(tmp_path: Path, upstream: Upstream) -> None:
    upstream.add(make_wheel(tmp_path / "world", "aaa", "1.0"))
    make_wheel(tmp_path / "packages", "acme", "3.0")
    async with running(tmp_path, "--upstream", upstream.url) as server:
        assert (await get(f"{server.address}/main/simple/aaa/"))[0] == 200
        assert (await get(f"{server.address}/simple/acme/"))[0] == 200
        assert (await get(f"{server.address}/upstream/simple/acme/"))[0] == 404
        assert (await get(f"{server.address}/private/simple/acme/"))[0] == 404
    assert upstream.count("/simple/acme/") == 0


async def test_prefetching_goes_through_the_index_that_a_client_addressed(
    tmp_path: Path, two: Running, upstream: Upstream, other: Upstream, place: MakePlace
) -> None:
    other.add(make_wheel(tmp_path / "other", "bbb", "1.0", requires=["ccc"]))
    other.add(make_wheel(tmp_path / "other", "ccc", "1.0"))
    (await place().install("pip", f"{two.address}/other/simple/", "bbb")).succeeded()
    assert other.count("/simple/ccc/") == 1
    assert upstream.count("/simple/bbb/") == upstream.count("/simple/ccc/") == 0


@pytest.mark.parametrize("name", ["simple", "Main", "a_b"])
async def test_a_name_that_cannot_be_in_an_address_is_a_wrong_setting(
    tmp_path: Path, name: str
) -> None:
    config = write_settings(tmp_path, f'[indexes.{name}]\nkind = "mirror"\n')
    with pytest.raises(EOFError, match=rf"indexes\.{name}: "):
        async with running(tmp_path, "--config", config):
            pass


class Shop:
    """PyPI, and an index of builds for one kind of hardware with an old copy of numpy.

    That index answers 403 for what it does not have, in HTML, and gives no upload times.
    """

    def __init__(self, root: Path, world: Upstream, cuda: Upstream) -> None:
        self.world, self.cuda = world, cuda
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        cuda.add(
            make_wheel(root / "cuda", "torch", "2.9.0+cu130", requires=["numpy", "nvidia-x-cu13"]),
            uploaded=None,
        )
        cuda.add(make_wheel(root / "cuda", "nvidia-x-cu13", "1.0"), uploaded=None)
        cuda.add(make_wheel(root / "cuda", "numpy", "1.0"), uploaded=None)
        world.add(make_wheel(root / "world", "torch", "3.0"))
        world.add(make_wheel(root / "world", "numpy", "2.0"))
        world.add(make_wheel(root / "world", "numpy", "3.0"), uploaded=now)
        world.add(make_wheel(root / "world", "internal-tool", "9.0"))
        for path in ("/simple/internal-tool/", "/simple/requests/"):
            cuda.fault(path, Fault(status=403))

    def names(self, upstream: Upstream) -> set[str]:
        return {each.path.split("/")[2] for each in upstream.requests if "/simple/" in each.path}


@pytest.fixture
async def shop(tmp_path: Path, upstream: Upstream, other: Upstream) -> Shop:
    return Shop(tmp_path, upstream, other)


def as_in_the_documents(shop: Shop) -> str:
    """The example as it is written, with the addresses of the test."""
    text = next(
        step.text
        for step in steps(ROOT / "docs" / "several-indexes.md")
        if (step.directive, step.argument) == ("file", "shop.toml")
    )
    world = f'[indexes.world]\nkind = "mirror"\nurl = "{shop.world.url}"\n'
    text = text.replace('[indexes.world]\nkind = "mirror"\n', world)
    for name in ("cu130", "cpu"):
        text = text.replace(f"https://wheels.example.com/whl/{name}/", shop.cuda.url)
    return text.replace("cdn.example.com", shop.cuda.origin.partition("://")[2])


async def test_an_ml_shop_gets_its_builds_and_everything_else_from_elsewhere(
    tmp_path: Path, shop: Shop, place: MakePlace, tool: str
) -> None:
    config = write_settings(tmp_path, as_in_the_documents(shop))
    async with running(tmp_path, "--config", config) as server:
        here, laptop = place(), place()
        (await here.install(tool, server.index, "torch")).succeeded()
        (await laptop.install(tool, f"{server.address}/laptops/simple/", "numpy")).succeeded()
        for name in ("internal-tool", "requests"):
            done = await place().install(tool, server.index, name)
            assert done.status
    assert here.installed() == {"torch": "2.9.0+cu130", "nvidia_x_cu13": "1.0", "numpy": "2.0"}
    assert laptop.installed() == {"numpy": "2.0"}  # 3.0 is too young
    assert shop.names(shop.cuda) == {"torch", "nvidia-x-cu13"}
    assert shop.names(shop.world) == {"numpy", "requests"}


async def test_a_merged_page_is_an_error_while_one_index_is_down(
    tmp_path: Path, shop: Shop, place: MakePlace, tool: str
) -> None:
    config = write_settings(
        tmp_path,
        f"""
        retries = 0
        [indexes.builds]
        kind = "mirror"
        url = "{shop.cuda.url}"
        [indexes.world]
        kind = "mirror"
        url = "{shop.world.url}"
        [indexes.main]
        kind = "fallthrough"
        of = ["builds", "world"]
        merge = ["numpy"]
        """,
    )
    async with running(tmp_path, "--config", config) as server:
        shop.world.fault("/simple/numpy/", Fault(status=500))
        assert (await get(f"{server.index}numpy/"))[0] == 502
        here = place()
        assert (await here.install(tool, server.index, "numpy")).status
        assert here.installed() == {}
        shop.world.heal()
        (await here.install(tool, server.index, "numpy==1.0")).succeeded()
        (await here.install(tool, server.index, "--upgrade", "numpy")).succeeded()
        assert here.installed() == {"numpy": "3.0"}
        assert (await get(f"{server.index}torch/"))[0] == 200  # not merged: of the first alone
        assert "torch-3.0" not in (await get(f"{server.index}torch/"))[1]


async def test_a_denied_project_ends_with_the_reason(
    tmp_path: Path, shop: Shop, place: MakePlace
) -> None:
    config = write_settings(
        tmp_path,
        f"""
        [indexes.world]
        kind = "mirror"
        url = "{shop.world.url}"
        [indexes.main]
        kind = "routed"
        rules = [
          {{ projects = ["torch"], to = "deny", reason = "see wiki" }},
          {{ projects = ["*"], to = "world" }},
        ]
        """,
    )
    async with running(tmp_path, "--config", config) as server:
        for path in ("simple/torch/", "files/torch/-/torch-3.0-py3-none-any.whl"):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{server.address}/{path}") as response,
            ):
                assert response.status == 403
                assert response.reason
                assert response.reason.startswith("Refused by rule main: torch: see wiki")
    assert shop.world.count("torch") == 0


@pytest.mark.parametrize("trouble", ["dead", "slow", "lying"])
async def test_an_install_succeeds_while_one_address_of_the_content_is(
    tmp_path: Path,
    upstream: Upstream,
    other: Upstream,
    chain: dict[str, str],
    place: MakePlace,
    tool: str,
    trouble: str,
) -> None:
    for wheel in (tmp_path / "dist").iterdir():
        other.add(wheel)
    faults = {"dead": Fault(reset=True), "slow": Fault(hang=True), "lying": Fault(corrupt=True)}
    upstream.fault("/files/" if trouble == "lying" else "", faults[trouble])
    config = write_settings(
        tmp_path,
        f"""
        soft_deadline = 0.2
        read_timeout = 5
        [indexes.main]
        kind = "mirror"
        url = "{upstream.url}"
        mirrors = ["{other.url}"]
        """,
    )
    async with running(tmp_path, "--config", config) as server:
        here = place()
        (await here.install(tool, server.index, "aaa")).succeeded()
        assert here.installed() == chain
    assert other.count("/files/")


@pytest.mark.parametrize("mode", ["stream", "redirect"])
async def test_an_install_works_in_every_mode(
    tmp_path: Path,
    chain: dict[str, str],
    upstream: Upstream,
    place: MakePlace,
    tool: str,
    mode: str,
) -> None:
    config = write_settings(
        tmp_path, f'[indexes.main]\nkind = "mirror"\nurl = "{upstream.url}"\nmode = "{mode}"\n'
    )
    async with running(tmp_path, "--config", config) as server:
        here = place()
        (await here.install(tool, server.index, "aaa")).succeeded()
        assert here.installed() == chain
        assert any(f"mirror of {upstream.url};" in line for line in server.out.lines)
    assert not [each for each in (tmp_path / "cache" / "blob").rglob("*") if each.is_file()]


async def test_a_bundle_has_the_files_of_a_merged_page(tmp_path: Path, shop: Shop) -> None:
    config = write_settings(
        tmp_path,
        f"""
        [indexes.builds]
        kind = "mirror"
        url = "{shop.cuda.url}"
        [indexes.world]
        kind = "mirror"
        url = "{shop.world.url}"
        [indexes.main]
        kind = "fallthrough"
        of = ["builds", "world"]
        merge = ["numpy"]
        """,
    )
    near = ("--config", config, "--cache-dir", tmp_path / "near")
    far = ("--config", config, "--cache-dir", tmp_path / "far")
    for version in ("1.0", "2.0"):  # of the first index, and of the second
        wanted = f"numpy=={version}"
        bundle = tmp_path / f"{version}.bundle"
        (await waystation("warm", wanted, *near, cwd=tmp_path)).succeeded()
        made = await waystation("bundle", "create", bundle, wanted, *near, cwd=tmp_path)
        assert "private" not in made.succeeded().err
        (await waystation("bundle", "import", bundle, *far, cwd=tmp_path)).succeeded()
        (await waystation("ready", wanted, *far, cwd=tmp_path)).succeeded()


async def test_a_command_goes_through_the_index_that_is_named(tmp_path: Path, shop: Shop) -> None:
    config = write_settings(tmp_path, as_in_the_documents(shop))
    given = ("--config", config, "--cache-dir", tmp_path / "cache")
    done = await waystation("warm", "numpy", "--index", "laptops", *given, cwd=tmp_path)
    assert "fetched" in done.succeeded().out
    assert shop.names(shop.world) == {"numpy"}
    refused = await waystation("warm", "numpy==3.0", "--index", "laptops", *given, cwd=tmp_path)
    assert refused.status == 1  # too young for the rules of that index
    unknown = await waystation("warm", "numpy", "--index", "none", *given, cwd=tmp_path)
    assert "there is no index 'none'" in unknown.err


async def test_the_rules_of_a_waystation_upstream_are_refusals_here_too(
    tmp_path: Path, shop: Shop, place: MakePlace, tool: str
) -> None:
    """An existing lock file meets a rule of the server upstream: no outage, but its reason."""
    config = write_settings(
        tmp_path,
        f"""
        [indexes.main]
        kind = "mirror"
        url = "{shop.world.url}"
        policies = ["banned"]
        [policies.banned]
        kind = "deny"
        projects = ["torch"]
        reason = "see wiki"
        """,
    )
    near = tmp_path / "near"
    near.mkdir()
    async with (
        running(tmp_path, "--config", config) as far,
        running(near, "--upstream", far.index) as server,
    ):
        assert "see wiki" in (await get(f"{server.index}torch/"))[1]  # yanked, with the reason
        done = await place().install(tool, server.index, "torch==3.0", "--no-deps")
        assert done.status
        said = "Refused by rule upstream: refused upstream by rule banned: torch"
        assert said in done.out + done.err
        assert "see wiki" in done.out + done.err
    refused = [each for each in server.requests() if each["status"] == 403]
    assert refused
    assert not [each for each in server.requests() if each["status"] >= 500]


async def test_indexes_of_one_upstream_have_one_cache_and_each_its_rules(
    tmp_path: Path, shop: Shop, place: MakePlace, tool: str
) -> None:
    """Whatever one of them has just answered, from memory or by the fast path."""
    config = write_settings(
        tmp_path,
        f"""
        index = "strict"
        [indexes.strict]
        kind = "mirror"
        url = "{shop.world.url}"
        policies = ["old"]
        [indexes.open]
        kind = "mirror"
        url = "{shop.world.url}"
        [policies.old]
        kind = "files"
        latest = 1
        """,
    )
    async with running(tmp_path, "--config", config) as server:
        _, text = await get(f"{server.address}/open/simple/numpy/")
        path = next(part for part in text.split('"') if "numpy-2.0" in part).partition("#")[0]
        for _ in range(3):
            assert "numpy-2.0" in (await get(f"{server.address}/open/simple/numpy/"))[1]
            assert "numpy-2.0" not in (await get(f"{server.address}/simple/numpy/"))[1]
            assert (await get(f"{server.address}/open/{path[6:]}"))[0] == 200
            assert (await get(f"{server.address}/strict/{path[6:]}"))[0] == 403
        for index, version in (("open", "2.0"), ("strict", "3.0")):
            here = place()
            url = f"{server.address}/{index}/simple/"
            (await here.install(tool, url, "numpy<3" if index == "open" else "numpy")).succeeded()
            assert here.installed() == {"numpy": version}
    assert shop.world.count("/simple/numpy/") == 1
