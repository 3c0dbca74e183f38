"""A second site: it has what the first one publishes before anybody asks, and passes uploads on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.test_publishing import twine, uv_publish
from tests.support.content import sha256
from tests.support.distributions import make_sdist, make_wheel
from tests.support.installers import Place
from tests.support.running import Running, running, waystation
from tests.support.sockets import free_port
from tests.support.stored import stored_keys
from tests.support.waiting import until
from tests.web.test_uploads import body

pytestmark = pytest.mark.slow

FIRST = """
packages = "packages"
uploads = true
upstream = "http://127.0.0.1:9/simple/"
reserved = ["*"]
cache_dir = "cache"
"""
SECOND = """
index = "main"
cache_dir = "cache"

[indexes.team]
kind = "mirror"
url = "http://127.0.0.1:{port}/simple/"
follow = true
connect_timeout = 1
retries = 0

[indexes.main]
kind = "fallthrough"
of = ["team"]
"""


class TwoSites:
    """Their folders; the first one has a port that stays."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second = folder / "first", folder / "second"
        self.port = free_port()
        (self.first / "packages").mkdir(parents=True)
        self.second.mkdir()
        (self.first / "settings.toml").write_text(FIRST)
        (self.second / "settings.toml").write_text(SECOND.format(port=self.port))

    @asynccontextmanager
    async def first_runs(self, more: str = "") -> AsyncIterator[Running]:
        config = self.first / "settings.toml"
        config.write_text(FIRST + more)
        given = ("--config", config, "--port", str(self.port))
        async with running(self.first, *given) as server:
            yield server

    @asynccontextmanager
    async def second_runs(self, more: str = "") -> AsyncIterator[Running]:
        config = self.second / "settings.toml"
        config.write_text(more + SECOND.format(port=self.port))
        async with running(self.second, "--config", config) as server:
            yield server

    def has(self, *paths: Path) -> bool:
        """Whether the bytes are stored at the second site."""
        return {sha256(path.read_bytes()) for path in paths} <= stored_keys(
            self.second / "cache" / "blob"
        )


@pytest.fixture
def sites(tmp_path: Path) -> TwoSites:
    return TwoSites(tmp_path)


async def page(server: Running, project: str = "acme-tool") -> str:
    async with aiohttp.request("GET", f"{server.index}{project}/") as answer:
        return await answer.text()


async def upload(server: Running, path: Path, **headers: str) -> tuple[int, str]:
    address = f"{server.address}/legacy/"
    async with (
        aiohttp.ClientSession() as client,
        client.post(address, data=body(path), headers=headers) as answer,
    ):
        return answer.status, f"{answer.reason}\n{await answer.text()}"


async def test_what_is_published_is_there_before_anybody_asks_and_while_the_first_site_is_away(
    sites: TwoSites, tmp_path: Path, place: Callable[[], Place], tool: str
) -> None:
    before = make_wheel(tmp_path / "dist", "acme-lib", "1.0")
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0", requires=["acme-lib"])
    async with sites.first_runs() as first:
        assert (await upload(first, before))[0] == 200  # before the second site runs
        async with sites.second_runs() as second:
            await until(lambda: sites.has(before))
            assert (await upload(first, wheel))[0] == 200
            await until(lambda: sites.has(wheel))
            assert second.requests() == []
    async with sites.second_runs() as second:  # also after a restart
        colleague = place()
        (await colleague.install(tool, second.index, "acme-tool")).succeeded()
        assert colleague.installed() == {"acme_tool": "1.0", "acme_lib": "1.0"}
        sdist = make_sdist(tmp_path / "dist", "acme-tool", "2.0")
        async with sites.first_runs() as first:  # it is back
            assert (await upload(first, sdist))[0] == 200
            await until(lambda: sites.has(sdist), 40)
            assert "acme_tool-2.0" in await page(second)


async def test_all_changes_are_on_the_pages_of_all_processes_at_once(
    sites: TwoSites, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    async with sites.first_runs() as first, sites.second_runs("workers = 2\n") as second:
        assert "no such project" in await page(second)
        assert (await upload(first, wheel))[0] == 200

        async def shown(text: str) -> None:
            """On ten connections in a row: they reach both processes."""

            async def everywhere() -> bool:
                return all([text in await page(second) for _ in range(10)])

            await until(everywhere)

        await shown("acme_tool-1.0")
        config = ("--config", sites.first / "settings.toml")
        done = await waystation("yank", "acme-tool", "--all", *config, cwd=sites.first)
        done.succeeded()
        await shown("data-yanked")


async def test_uploads_are_passed_on_and_are_on_the_next_page(
    sites: TwoSites, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    sdist = make_sdist(tmp_path / "dist", "acme-tool", "1.0")
    other = make_wheel(tmp_path / "other", "acme-tool", "1.0", requires=["x"])
    home = tmp_path / "home"
    async with sites.first_runs() as first, sites.second_runs() as second:
        assert "no such project" in await page(second)
        (await twine(second, home, wheel)).succeeded()
        assert wheel.name in await page(second)
        check = ("--check-url", second.index)
        (await uv_publish(second, home, *check, wheel, sdist)).succeeded()
        assert sdist.name in await page(first)
        assert sdist.name in await page(second)
        status, text = await upload(second, other)
        assert (status, "File already exists" in text) == (409, True)
    async with sites.second_runs() as second:
        status, text = await upload(second, wheel)
        assert (status, "upload again later" in text) == (503, True)
        failed = await twine(second, home, sdist)
        assert failed.status != 0
        assert "503" in failed.out + failed.err
        assert wheel.name in await page(second)


async def test_a_large_upload_is_never_held_as_a_whole(sites: TwoSites, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0", padding=150_000_000)
    async with sites.first_runs(), sites.second_runs() as second:
        assert await page(second, "acme-lib")
        before = second.peak()
        assert (await upload(second, wheel))[0] == 200
        assert second.peak() - before < 60_000_000
        await until(lambda: sites.has(wheel), 60)


async def test_the_first_site_decides_by_the_credentials_of_the_client(
    sites: TwoSites, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    access = '[access]\nanonymous = ["read:main"]\n'
    async with sites.first_runs(access) as first, sites.second_runs() as second:
        config = ("--config", sites.first / "settings.toml")
        granted = ("token", "create", "--name", "ci", "--scope", "upload:private:acme-*")
        made = await waystation(*granted, *config, cwd=sites.first)
        token = made.succeeded().out.split()[-1]
        assert (await upload(second, wheel))[0] == 401
        assert (await upload(second, wheel, Authorization=f"Bearer {token}x"))[0] == 401
        assert (await upload(second, wheel, Authorization=f"Bearer {token}"))[0] == 200
        foreign = make_wheel(tmp_path / "dist", "bar", "1.0")
        assert (await upload(second, foreign, Authorization=f"Bearer {token}"))[0] == 403
        owners = await waystation("owners", "acme-tool", *config, cwd=sites.first)
        assert owners.succeeded().out == "token:ci\n"
        output = [*first.out.lines, *first.err.lines, *second.out.lines, *second.err.lines]
    assert [line for line in output if token in line] == []


async def test_the_right_to_upload_is_needed_at_the_second_site_too(
    sites: TwoSites, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    config = sites.second / "settings.toml"
    async with sites.first_runs():
        text = SECOND.format(port=sites.port) + '[access]\nanonymous = ["read:*"]\n'
        config.write_text(text)
        async with running(sites.second, "--config", config) as second:
            assert (await upload(second, wheel))[0] == 401
            made = await waystation(
                *("token", "create", "--name", "ci", "--scope", "upload:team"),
                *("--config", config),
                cwd=sites.second,
            )
            token = made.succeeded().out.split()[-1]
            status = (await upload(second, wheel, Authorization=f"Bearer {token}"))[0]
            assert status == 200  # the first site has no access control, and trusts its machine


async def test_uploads_in_a_circle_end(sites: TwoSites, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    port = free_port()
    config = sites.first / "settings.toml"
    config.write_text(SECOND.format(port=port))
    given = ("--config", config, "--port", str(sites.port))
    async with running(sites.first, *given):
        other = sites.second / "settings.toml"
        other.write_text(SECOND.format(port=sites.port))
        async with running(sites.second, "--config", other, "--port", str(port)) as second:
            async with asyncio.timeout(60):
                status, text = await upload(second, wheel)
    assert (status, "two servers pass their uploads on" in text) == (508, True)


async def test_only_the_address_of_a_waystation_can_be_followed(
    sites: TwoSites, tmp_path: Path
) -> None:
    config = sites.second / "settings.toml"
    text = SECOND.format(port=1)
    for wrong in (text.replace("/simple/", "/"), text.replace("url = ", "# ")):
        config.write_text(wrong)
        done = await waystation("check", "--no-network", "--config", config, cwd=sites.second)
        assert (done.status, "indexes.team.follow" in done.err) == (2, True), done.err


async def test_what_cannot_be_followed_is_a_line_in_the_log(sites: TwoSites) -> None:
    async with sites.second_runs() as second:
        line = await second.logged(lambda each: "is not followed now" in each["message"])
        assert "team is not followed now: upstream team: no connection" in line["message"]
        async with aiohttp.request("GET", f"{second.address}/readyz?verbose") as answer:
            assert (answer.status, "site team: no connection" in await answer.text()) == (200, True)
        async with sites.first_runs():
            await second.logged(lambda each: each["message"] == "team is followed again")
            async with aiohttp.request("GET", f"{second.address}/readyz?verbose") as answer:
                assert "site team: is followed" in await answer.text()


async def test_the_second_site_can_take_the_place_of_the_first(
    sites: TwoSites, tmp_path: Path
) -> None:
    old = make_wheel(tmp_path / "dist", "acme-tool", "1.0")
    new = make_wheel(tmp_path / "dist", "acme-tool", "2.0")
    async with sites.first_runs() as first, sites.second_runs() as second:
        assert (await upload(first, old))[0] == 200
        assert (await upload(first, new))[0] == 200
        config = ("--config", sites.first / "settings.toml")
        yanked = await waystation("yank", "acme-tool==1.0", *config, cwd=sites.first)
        yanked.succeeded()
        await until(lambda: sites.has(old, new))
        await until(lambda: _is_yanked(second))
    promoted = sites.second / "promoted.toml"
    promoted.write_text(FIRST.replace('"cache"', '"cache-of-first"'))
    (sites.second / "packages").mkdir()
    async with sites.second_runs() as second:  # the first one is gone
        assert await _is_yanked(second)
        source = (f"{second.index}", "--project", "acme-*", "--config", promoted)
        (await waystation("import", *source, cwd=sites.second)).succeeded()
    async with running(sites.second, "--config", promoted, "--port", str(sites.port)) as first:
        assert "data-yanked" in await page(first)
        assert (await upload(first, old))[0] == 200  # the same bytes
        third = make_wheel(tmp_path / "dist", "acme-tool", "3.0")
        assert (await upload(first, third))[0] == 200


async def _is_yanked(server: Running) -> bool:
    return "data-yanked" in await page(server)
