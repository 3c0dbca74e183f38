"""Releases of repositories as a mirror: which files, from where, and what if the API fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.composition.cache import open_cache
from proxy.composition.open_mirror import open_mirror
from proxy.config.index_tables import ReleasesTable
from proxy.config.settings import Settings
from proxy.distributions import read_wheel_metadata
from proxy.errors import DigestMismatch, NoSuchProject, UpstreamError
from proxy.events import Outcome
from proxy.model import METADATA, ProjectName
from tests.support.clock import Clock
from tests.support.content import sha256
from tests.support.directories import HeardChanges
from tests.support.distributions import make_sdist, make_wheel
from tests.support.mirror_site import OpenMirror
from tests.support.release_api import TOKEN, ReleaseServer

TOOL, LIB = "acme/tool", "acme/lib"
EXPIRED = 601.0
"""Seconds after which a page is revalidated."""


class ReleaseSite:
    """A stand-in of the API, and a cache folder on which mirrors of it can be opened."""

    def __init__(self, root: Path, api: ReleaseServer, clock: Clock) -> None:
        self.root = root
        self.api = api
        self.clock = clock

    def wheel(self, version: str = "1.0", name: str = "demo", **made: Any) -> Path:
        return make_wheel(self.root / "dist", name, version, **made)

    def add(self, version: str = "1.0", name: str = "demo", repository: str = TOOL) -> Path:
        wheel = self.wheel(version, name)
        self.api.add(repository, wheel)
        return wheel

    @asynccontextmanager
    async def open(self, *repositories: str, **settings: Any) -> AsyncIterator[OpenMirror]:
        """``settings`` are those of the product, and those of the table."""
        keys = ReleasesTable.model_fields.keys() & settings.keys()
        of_index = {key: settings.pop(key) for key in keys}
        given = {"kind": "releases", "api": self.api.url, "repositories": repositories or [TOOL]}
        known: dict[str, Any] = {
            "cache_dir": self.root / "cache",
            "retries": 0,
            "stale_while_revalidate": 0.0,
        }
        table, made = ReleasesTable.model_validate(given | of_index), Settings(**known | settings)
        heard = HeardChanges()
        async with open_cache(made, self.clock) as cache:
            opened = open_mirror("gh", table, made.of_index(table), cache, heard, self.clock)
            async with opened as mirror:
                yield OpenMirror(mirror, cache, heard)


@pytest.fixture
async def site(tmp_path: Path, clock: Clock) -> AsyncIterator[ReleaseSite]:
    async with ReleaseServer() as api:
        yield ReleaseSite(tmp_path, api, clock)


async def test_wheels_and_sdists_of_releases_are_the_files_of_projects(site: ReleaseSite) -> None:
    wheel = site.wheel()
    site.api.add(TOOL, wheel, updated_at="2026-02-01T00:00:00Z")
    sdist = make_sdist(site.root / "dist", "demo", "1.0")
    site.api.add(TOOL, sdist)
    for name in ("demo-1.0.zip", "demo-1.0.tar.gz.asc", "checksums.txt", "demo.whl", "other.exe"):
        site.api.add(TOOL, sdist, name)
    site.api.add(TOOL, wheel, "demo-2.0-py3-none-any.whl", state="starter")
    async with site.open() as it:
        page = await it.page()
        assert [file.filename for file in page.files] == [sdist.name, wheel.name]
        for file, path in zip(page.files, (sdist, wheel), strict=True):
            data = path.read_bytes()
            assert (file.sha256, file.size) == (sha256(data), len(data))
            assert await it.read(file) == data
        assert [file.uploaded for file in page.files] == [
            "2026-01-01T00:00:00Z",
            "2026-02-01T00:00:00Z",
        ]
        await it.all_stored()
        assert it.stored == {sha256(path.read_bytes()) for path in (wheel, sdist)}


async def test_the_metadata_of_a_wheel_are_read_from_it(site: ReleaseSite) -> None:
    wheel = site.add()
    async with site.open() as it:
        (file,) = (await it.page()).files
        assert file.metadata is True
        assert await it.read(file, METADATA) == read_wheel_metadata(wheel, wheel.name)
    assert [each.path for each in site.api.asked if METADATA in each.path] == []


async def test_bytes_that_are_not_those_of_the_digest_are_refused(site: ReleaseSite) -> None:
    site.api.add(TOOL, site.wheel(), digest=f"sha256:{'0' * 64}")
    async with site.open() as it:
        (file,) = (await it.page()).files
        with pytest.raises(DigestMismatch):
            await it.read(file)
        assert it.stored == set()


@pytest.mark.parametrize("digest", [None, "", "crc32:00000000", "sha256:0"])
async def test_without_a_digest_the_bytes_that_came_first_stay(
    site: ReleaseSite, digest: str | None
) -> None:
    wheel = site.wheel()
    data = wheel.read_bytes()
    site.api.add(TOOL, wheel, digest=digest)
    async with site.open() as it:
        (file,) = (await it.page()).files
        assert (file.sha256, file.address_digest) == (None, "-")
        assert await it.read(file) == data
        await it.all_stored()
        assert it.stored == {sha256(data)}
        site.api.remove(TOOL)
        site.api.add(TOOL, site.wheel(files={"more.py": b"x = 1"}), digest=digest)
        site.clock.advance(3601)
        (file,) = (await it.page()).files
        assert file.sha256 == sha256(data)
        assert await it.read(file) == data
        await it.cache.store.delete(sha256(data))
        with pytest.raises(DigestMismatch):
            await it.read(file)


async def test_all_parts_of_a_list_are_read_from_the_api_alone(
    tmp_path: Path, clock: Clock
) -> None:
    async with ReleaseServer(per_page=2) as api:
        api.link_host = "http://169.254.169.254"
        site = ReleaseSite(tmp_path, api, clock)
        for number in range(5):
            api.release(TOOL)
            site.add(f"{number}.0")
        async with site.open() as it:
            assert len(await it.names()) == 5
        assert [each.path.partition("page=")[2] for each in api.lists()] == [
            "100",
            "2&page=2",
            "2&page=3",
        ]
        assert {each.path.partition("?")[0] for each in api.lists()} == {
            "/repos/acme/tool/releases"
        }


async def test_projects_share_a_listing_and_unchanged_parts_are_not_sent_again(
    site: ReleaseSite,
) -> None:
    names = [f"demo-{letter}" for letter in "abcdef"]
    for name in names:
        site.add(name=name)
    async with site.open() as it:
        await asyncio.gather(*map(it.page, names))
        with pytest.raises(NoSuchProject):
            await it.page("absent")
        assert len(site.api.lists()) == 1
        site.clock.advance(EXPIRED)
        await asyncio.gather(*map(it.page, names))
        assert [each.is_conditional for each in site.api.lists()] == [False, True]
        assert it.outcomes[-1] is Outcome.REVALIDATED
        site.add("2.0", "demo-a")
        site.clock.advance(EXPIRED)
        assert len(await it.names("demo-a")) == 2


async def test_a_restart_knows_the_listing(site: ReleaseSite) -> None:
    site.add()
    site.add(name="other")
    async with site.open() as it:
        await it.page()
    async with site.open() as it:
        await it.page("other")
        assert len(site.api.lists()) == 1
        site.clock.advance(EXPIRED)
        await it.page("other")
        assert [each.is_conditional for each in site.api.lists()] == [False, True]


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("header", ["Retry-After", "X-RateLimit-Reset"])
async def test_while_the_api_limits_requests_known_pages_are_answered(
    site: ReleaseSite, status: int, header: str
) -> None:
    site.add()
    site.add(name="other")
    async with site.open() as it:
        await it.page()
        site.clock.advance(EXPIRED)
        site.api.status = status
        wait = 1000 if header == "Retry-After" else int(site.clock() + 1000)
        site.api.headers = {header: str(wait), "X-RateLimit-Remaining": "0"}
        assert await it.names() == ["demo-1.0-py3-none-any.whl"]
        assert it.outcomes[-1] is Outcome.STALE
        assert await it.names("other") == ["other-1.0-py3-none-any.whl"]
        with pytest.raises(NoSuchProject):
            await it.page("absent")
        asked = len(site.api.lists())
        for _ in range(3):
            site.clock.advance(60)
            await it.page()
            await it.page("other")
        assert len(site.api.lists()) == asked
        site.api.status = 0
        site.add("2.0")
        site.clock.advance(1000)
        assert len(await it.names()) == 2


async def test_an_old_listing_says_nothing_of_other_projects(site: ReleaseSite) -> None:
    """A public project may not take the place of one that has just been released."""
    site.add()
    async with site.open() as it:
        await it.page()
        site.clock.advance(3601)
        site.api.status = 500
        assert await it.names() == ["demo-1.0-py3-none-any.whl"]
        with pytest.raises(UpstreamError):
            await it.page("absent")


@pytest.mark.parametrize("status", [401, 403, 404, 500, 502])
async def test_an_api_that_shows_nothing_is_an_error_and_no_empty_index(
    site: ReleaseSite, status: int
) -> None:
    site.add()
    site.api.status = status
    async with site.open() as it:
        with pytest.raises(UpstreamError):
            await it.page()


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>Sign in</html>", b'[{"assets": [{"name": 1}]}]', b"[" * 100_000]
)
async def test_what_is_no_list_of_releases_is_an_error(site: ReleaseSite, body: bytes) -> None:
    site.add()
    site.api.body = body
    async with site.open() as it:
        with pytest.raises(UpstreamError):
            await it.page()


async def test_drafts_and_prereleases_are_left_out_unless_wanted(site: ReleaseSite) -> None:
    site.add("1.0")
    site.api.release(TOOL, prerelease=True)
    site.add("2.0")
    site.api.release(TOOL, draft=True, published_at=None)
    site.add("3.0")

    async def versions(**table: bool) -> list[str]:
        async with site.open(**table) as it:
            return sorted(name.split("-")[1] for name in await it.names())

    assert await versions() == ["1.0"]
    assert await versions(prereleases=True) == ["1.0", "2.0"]
    assert await versions(drafts=True) == ["1.0", "3.0"]
    assert await versions(prereleases=True, drafts=True) == ["1.0", "2.0", "3.0"]


async def test_the_first_repository_that_has_a_project_has_all_of_it(site: ReleaseSite) -> None:
    site.add("1.0", repository=LIB)
    site.add("2.0", repository=TOOL)
    site.add("1.0", "only", repository=TOOL)
    async with site.open(LIB, TOOL) as it:
        assert await it.names() == ["demo-1.0-py3-none-any.whl"]
        assert await it.names("only") == ["only-1.0-py3-none-any.whl"]
    async with site.open(TOOL, LIB) as it:
        assert await it.names() == ["demo-2.0-py3-none-any.whl"]


async def test_a_missing_repository_keeps_later_ones_from_answering(site: ReleaseSite) -> None:
    site.add("1.0", repository=TOOL)
    async with site.open(LIB, TOOL) as it:
        with pytest.raises(UpstreamError, match="is there such a repository"):
            await it.page()


async def test_a_file_name_belongs_to_the_release_that_had_it_first(site: ReleaseSite) -> None:
    first, second = site.wheel(), site.root / "second.whl"
    site.api.add(TOOL, first)
    second.write_bytes(site.wheel(files={"more.py": b"x = 1"}).read_bytes())
    data = site.wheel().read_bytes()
    site.api.release(TOOL, "2026-03-01T00:00:00Z")
    site.api.add(TOOL, second, first.name)
    async with site.open() as it:
        (file,) = (await it.page()).files
        assert file.sha256 == sha256(data)


async def test_other_projects_are_not_asked_for(site: ReleaseSite) -> None:
    site.add(name="requests")
    site.add(name="acme-demo")
    async with site.open(projects=["acme-*"], list_upstream=True) as it:
        with pytest.raises(NoSuchProject):
            await it.page("requests")
        assert site.api.asked == []
        assert await it.names("acme-demo") == ["acme_demo-1.0-py3-none-any.whl"]
        assert set(await it.mirror.upstream_names() or ()) == {"acme-demo"}


async def test_a_token_goes_to_the_api_and_nowhere_else(site: ReleaseSite) -> None:
    site.api.private.add(TOOL)
    wheel = site.add()
    async with site.open() as it:
        with pytest.raises(UpstreamError, match="may the token read it"):
            await it.page()
    async with site.open(token=TOKEN) as it:
        (file,) = (await it.page()).files
        assert await it.read(file) == wheel.read_bytes()
    assert site.api.asked[-1].path == "/repos/acme/tool/releases/assets/1"
    assert {each.authorization for each in site.api.stored} == {""}
    assert {each.authorization for each in site.api.asked} == {"", f"Bearer {TOKEN}"}


async def test_files_have_addresses_in_the_api_that_the_settings_name(site: ReleaseSite) -> None:
    wheel = site.wheel()
    elsewhere = "https://api.example.com/api/v3/repos/acme/tool/releases/assets/1"
    site.api.add(TOOL, wheel, url=elsewhere)
    async with site.open(token=TOKEN) as it:
        (file,) = (await it.page()).files
        assert await it.read(file) == wheel.read_bytes()


async def test_what_one_token_may_see_is_not_shown_without_it(site: ReleaseSite) -> None:
    site.api.private.add(TOOL)
    site.add()
    async with site.open(token=TOKEN) as it:
        await it.page()
    async with site.open() as it:
        with pytest.raises(UpstreamError):
            await it.page()


async def test_offline_the_stored_files_are_there(site: ReleaseSite) -> None:
    wheel = site.add()
    site.add("2.0")
    async with site.open() as it:
        file = (await it.page()).file(wheel.name)
        await it.read(file)
        await it.all_stored()
    asked = len(site.api.asked)
    async with site.open(offline=True) as it:
        assert await it.names() == [wheel.name]
        assert await it.read(file) == wheel.read_bytes()
        assert await it.read(file, METADATA) == read_wheel_metadata(wheel, wheel.name)
    assert len(site.api.asked) == asked


async def test_files_that_pass_through_have_no_metadata_beside_them(site: ReleaseSite) -> None:
    wheel = site.add()
    async with site.open(mode="stream") as it:
        (file,) = (await it.page()).files
        assert file.metadata is False
        assert await it.read(file) == wheel.read_bytes()
        assert it.stored == set()


async def test_a_page_of_releases_has_what_a_page_of_an_index_has(site: ReleaseSite) -> None:
    site.add()
    async with site.open() as it:
        page = msgspec.structs.asdict(await it.page())
    assert (page["versions"], page["source"]) == (("1.0",), "gh")
    assert page["project"] == ProjectName("demo")
