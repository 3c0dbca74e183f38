"""What warming fetches: exactly what the sources need for the targets, each thing once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.composition.cache import open_cache
from proxy.composition.proxy import open_proxy
from proxy.maintenance import cached_files
from proxy.model import ProjectName
from proxy.requirements.sources.document import read_named_project as read_name
from proxy.requirements.sources.logged_requests import read_access_log
from tests.support.distributions import core_metadata, make_wheel, tarred
from tests.support.mounts import mounted
from tests.support.requirement_sources import LINUX, MAC, WINDOWS, choice, fill_index
from tests.support.warm_site import WarmSite, names, warm_site

PYTHONS = ("3.11", "3.12")
PLATFORMS = (LINUX, MAC, WINDOWS)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[WarmSite]:
    async with warm_site(tmp_path) as made:
        yield made


async def test_a_lock_is_taken_file_by_file_for_every_target(
    here: WarmSite, locked_project: Path
) -> None:
    fill_index(here.index)
    for file in sorted(here.index.iterdir()):
        here.list(file)
    here.wheel("hatchling", "1.27")
    here.wheel("setuptools", "80.0")
    report = await here.warm(str(locked_project / "uv.lock"), to=choice(PYTHONS, PLATFORMS))
    assert not report.missing and report.complete
    beta = {f"beta-1.0-cp3{n}-cp3{n}-{tag}.whl" for n in (11, 12) for tag in PLATFORMS}
    wheels = {f"{name}-1.0-py3-none-any.whl" for name in ("alpha", "gamma", "zeta", "eta")}
    delta = {"delta-1.0-py3-none-any.whl", "delta-2.0-py3-none-any.whl"}
    builds = {"hatchling-1.27-py3-none-any.whl", "setuptools-80.0-py3-none-any.whl"}
    sdists = {"alpha-1.0.tar.gz", "epsilon-1.0.tar.gz"}
    assert names(report) == beta | wheels | delta | builds | sdists
    for name in names(report):
        digest = hashlib.sha256((here.index / name).read_bytes()).hexdigest()
        assert here.store.path(digest).exists(), name


async def test_names_are_resolved_for_each_target(here: WarmSite) -> None:
    here.wheel("top", requires=["dep", "win; sys_platform == 'win32'"])
    here.wheel("dep", "1.0", requires_python=">=3.8")
    here.list(make_newer(here), requires_python=">=3.12")
    here.wheel("win")
    report = await here.warm("top", to=choice(PYTHONS, (LINUX,)))
    assert report.complete
    assert names(report) == {
        "top-1.0-py3-none-any.whl",
        "dep-1.0-py3-none-any.whl",
        "dep-2.0-py3-none-any.whl",
    }
    report = await here.warm("top", to=choice(("3.11",), (WINDOWS,)))
    assert "win-1.0-py3-none-any.whl" in names(report)
    assert "dep-2.0-py3-none-any.whl" not in names(report)


def make_newer(here: WarmSite) -> Path:
    return make_wheel(here.index, "dep", "2.0", requires_python=">=3.12")


async def test_what_builds_an_sdist_is_followed_and_what_builds_that(here: WarmSite) -> None:
    here.sdist("top", build_requires=["tool>=1"])
    here.sdist("tool", build_requires=["base"])
    here.wheel("base", requires=["under"])
    here.wheel("under")
    report = await here.warm("top")
    assert report.complete
    assert names(report) == {
        "top-1.0.tar.gz",
        "tool-1.0.tar.gz",
        "base-1.0-py3-none-any.whl",
        "under-1.0-py3-none-any.whl",
    }


async def test_an_sdist_beside_a_wheel_that_fits_is_not_built(here: WarmSite) -> None:
    here.wheel("top")
    here.sdist("top", build_requires=["nowhere-to-be-had"])
    assert (await here.warm("top")).complete


async def test_an_sdist_without_pyproject_is_built_by_setuptools(here: WarmSite) -> None:
    path = here.index / "old-1.0.tar.gz"
    here.index.mkdir()
    path.write_bytes(tarred({"old-1.0/PKG-INFO": core_metadata("old", "1.0")}))
    here.list(path)
    here.wheel("setuptools", "80.0")
    here.wheel("wheel", "0.45")
    locked = f"old==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
    report = await here.warm(here.source("requirements.txt", locked))
    assert names(report) == {
        "old-1.0.tar.gz",
        "setuptools-80.0-py3-none-any.whl",
        "wheel-0.45-py3-none-any.whl",
    }


async def test_the_newest_versions_of_a_name(here: WarmSite) -> None:
    for version in ("1.0", "1.1", "2.0", "3.0a1"):
        here.wheel("top", version)
    here.list(here.wheel("top", "2.5"), yanked=True)
    report = await here.warm(read_name("top", 2))
    assert names(report) == {"top-1.1-py3-none-any.whl", "top-2.0-py3-none-any.whl"}


async def test_kinds_of_files(here: WarmSite) -> None:
    here.wheel("top", tag=f"cp312-cp312-{LINUX}")
    here.wheel("top", tag=f"cp312-cp312-{MAC}")
    here.sdist("top")
    linux, mac = (f"top-1.0-cp312-cp312-{tag}.whl" for tag in (LINUX, MAC))
    assert names(await here.warm("top")) == {linux, "top-1.0.tar.gz"}
    assert names(await here.warm("top", to=choice(sdists="none"))) == {linux}
    assert names(await here.warm("top", to=choice(all_files=True))) == {
        linux,
        mac,
        "top-1.0.tar.gz",
    }
    assert names(await here.warm("top", to=choice(sdists="only"))) == {"top-1.0.tar.gz"}


async def test_what_lies_beside_a_file_is_stored_too(here: WarmSite) -> None:
    here.list(here.wheel("top"), provenance={"version": 1})
    assert (await here.warm("top")).complete
    await here.upstream.stop()
    async with open_proxy(here.settings(offline=True)) as proxy:
        page = await proxy.index.page(ProjectName("top"))
        assert page.files[0].uploaded
        for suffix in ("", ".metadata", ".provenance"):
            name = page.files[0].filename + suffix
            artifact = await proxy.index.file(
                ProjectName("top"), name, page.files[0].address_digest
            )
            assert b"".join([piece async for piece in artifact.blob.chunks()])


async def test_cached_files_are_not_fetched_again(here: WarmSite) -> None:
    here.wheel("top", requires=["dep"])
    here.wheel("dep")
    first = await here.warm("top")
    assert first.fetched == len(first.needs.files)
    here.upstream.requests.clear()
    second = await here.warm("top")
    assert second.complete and second.fetched == 0
    assert here.upstream.count("/files/") == 0


async def test_missing_files_are_reported_and_the_rest_is_fetched(here: WarmSite) -> None:
    here.wheel("good")
    bad = here.wheel("bad")
    del here.upstream.shelf.contents[here.upstream.shelf.files[bad.name].path]
    report = await here.warm("good", "bad", "unheard-of")
    assert not report.complete
    lines = {each.line.partition("#")[0] for each in report.missing}
    assert {"bad/bad-1.0-py3-none-any.whl", "unheard-of"} <= lines
    assert all(each.reason for each in report.missing)
    assert (
        hashlib.sha256((here.index / "good-1.0-py3-none-any.whl").read_bytes()).hexdigest()
        in here.stored_digests()
    )


async def test_a_file_with_other_bytes_than_the_lock_names_is_refused(here: WarmSite) -> None:
    here.wheel("top")
    wrong = "sha256:" + "0" * 64
    report = await here.warm(here.source("requirements.txt", f"top==1.0 --hash={wrong}\n"))
    assert [each.line for each in report.missing] == [f"top==1.0 --hash={wrong}"]
    pylock = PYLOCK.format(url=here.upstream.url_of("top-1.0-py3-none-any.whl"), digest="0" * 64)
    report = await here.warm(here.source("pylock.toml", pylock))
    assert [each.line for each in report.missing] == ["top/top-1.0-py3-none-any.whl#" + "0" * 64]


PYLOCK = """\
lock-version = "1.0"
created-by = "tests"
[[packages]]
name = "top"
version = "1.0"
[[packages.wheels]]
name = "top-1.0-py3-none-any.whl"
url = "{url}"
hashes = {{sha256 = "{digest}"}}
"""


async def test_a_digest_that_the_page_lacks_is_checked_on_the_bytes(here: WarmSite) -> None:
    path = here.wheel("top")
    here.list(path, hashes=("md5",))
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    for digest, complete in ((right, True), ("0" * 64, False)):
        pylock = PYLOCK.format(url=here.upstream.url_of(path.name), digest=digest)
        source = here.source("pylock.toml", pylock)
        assert (await here.warm(source)).complete is complete
        assert (await here.ready(source)).complete is complete
        assert here.store.path(right).exists(), "a wrong lock is no reason to drop a file"


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
async def test_a_pin_by_another_digest_than_the_index_names_is_met_by_bytes(
    here: WarmSite, algorithm: str
) -> None:
    wheel, sdist = here.wheel("alpha"), here.sdist("alpha")
    digests = {
        each: hashlib.new(algorithm, each.read_bytes()).hexdigest() for each in (wheel, sdist)
    }
    wrong = here.source("wrong.txt", f"alpha==1.0 --hash={algorithm}:{'0' * 128}\n")
    assert [lack.line[:10] for lack in (await here.warm(wrong)).missing] == ["alpha==1.0"]
    for each, digest in digests.items():
        source = here.source("r.txt", f"alpha==1.0 --hash={algorithm}:{digest}\n")
        report = await here.warm(source)
        assert (report.missing, names(report)) == ((), {each.name})
        assert (await here.ready(source)).complete


async def test_what_a_local_wheel_requires_is_fetched(here: WarmSite) -> None:
    here.wheel("dep")
    local = make_wheel(here.root / "local", "mine", "1.0", requires=["dep"])
    source = here.source("r.txt", f"mine @ {local.as_uri()}\n")
    report = await here.warm(source)
    assert report.complete
    assert names(report) == {"dep-1.0-py3-none-any.whl"}
    assert (await here.ready(source)).complete


async def test_an_access_log_is_warmed(here: WarmSite) -> None:
    digest = hashlib.sha256(here.wheel("top").read_bytes()).hexdigest()
    here.wheel("other")
    lines = [
        {"method": "GET", "path": "/simple/other/", "status": 200},
        {"method": "GET", "path": f"/files/top/{digest}/top-1.0-py3-none-any.whl", "status": 200},
    ]
    log = here.source("access.jsonl", "".join(json.dumps(each) + "\n" for each in lines))
    report = await here.warm(read_access_log(Path(log)))
    assert report.complete
    assert report.needs.pages == ("other", "top")
    assert names(report) == {"top-1.0-py3-none-any.whl"}


async def test_files_that_cannot_be_stored_are_missing(here: WarmSite) -> None:
    here.wheel("top")
    with mounted(here.cache / "blob", "ro"):
        report = await here.warm("top")
    assert {each.line.partition("#")[0] for each in report.missing} == {
        "top/top-1.0-py3-none-any.whl",
        "top/top-1.0-py3-none-any.whl.metadata",
    }
    assert all("was not stored" in each.reason for each in report.missing)


async def test_private_projects_are_needed_and_upstream_is_not_asked(
    here: WarmSite, tmp_path: Path
) -> None:
    private = tmp_path / "packages"
    make_wheel(private, "own", "1.0", requires=["dep"])
    here.wheel("dep")
    report = await here.warm("own", packages=private)
    assert report.complete
    assert names(report) == {"own-1.0-py3-none-any.whl", "dep-1.0-py3-none-any.whl"}
    assert here.upstream.count("own") == 0


async def test_metadata_that_wheels_have_alike_is_known_for_each(here: WarmSite) -> None:
    for platform in (LINUX, MAC):
        here.wheel("top", tag=f"cp312-cp312-{platform}")
    report = await here.warm("top", to=choice(("3.12",), (LINUX, MAC)))
    async with open_cache(here.settings()) as cache:
        (known,) = [files for _, files in await cached_files(cache)]
    assert {each.filename for each in known} == {need.filename for need in report.needs.files}
    assert len({each.sha256 for each in known}) == 3


@pytest.mark.parametrize(
    "headers", [{"Cache-Control": "private, max-age=0"}, {"Vary": "Cookie, Accept"}]
)
@pytest.mark.parametrize("honour", [False, True])
async def test_warm_ready_and_offline_agree_on_pages_that_upstream_forbids_to_store(
    here: WarmSite, headers: dict[str, str], honour: bool
) -> None:
    here.wheel("top")
    here.upstream.page_headers = headers
    report = await here.warm("top", honour_no_store=honour)
    assert report.complete is not honour
    assert [lack.line for lack in report.missing] == (["top"] if honour else [])
    verdict = await here.ready("top")
    assert verdict.complete is not honour
