"""Lock files that were made against another index, used through this server by real tools."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.distributions import make_sdist, make_wheel
from tests.support.installers import Place
from tests.support.running import Running, running, waystation
from tests.support.upstream import Upstream

MakePlace = Callable[[], Place]

PROJECT = """\
[project]
name = "house"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["aaa", "ccc"]
"""
INSTALLED = {"aaa": "1.0", "bbb": "1.0", "ccc": "1.0"}


def add(upstream: Upstream, path: Path) -> None:
    """List the file at an address such as PyPI has: folders of its BLAKE2b digest."""
    digest = hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest()
    place = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{path.name}"
    listed = upstream.add(path, url=upstream.files_url + place)
    upstream.shelf.contents[place] = path
    if listed.metadata:
        upstream.shelf.contents[f"{place}.metadata"] = listed.metadata


@pytest.fixture
async def server(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Running]:
    for name, requires in (("aaa", ["bbb>=1"]), ("bbb", []), ("ccc", [])):
        add(upstream, make_wheel(tmp_path / "dist", name, "1.0", requires=requires))
    add(upstream, make_sdist(tmp_path / "dist", "aaa", "1.0"))
    upstream.form = "json"
    async with running(tmp_path, "--upstream", upstream.url, WAYSTATION_SPECULATE="off") as started:
        yield started


@pytest.fixture
async def locked(place: MakePlace, upstream: Upstream, server: Running) -> Place:
    """A project with locks of all kinds that uv makes, made against the upstream itself."""
    made = place()
    (made.folder / "pyproject.toml").write_text(PROJECT)
    index = ("--default-index", upstream.url)
    (await made.uv("lock", *index)).succeeded()
    for form, name in (("pylock.toml", "pylock.toml"), ("requirements-txt", "hashed.txt")):
        given = ("export", *index, "--format", form, "-o", name, "-q", "--no-emit-project")
        (await made.uv(*given)).succeeded()
    upstream.requests.clear()
    return made


async def sync(made: Place, index: str) -> None:
    """As a fresh checkout elsewhere does it, with nothing in the cache of uv."""
    given = ("sync", "--locked", "--default-index", index, "--no-cache", "--no-install-project")
    done = await made.uv(*given)
    done.succeeded()
    found = made.folder.glob(".venv/lib/python*/site-packages/*.dist-info")
    assert {each.name.split("-")[0] for each in found} == set(INSTALLED)


async def test_only_the_host_of_a_lock_file_has_to_be_replaced(
    locked: Place, upstream: Upstream, server: Running
) -> None:
    lock = locked.folder / "uv.lock"
    text = lock.read_text()
    files = f"{upstream.files_url}packages/"
    assert files in text
    text = text.replace(files, f"{server.address}/packages/").replace(
        upstream.url[:-1], server.index[:-1]
    )
    lock.write_text(text)
    await sync(locked, server.index)
    assert lock.read_text() == text
    agents = {each.headers["User-Agent"].split("/")[0] for each in upstream.requests}
    assert agents == {"waystation"}


async def test_a_moved_uv_lock_is_what_uv_itself_would_have_written(
    locked: Place, upstream: Upstream, server: Running, tmp_path: Path
) -> None:
    lock = locked.folder / "uv.lock"
    done = await waystation("relock", lock, "--to", server.index, cwd=tmp_path)
    assert f"replaced: {upstream.url.rstrip('/')}" in done.succeeded().err
    moved = lock.read_text()
    assert upstream.origin not in moved
    await sync(locked, server.index)
    lock.unlink()
    (await locked.uv("lock", "--default-index", server.index)).succeeded()
    assert lock.read_text() == moved
    assert {each.headers["User-Agent"].split("/")[0] for each in upstream.requests} == {
        "waystation"
    }


async def test_moved_pylock_and_requirements_install(
    locked: Place, upstream: Upstream, server: Running, place: MakePlace, tmp_path: Path
) -> None:
    pylock, hashed = locked.folder / "pylock.toml", locked.folder / "hashed.txt"
    for each in (pylock, hashed):
        (await waystation("relock", each, "--to", server.index, cwd=tmp_path)).succeeded()
    (await locked.uv("pip", "sync", "--no-cache", pylock)).succeeded()
    assert locked.installed() == INSTALLED
    other = place()
    (await other.pip("install", "--require-hashes", "-r", hashed)).succeeded()
    assert other.installed() == INSTALLED
    assert {each.headers["User-Agent"].split("/")[0] for each in upstream.requests} == {
        "waystation"
    }


async def test_wrong_bytes_are_refused_by_the_installer_after_the_move(
    locked: Place, server: Running, tmp_path: Path
) -> None:
    """The digests of the lock file are what counts, before and after."""
    lock = locked.folder / "hashed.txt"
    lock.write_text(re.sub("sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", lock.read_text()))
    (await waystation("relock", lock, "--to", server.index, cwd=tmp_path)).succeeded()
    done = await locked.pip("install", "--require-hashes", "-r", lock)
    assert done.status != 0
    assert locked.installed() == {}


async def test_the_result_goes_where_it_is_sent(
    locked: Place, server: Running, tmp_path: Path
) -> None:
    lock = locked.folder / "uv.lock"
    before = lock.read_text()
    lock.chmod(0o640)
    shown = await waystation("relock", lock, "--to", server.index, "--output", "-", cwd=tmp_path)
    assert lock.read_text() == before
    assert server.index[:-1] in shown.succeeded().out
    (await waystation("relock", lock, "--to", server.index, cwd=tmp_path)).succeeded()
    assert lock.read_text() == shown.out
    assert lock.stat().st_mode & 0o777 == 0o640
    again = await waystation("relock", lock, "--to", server.index, cwd=tmp_path)
    assert again.succeeded() and lock.read_text() == shown.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("missing.lock", "--to", "https://x.example.com/simple/"), "missing.lock: cannot be read"),
        (("pyproject.toml", "--to", "https://x.example.com/simple/"), "give the lock file"),
        (("uv.lock", "--to", "https://u:secret@x.example.com/simple/"), "password"),
        (("uv.lock", "--to", "https://x.example.com/"), "ends with /simple/"),
    ],
)
async def test_mistakes_are_explained(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "uv.lock").write_text("version = 1\n")
    done = await waystation("relock", *arguments, cwd=tmp_path)
    assert done.status in (1, 2)
    assert said in done.err and "secret" not in done.err and "Traceback" not in done.err
