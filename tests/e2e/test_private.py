"""Private projects: installers get them, and upstream never gets a request for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from tests.support.distributions import make_sdist, make_wheel
from tests.support.installers import Place
from tests.support.running import Running, running
from tests.support.upstream import Upstream

New = Callable[[], Place]


def upstream_heard_of(upstream: Upstream, name: str) -> bool:
    return any(name in each.path for each in upstream.requests)


async def test_a_higher_version_upstream_is_never_chosen(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    make_wheel(tmp_path / "packages", "corp-x", "1.0", requires=["public"])
    for name, version in (("corp-x", "99.0"), ("public", "2.0")):
        upstream.add(make_wheel(tmp_path / "dist", name, version))
    async with running(tmp_path, "--upstream", upstream.url) as server:
        there = place()
        (await there.install(tool, server.index, "Corp_X")).succeeded()
        assert there.installed() == {"corp_x": "1.0", "public": "2.0"}
        missed = await place().install(tool, server.index, "corp-x==99.0")
        assert missed.status != 0
    assert not upstream_heard_of(upstream, "corp")


async def test_a_reserved_name_is_unknown_and_never_sent_upstream(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    upstream.add(make_wheel(tmp_path / "dist", "corp-typo", "1.0"))
    given = ("--upstream", upstream.url)
    async with running(tmp_path, *given, WAYSTATION_RESERVED="corp-*") as server:
        there = place()
        assert (await there.install(tool, server.index, "corp_typo")).status != 0
        assert there.installed() == {}
    assert upstream.requests == []


async def test_private_files_of_both_layouts_and_kinds_install(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    packages = tmp_path / "private"
    make_wheel(packages, "flat-wheel", "1.0")
    make_sdist(packages / "nested-sdist", "nested-sdist", "1.0")
    make_sdist(packages, "zipped", "1.0", fmt="zip")
    given = ("--upstream", upstream.url, "--packages", packages)
    async with running(tmp_path, *given) as server:
        there = place()
        wanted = ("flat-wheel", "nested-sdist", "zipped")
        (await there.install(tool, server.index, *wanted)).succeeded()
        assert there.installed() == {"flat_wheel": "1.0", "nested_sdist": "1.0", "zipped": "1.0"}
    outcomes = {each["outcome"] for each in server.requests() if each["path"] != "/simple/pip/"}
    assert outcomes == {"local"}


async def _upgraded(server: Running, place: Place, *options: str) -> None:
    given = ("install", "-U", "--index-url", server.index, *options, "corp-x")
    (await place.pip(*given, cache=True)).succeeded()


@pytest.mark.slow
async def test_a_new_private_version_is_seen_by_the_next_upgrade(
    tmp_path: Path, upstream: Upstream, place: New
) -> None:
    packages = tmp_path / "packages"
    make_wheel(packages, "corp-x", "1.0")
    trusted = (
        "--trusted-host",
        "127.0.0.1",
    )  # else pip does not cache pages that came by plain http
    async with running(tmp_path, "--upstream", upstream.url) as server:
        with_pip, with_uv = place(), place()
        for version in ("1.0", "1.1", "2.0"):
            if version != "1.0":
                make_wheel(packages, "corp-x", version)
            await _upgraded(server, with_pip, *trusted)
            assert with_pip.installed() == {"corp_x": version}
            (await with_uv.install("uv", server.index, "-U", "corp-x")).succeeded()
            assert with_uv.installed() == {"corp_x": version}


async def test_pages_in_the_cache_of_installers_are_revalidated_and_not_sent_again(
    tmp_path: Path, upstream: Upstream, place: New
) -> None:
    make_wheel(tmp_path / "packages", "corp-x", "1.0")
    async with running(tmp_path, "--upstream", upstream.url) as server:
        there = place()
        for _ in range(2):
            await _upgraded(server, there, "--trusted-host", "127.0.0.1", "--force-reinstall")
            (await there.install("uv", server.index, "--reinstall", "corp-x")).succeeded()
    pages = [each for each in server.requests() if each["path"] == "/simple/corp-x/"]
    answers = {(each["tool"].partition("/")[0], each["status"]) for each in pages}
    assert answers >= {("pip", 200), ("pip", 304), ("uv", 200), ("uv", 304)}
    assert sum(each["status"] == 200 for each in pages) == 2  # no client had to repeat a request


async def test_directories_and_an_archive_are_one_index(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    make_wheel(tmp_path / "packages" / "team" / "deep", "corp-a", "1.0", requires=["corp-b>=1"])
    make_sdist(tmp_path / "more", "corp-b", "1.0")
    b = make_wheel(tmp_path / "made", "corp-b", "2.0", padding=300_000)
    for name in ("corp-a", "corp-b", "corp-c"):
        upstream.add(make_wheel(tmp_path / "dist", name, "99.0"))
    make_wheel(tmp_path / "made", "corp-c", "1.0")
    made = shutil.make_archive(str(tmp_path / "wheels"), "zip", tmp_path / "made")
    (tmp_path / "waystation.toml").write_text(
        '[indexes.private]\nkind = "local"\npath = "packages"\n'
        'paths = ["more", "wheels.zip"]\n[indexes.world]\nkind = "mirror"\n'
        f'url = "{upstream.url}"\n[indexes.main]\nkind = "fallthrough"\n'
        'of = ["private", "world"]\n'
    )
    async with running(tmp_path, "--config", tmp_path / "waystation.toml") as server:
        there = place()
        (await there.install(tool, server.index, "corp-a", "corp-c")).succeeded()
        assert there.installed() == {"corp_a": "1.0", "corp_b": "2.0", "corp_c": "1.0"}
        b.unlink()
        shutil.make_archive(str(tmp_path / "next"), "zip", tmp_path / "made")
        (tmp_path / "next.zip").replace(made)
        there = place()
        (await there.install(tool, server.index, "corp-a")).succeeded()
        assert there.installed() == {"corp_a": "1.0", "corp_b": "1.0"}
    assert not upstream_heard_of(upstream, "corp")


async def test_a_signature_is_served_beside_its_file(tmp_path: Path, place: New, tool: str) -> None:
    wheel = make_wheel(tmp_path / "packages", "corp-a", "1.0")
    wheel.with_name(f"{wheel.name}.asc").write_bytes(b"-----BEGIN PGP SIGNATURE-----\n")
    make_sdist(tmp_path / "packages", "corp-a", "0.9")
    (tmp_path / "waystation.toml").write_text(
        '[indexes.main]\nkind = "local"\npath = "packages"\nextra_files = true\n'
    )
    async with running(tmp_path, "--config", tmp_path / "waystation.toml") as server:
        there = place()
        (await there.install(tool, server.index, "corp-a")).succeeded()
        assert there.installed() == {"corp_a": "1.0"}
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{server.index}corp-a/") as answer:
                page = await answer.text()
            assert page.count("data-gpg-sig=") == 2 and page.count('data-gpg-sig="true"') == 1
            (link,) = (part for part in page.split('"') if wheel.name in part and "#" in part)
            address = urljoin(f"{server.index}corp-a/", link.partition("#")[0])
            async with client.get(f"{address}.asc") as answer:
                assert await answer.read() == b"-----BEGIN PGP SIGNATURE-----\n"
                assert answer.headers["Content-Type"] == "application/pgp-signature"
                assert "immutable" not in answer.headers["Cache-Control"]
