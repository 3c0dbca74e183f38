"""Private names never reach upstream, for any layout of files and any server on the cache."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import aiohttp
import pytest
from pydantic import HttpUrl

from proxy.composition.cache import open_cache
from proxy.config.settings import Settings
from proxy.errors import PrivateNameWithheld
from proxy.model import ProjectName
from proxy.storage.keys import Key
from proxy.warm.keep.run import temporary_cache
from tests.support.distributions import make_wheel
from tests.support.running import Running, running, waystation
from tests.support.upstream import Upstream
from tests.support.waiting import until

NAME = "acme_tool-1.0-py3-none-any.whl"


async def status(server: Running, project: str) -> int:
    return (await page(server, project))[0]


async def until_status(server: Running, project: str, wanted: int) -> None:
    async def is_so() -> bool:
        return await status(server, project) == wanted

    await until(is_so)


async def page(server: Running, project: str) -> tuple[int, str]:
    address = f"{server.index}{project}/"
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        return response.status, await response.text()


async def asked_for(server: Running, *projects: str) -> dict[str, int]:
    return {project: await status(server, project) for project in projects}


def logged_lines(server: Running, *words: str) -> list[str]:
    """The lines of the log that contain all of these."""
    return [line for line in server.err.lines if all(word in line for word in words)]


@pytest.fixture
def public_index(tmp_path: Path, upstream: Upstream) -> Upstream:
    """An upstream where someone else has registered the private names."""
    for name in ("acme", "acme-tool", "acme-old"):
        upstream.add(make_wheel(tmp_path / "dist", name, "99.0"))
    return upstream


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The folder of the first server, with ``packages``."""
    folder = tmp_path / "first"
    make_wheel(folder / "packages", "acme-tool", "1.0")
    return folder


@pytest.mark.parametrize(
    ("filename", "projects"),
    [
        ("acme_scm-1.2_g1a2b3c-py3-none-any.whl", ["acme-scm"]),
        ("acme_flit-0.1_deadbeef-py3-none-any.whl", ["acme-flit"]),
        ("acme-dash-1.0-py3-none-any.whl", ["acme-dash", "acme"]),
        ("acme_latest-latest-py3-none-any.whl", ["acme-latest"]),
        ("acme_tb-nightly.tar.gz", ["acme-tb", "acme-tb-nightly"]),
        ("ACME_TOOL-1.0.TAR.GZ", ["acme-tool"]),
        ("Acme_Tool-1.0-py3-none-any.WHL", ["acme-tool"]),
        ("acme_tool.zip", ["acme-tool"]),
        ("acme_tool-1.0.tar.zst", ["acme-tool"]),
        ("acme_tool-1.0.win-amd64.msi", ["acme-tool"]),
        ("acme-tool-1.0-1.noarch.rpm", ["acme-tool"]),
        ("acme_tool-1.0-py3-none-any.whl.metadata", ["acme-tool"]),
        ("acme_tool-1.0-py3-none-any.whl.part", ["acme-tool"]),
        (".acme_tool-1.0-py3-none-any.whl.x7Yz9Q", ["acme-tool"]),
        ("acme\u2011tool-1.0.zip", ["acme-tool"]),
        ("\uff41cme_tool-1.0.tar.gz", ["acme-tool"]),
        ("acme%5Ftool-1.0%2Blocal-py3-none-any.whl", ["acme-tool"]),
        ("deep/deeper/deepest/acme_tool-1.0-py3-none-any.whl", ["acme-tool"]),
        ("acme_tool-1.0/", ["acme-tool"]),
        ("Acme.Tool/", ["acme-tool"]),
    ],
)
async def test_a_name_that_a_file_could_mean_is_private(
    tmp_path: Path, upstream: Upstream, filename: str, projects: list[str]
) -> None:
    path = tmp_path / "packages" / filename
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "packages" / "other").mkdir()
    async with running(tmp_path, "--upstream", upstream.url) as server:
        if filename.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(b"no archive")
        assert await asked_for(server, *projects) == dict.fromkeys(projects, 200)
    shutil.rmtree(tmp_path / "packages")
    async with running(tmp_path, "--upstream", upstream.url) as server:
        assert await asked_for(server, *projects) == dict.fromkeys(projects, 503)
        assert logged_lines(server, str(tmp_path / "packages"), "is not served now", projects[0])
        (tmp_path / "packages").mkdir()
        assert await asked_for(server, *projects) == dict.fromkeys(projects, 200)
    assert upstream.requests == []


@pytest.mark.parametrize("how", ["none", "empty", "renamed", "removed", "flag"])
async def test_every_server_on_a_cache_honours_its_private_names(
    tmp_path: Path, first: Path, public_index: Upstream, how: str
) -> None:
    given: tuple[str | Path, ...] = (
        "--upstream",
        public_index.url,
        "--cache-dir",
        tmp_path / "cache",
    )
    make_wheel(first / "packages", "acme-old", "1.0")
    async with running(first, *given):
        pass
    second = tmp_path / "second"
    second.mkdir()
    if how == "empty":
        (second / "packages").mkdir()
    elif how == "renamed":
        (first / "packages" / "acme_old-1.0-py3-none-any.whl").unlink()
        (first / "packages").rename(second / "packages")
    elif how == "removed":
        shutil.rmtree(first / "packages")
    elif how == "flag":
        (second / "other").mkdir()
        given = (*given, "--packages", second / "other")
    async with running(second, *given) as server:
        seen = await asked_for(server, "acme-tool", "acme-old")
        assert seen == {"acme-tool": 200 if how == "renamed" else 503, "acme-old": 503}
        (line,) = logged_lines(
            server, str(first / "packages"), "acme-old", "waystation cache purge"
        )
        assert ("acme-tool" in line) is (how != "renamed")
        assert public_index.requests == []
        purged = await waystation("cache", "purge", "acme-old", *given[2:4], cwd=tmp_path)
        purged.succeeded()
        await until_status(server, "acme-old", 200)
        assert [each.path for each in public_index.requests] == ["/simple/acme-old/"]


async def test_claims_of_older_caches_are_honoured(tmp_path: Path, public_index: Upstream) -> None:
    async with open_cache(Settings(cache_dir=tmp_path / "cache")) as cache:
        await cache.records.put(Key.parse("claim/%2Fsrv%2Fold/acme-tool"), b"acme-tool")
    for _ in range(2):
        async with running(tmp_path, "--upstream", public_index.url) as server:
            assert await status(server, "acme-tool") == 503
            assert logged_lines(server, "/srv/old", "acme-tool")
    assert public_index.requests == []
    purged = await waystation("cache", "purge", "acme-tool", "--cache-dir", "cache", cwd=tmp_path)
    assert "acme-tool is no longer private" in purged.succeeded().out
    async with running(tmp_path, "--upstream", public_index.url) as server:
        assert await status(server, "acme-tool") == 200
        assert not logged_lines(server, "/srv/old")


async def test_a_claim_outlives_a_kill_right_after_its_first_answer(
    tmp_path: Path, public_index: Upstream
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    async with running(tmp_path, "--upstream", public_index.url) as server:
        make_wheel(packages, "acme-tool", "1.0")
        assert await status(server, "acme-tool") == 200
        server.send(signal.SIGKILL)
        await server.ended()
    (packages / NAME).unlink()
    async with running(tmp_path, "--upstream", public_index.url) as server:
        assert await status(server, "acme-tool") == 200
    assert public_index.requests == []


async def test_a_directory_that_is_made_after_the_start_is_read(
    tmp_path: Path, public_index: Upstream
) -> None:
    async with running(tmp_path, "--upstream", public_index.url) as server:
        (line,) = [line for line in server.out.lines if "private:" in line]
        assert str(tmp_path / "packages") in line
        assert "does not exist yet" in line
        assert await status(server, "acme-tool") == 200
        assert len(public_index.requests) == 1
        make_wheel(tmp_path / "packages", "acme-tool", "1.0")
        _, text = await page(server, "acme-tool")
        assert NAME in text
        assert "99.0" not in text
        make_wheel(tmp_path / "packages", "acme-old", "1.0")
        assert await status(server, "acme-old") == 200
    assert len(public_index.requests) == 1


async def test_a_dangling_link_instead_of_the_directory_is_an_error(
    tmp_path: Path, public_index: Upstream
) -> None:
    (tmp_path / "packages").symlink_to(tmp_path / "share" / "packages")
    async with running(tmp_path, "--upstream", public_index.url) as server:
        assert await status(server, "acme-tool") == 503
        assert public_index.requests == []
        make_wheel(tmp_path / "share" / "packages", "acme-tool", "1.0")
        assert await status(server, "acme-tool") == 200
    assert public_index.requests == []


async def test_dangling_links_make_their_own_names_private(
    tmp_path: Path, public_index: Upstream
) -> None:
    packages, share = tmp_path / "packages", tmp_path / "share"
    (packages / "linked").mkdir(parents=True)
    (packages / "linked" / "up").symlink_to(packages)
    async with running(tmp_path, "--upstream", public_index.url) as server:
        (packages / NAME).symlink_to(share / NAME)
        (packages / "acme.old").symlink_to(share / "acme-old")
        (packages / "linked" / "acme-2.0.tar.gz").symlink_to("acme-2.0.tar.gz")
        names = ("acme-tool", "acme-old", "acme")
        assert await asked_for(server, *names) == dict.fromkeys(names, 200)
        make_wheel(share, "acme-tool", "1.0")
        assert await status(server, "acme-tool") == 200
        assert logged_lines(server, NAME, "leads nowhere", "keeps these names private: acme-tool")
        assert logged_lines(server, "linked/up", "link to a folder")
    assert public_index.requests == []


async def test_servers_on_one_cache_honour_claims_of_each_other(
    tmp_path: Path, public_index: Upstream
) -> None:
    given: tuple[str | Path, ...] = (
        "--upstream",
        public_index.url,
        "--cache-dir",
        tmp_path / "cache",
    )
    for name in ("one", "two"):
        (tmp_path / name / "packages").mkdir(parents=True)
    async with running(tmp_path / "one", *given) as one, running(tmp_path / "two", *given) as two:
        assert await status(two, "acme-tool") == 200
        make_wheel(tmp_path / "one" / "packages", "acme-tool", "1.0")
        assert await status(one, "acme-tool") == 200
        await until_status(two, "acme-tool", 503)
        requests_before = len(public_index.requests)
        assert await status(two, "acme-tool") == 503
    assert len(public_index.requests) == requests_before


@pytest.mark.slow
async def test_workers_of_one_server_share_their_claims(
    tmp_path: Path, public_index: Upstream
) -> None:
    (tmp_path / "packages").mkdir()
    given: tuple[str | Path, ...] = ("--upstream", public_index.url)
    async with running(tmp_path, *given, WAYSTATION_WORKERS="2") as server:
        make_wheel(tmp_path / "packages", "acme-tool", "1.0")
        assert [await status(server, "acme-tool") for _ in range(12)] == [200] * 12
        server.send(signal.SIGTERM)
        await server.ended()
    shutil.rmtree(tmp_path / "packages")
    async with running(tmp_path, *given, WAYSTATION_WORKERS="2") as server:
        assert [await status(server, "acme-tool") for _ in range(12)] == [503] * 12
    assert public_index.requests == []


async def test_other_commands_on_the_cache_honour_its_private_names(
    tmp_path: Path, first: Path, public_index: Upstream
) -> None:
    given: tuple[str | Path, ...] = (
        "--upstream",
        public_index.url,
        "--cache-dir",
        tmp_path / "cache",
    )
    async with running(first, *given):
        pass
    done = await waystation("warm", "acme-tool", *given, cwd=tmp_path)
    assert done.status != 0
    assert "acme-tool" in done.out + done.err
    settings = Settings(cache_dir=tmp_path / "cache", upstream=HttpUrl(public_index.url))
    async with temporary_cache(
        settings
    ) as index:  # the index of a resolver, with a cache of its own
        with pytest.raises(PrivateNameWithheld):
            await index.page(ProjectName("acme-tool"))
    assert public_index.requests == []


@pytest.mark.parametrize("folder", ["", "team", "team/linux"])
async def test_without_notifications_a_new_file_in_any_folder_is_found(
    tmp_path: Path, public_index: Upstream, folder: str
) -> None:
    packages = tmp_path / "packages"
    (packages / "team" / "linux").mkdir(parents=True)
    for path in (packages, packages / "team", packages / "team" / "linux"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    given: tuple[str | Path, ...] = ("--upstream", public_index.url)
    async with running(tmp_path, *given, WAYSTATION_WATCH="false") as server:
        make_wheel(packages / folder, "acme-tool", "1.0")
        assert NAME in (await page(server, "acme-tool"))[1]
    assert public_index.requests == []


async def test_files_at_any_depth_are_served_and_followed(
    tmp_path: Path, public_index: Upstream
) -> None:
    deep = tmp_path / "packages" / "team" / "linux" / "2026"
    make_wheel(deep, "acme-tool", "1.0")
    async with running(tmp_path, "--upstream", public_index.url) as server:
        assert await status(server, "acme-tool") == 200
        make_wheel(deep / "more", "acme-old", "1.0")
        assert await status(server, "acme-old") == 200
        deep.parent.rename(deep.parents[1] / "windows")
        make_wheel(deep.parents[1] / "windows" / "2026" / "more", "acme", "1.0")
        for name in ("acme-tool", "acme-old", "acme"):
            assert "1.0-py3-none-any.whl" in (await page(server, name))[1]
    assert public_index.requests == []


async def test_a_list_of_private_names_that_cannot_be_read_stops_the_start(
    tmp_path: Path, public_index: Upstream
) -> None:
    (tmp_path / "cache" / "private-names").mkdir(parents=True)
    done = await waystation("serve", "--cache-dir", "cache", "--port", "0", cwd=tmp_path)
    assert done.status == 2
    assert "private-names cannot be read" in done.err
    assert os.listdir(tmp_path / "cache" / "private-names") == []
