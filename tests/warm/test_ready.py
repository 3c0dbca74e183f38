"""What is said of a cache without a network: complete, or exactly what is missing."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.composition.proxy import open_proxy
from proxy.distributions.targets import parse_targets
from proxy.errors import ConfigurationError
from proxy.requirements.gather import needed_files
from proxy.requirements.model import FileFilter, NeededFile
from proxy.requirements.sources import read_source
from proxy.requirements.sources.document import SourceDocument
from proxy.requirements.sources.missing_list import read_missing_list as read_missing
from proxy.warm.ready import Readiness
from tests.support.distributions import make_sdist, tarred, wheel_metadata
from tests.support.network import connections
from tests.support.requirement_sources import LINUX, MAC, WINDOWS, choice, run
from tests.support.warm_site import BACKEND, WarmSite, names, warm_site

pytestmark = pytest.mark.slow

OWN = parse_targets()[0]
TARGETS = choice(("3.11", "3.12"), (LINUX, MAC, WINDOWS))
HERE = choice((OWN.python,), (OWN.platform,))

LOCKED = """\
[project]
name = "house"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["alpha", "beta", "gamma; sys_platform == 'win32'"]
[tool.uv]
package = false
"""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[WarmSite]:
    async with warm_site(tmp_path) as made:
        yield made


def lines(found: Readiness) -> set[str]:
    return {each.line for each in found.missing}


async def locked(here: WarmSite) -> str:
    """A ``uv.lock`` with an sdist that needs nothing to be built."""
    for python in ("cp311", "cp312"):
        for platform in (LINUX, MAC, WINDOWS):
            here.wheel("beta", tag=f"{python}-{python}-{platform}")
    here.wheel("gamma")
    here.sdist("alpha")
    here.source("pyproject.toml", LOCKED)
    command = [sys.executable, "-m", "uv", "lock"]
    await asyncio.to_thread(run, command, here.folder, here.upstream.url)
    return str(here.folder / "uv.lock")


async def test_a_warm_cache_is_ready_without_upstream(here: WarmSite) -> None:
    lock = await locked(here)
    assert (await here.warm(lock, to=TARGETS)).complete
    await here.upstream.stop()
    with connections() as seen:
        found = await here.ready(lock, to=TARGETS, verify=True)
    assert found.complete
    assert len(names(found)) == 8
    assert here.upstream.port not in {port for _, port in seen}


async def test_removing_any_one_blob_makes_it_name_exactly_that(here: WarmSite) -> None:
    lock = await locked(here)
    assert (await here.warm(lock, to=TARGETS)).complete
    await removed_one_by_one(here, lock, to=TARGETS)


async def test_removing_any_one_blob_of_what_is_resolved_makes_it_name_exactly_that(
    here: WarmSite,
) -> None:
    here.wheel("top", requires=["dep<2"])
    here.wheel("dep", "1.0")
    here.wheel("dep", "2.0")
    here.sdist("built", build_requires=["tool"])
    here.wheel("tool")
    source = here.source("requirements.txt", "top\nbuilt\n")
    assert (await here.warm(source)).complete
    await removed_one_by_one(here, source, to=choice())


async def removed_one_by_one(here: WarmSite, *sources: str, to: FileFilter) -> None:
    """Of metadata that several wheels have alike, one blob is kept: any of them is named."""
    whole = await here.ready(*sources, to=to)
    assert whole.complete
    called: dict[str, set[str]] = {}
    for need in whole.needs.files:
        called.setdefault(content_digest(here, need), set()).add(need.line)
    assert called.keys() == here.stored_digests()
    for key, possible in sorted(called.items()):
        path = here.store.path(key)
        content = path.read_bytes()
        path.unlink()
        found = lines(await here.ready(*sources, to=to))
        assert found and found <= possible, possible
        if not path.exists():  # metadata comes out of its wheel again
            path.write_bytes(content)
    assert (await here.ready(*sources, to=to)).complete


def content_digest(here: WarmSite, need: NeededFile) -> str:
    if not need.filename.endswith(".metadata"):
        return need.digest
    wheel = here.index / need.filename.removesuffix(".metadata")
    return hashlib.sha256(wheel_metadata(wheel)).hexdigest()


async def test_a_candidate_that_was_not_chosen_is_named_too(here: WarmSite) -> None:
    here.wheel("top", "1.0")
    here.wheel("top", "2.0", requires=["unheard-of"])
    assert (await here.warm("top")).complete
    (candidate,) = {need for need in (await here.ready("top")).needs.files if "2.0" in need.line}
    assert candidate.filename.endswith(".metadata")


async def test_an_empty_cache_lacks_what_was_asked_for(here: WarmSite) -> None:
    found = await here.ready("top>=1", "other")
    assert lines(found) == {"top>=1", "other"}


async def test_damage_is_found_and_dropped(here: WarmSite) -> None:
    path = here.wheel("top", padding=1000)
    assert (await here.warm("top")).complete
    blob = here.store.path(hashlib.sha256(path.read_bytes()).hexdigest())
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + b"x")
    assert (await here.ready("top")).complete, "without `verify`, nothing is hashed"
    line = f"top/top-1.0-py3-none-any.whl#{blob.name}"
    assert lines(await here.ready("top", verify=True)) == {line}
    assert not blob.exists()
    assert (await here.warm("top")).complete
    blob.write_bytes(good[:-1])
    assert lines(await here.ready("top")) == {line}, "a wrong size is seen anyway"
    assert (await here.warm("top")).complete
    blob.write_bytes(good[:-1])
    assert (await here.warm("top")).complete, "by warming, too"


async def test_what_is_missing_can_be_warmed_whatever_the_targets(here: WarmSite) -> None:
    lock = await locked(here)
    assert (await here.warm(lock, to=TARGETS)).complete
    for key in here.stored_digests():
        here.store.path(key).unlink()
    found = await here.ready(lock, to=TARGETS)
    text = "".join(f"{line}\n" for line in sorted(lines(found)))
    wants = read_missing(SourceDocument("standard input", Path(), text.encode()), HERE, {})
    assert (await here.warm(wants, to=HERE)).complete
    assert (await here.ready(lock, to=TARGETS)).complete


async def test_ready_installs_for_this_machine(here: WarmSite) -> None:
    here.wheel("top", requires=["built"])
    here.sdist("built", build_requires=["tool"])
    here.wheel("tool")
    assert (await here.warm("top", to=HERE)).complete
    found = await here.ready("top", to=HERE, install=True)
    assert found.complete and found.installed == 1


async def test_what_a_back_end_asks_for_when_it_runs_is_found_by_installing(here: WarmSite) -> None:
    backend = BACKEND + b"def get_requires_for_build_wheel(settings=None): return ['late']\n"
    here.list(_sdist(here.index, backend))
    here.wheel("late")
    locked = f"top==1.0 --hash=sha256:{_digest(here.index / 'top-1.0.tar.gz')}\n"
    source = here.source("requirements.txt", locked)
    assert (await here.warm(source, to=HERE)).complete
    found = await here.ready(source, to=HERE, install=True)
    assert lines(found) == {"late"}
    assert (await here.warm("late", to=HERE)).complete
    assert (await here.ready(source, to=HERE, install=True)).complete


async def test_ready_does_not_install_for_another_machine(here: WarmSite) -> None:
    with pytest.raises(ConfigurationError, match="this machine is not one of the targets"):
        await here.ready("top", to=choice(("3.12",), (WINDOWS,)), install=True)


async def test_what_is_for_another_machine_is_not_installed_on_this(here: WarmSite) -> None:
    here.wheel("top", tag="py3-none-win_amd64")
    here.wheel("dep")
    far, near = choice((OWN.python,), (WINDOWS,)), choice((OWN.python,), (OWN.platform,))
    text = "--python {} --platform {}\n{}\n"
    listed = text.format(OWN.python, WINDOWS, "top") + text.format(OWN.python, OWN.platform, "dep")
    wants = read_missing(SourceDocument("standard input", Path(), listed.encode()), far, {})
    assert (await here.warm(wants, to=far)).complete
    found = await here.ready(wants, to=near, install=True)
    assert found.complete and found.installed == 1


async def test_needs_are_the_same_with_and_without_a_network(here: WarmSite) -> None:
    lock = await locked(here)
    report = await here.warm(lock, "alpha", to=TARGETS)
    async with open_proxy(here.settings(offline=True, offline_list_all=True)) as proxy:
        wants = read_source(lock, TARGETS)
        found = await needed_files(proxy.index, wants, TARGETS)
    assert set(found.files) <= set(report.needs.files)
    assert found.pages == ("alpha", "beta", "gamma")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sdist(folder: Path, backend: bytes) -> Path:
    """One whose back end is that."""
    path = make_sdist(folder, "top", "1.0")
    members = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(path.read_bytes()))) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content
            members[member.name] = content.read()
    members["top-1.0/backend/in_tree.py"] = backend
    path.write_bytes(tarred(members))
    return path
