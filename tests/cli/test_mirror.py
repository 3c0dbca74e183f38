"""``waystation mirror``: warm and export in one command, and what a second run fetches."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.distributions import make_wheel
from tests.support.exports import content, inodes
from tests.support.faults import Fault
from tests.support.running import Done, waystation
from tests.support.static_servers import http_server, pip, uv
from tests.support.warm_site import WarmSite, warm_site

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
needs_rsync = pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[WarmSite]:
    async with warm_site(tmp_path) as made:
        made.wheel("top", requires=["dep"])
        made.wheel("dep")
        made.source("requirements.txt", "top\n")
        yield made


async def mirror(here: WarmSite, *arguments: str | Path, **more: str) -> Done:
    options = ("--upstream", here.upstream.url, "--cache-dir", here.cache)
    return await waystation("mirror", *arguments, *options, cwd=here.folder, **more)


def files(tree: Path) -> set[str]:
    return {Path(path).name for path in content(tree) if path.endswith((".whl", ".tar.gz"))}


@pytest.mark.parametrize("install", [pip, uv])
async def test_a_plain_web_server_serves_what_one_command_made(
    here: WarmSite, install: Callable[..., Awaitable[Done]]
) -> None:
    done = (await mirror(here, "site", "requirements.txt", "--title", "Acme")).succeeded()
    assert "2 projects, 4 files" in done.out
    assert "site: 2 distributions of 2 projects" in done.out
    assert "Acme" in (here.folder / "site/index.html").read_text()
    await here.upstream.stop()
    async with http_server(here.folder / "site") as address:
        (await install(address, here.root, "top")).succeeded()
    installed = {path.name for path in here.root.glob("target/*.dist-info")}
    assert installed == {"top-1.0.dist-info", "dep-1.0.dist-info"}


async def test_the_next_run_fetches_and_writes_only_what_has_changed(here: WarmSite) -> None:
    (await mirror(here, "site", "requirements.txt")).succeeded()
    tree, seen = here.folder / "site", len(here.upstream.requests)
    before = inodes(tree)
    done = (await mirror(here, "site", "requirements.txt")).succeeded()
    assert "fetched 0 (" in done.out and "0 files written" in done.out
    assert inodes(tree) == before
    again = here.upstream.requests[seen:]
    assert sorted(each.path for each in again) == ["/simple/dep/", "/simple/top/"]
    assert all("If-None-Match" in each.headers for each in again)

    here.wheel("dep", "2.0")
    seen = len(here.upstream.requests)
    done = (await mirror(here, "site", "requirements.txt")).succeeded()
    assert files(tree) == {"top-1.0-py3-none-any.whl", "dep-2.0-py3-none-any.whl"}
    fetched = {each.path.rpartition("/")[2] for each in here.upstream.requests[seen:]} - {""}
    assert fetched == {"dep-2.0-py3-none-any.whl", "dep-2.0-py3-none-any.whl.metadata"}
    assert "replaced" not in (tree / "changes/feed.xml").read_text()
    assert "1 distribution added, 1 removed" in (tree / "changes/feed.xml").read_text()


@needs_rsync
async def test_a_file_that_cannot_be_fetched_leaves_the_tree_as_it_is(here: WarmSite) -> None:
    (await mirror(here, "site", "requirements.txt")).succeeded()
    before = content(here.folder / "site")
    here.wheel("dep", "2.0")
    here.upstream.fault("dep-2.0-py3-none-any.whl", Fault(status=404))
    done = await mirror(here, "site", "requirements.txt", "--rsync", "target")
    assert done.status == 1
    assert "missing: dep/dep-2.0-py3-none-any.whl" in done.err
    assert "site stays as it is" in done.err and "Traceback" not in done.err
    assert content(here.folder / "site") == before
    assert not (here.folder / "target").exists()


async def test_pages_that_upstream_cannot_confirm_are_missing(here: WarmSite) -> None:
    (await mirror(here, "site", "requirements.txt")).succeeded()
    before = content(here.folder / "site")
    await here.upstream.stop()
    done = await mirror(here, "site", "requirements.txt")
    assert done.status == 1
    assert "missing: top: upstream could not be reached to revalidate its page" in done.err
    assert content(here.folder / "site") == before


async def test_private_distributions_are_part_of_it(here: WarmSite) -> None:
    make_wheel(here.folder / "packages", "mine", "1.0", requires=["dep"])
    here.source("requirements.txt", "mine\n")
    (await mirror(here, "site", "requirements.txt")).succeeded()
    tree = here.folder / "site"
    assert files(tree) == {"mine-1.0-py3-none-any.whl", "dep-1.0-py3-none-any.whl"}
    assert here.upstream.count("mine") == 0


async def test_an_index_is_chosen_by_name(here: WarmSite) -> None:
    here.source(
        "two.toml",
        f'[indexes.main]\nkind = "mirror"\nurl = "{here.upstream.url}"\n'
        f'[indexes.strict]\nkind = "mirror"\nurl = "{here.upstream.url}"\nreserved = ["dep"]\n',
    )
    options = ("--config", "two.toml", "--cache-dir", here.cache)
    for index, status in (("strict", 1), ("main", 0), ("none", 2)):
        done = await waystation(
            *("mirror", f"site-{index}", "requirements.txt", "--index", index, *options),
            cwd=here.folder,
        )
        assert done.status == status, done.err
        assert (here.folder / f"site-{index}").exists() is (status == 0)
    done = await waystation(
        *("export", "site-strict", "--project", "dep", "--index", "strict", *options),
        cwd=here.folder,
    )
    assert (done.status, "dep" in done.err) == (1, True)


@needs_rsync
async def test_rsync_makes_the_target_equal_to_the_tree(here: WarmSite) -> None:
    target = here.root / "target folder"
    options = ("requirements.txt", "--rsync", f"{target}/")
    (await mirror(here, "site", *options)).succeeded()
    assert content(target) == content(here.folder / "site")
    assert not (target / ".waystation").exists()
    before = inodes(target)
    here.wheel("dep", "2.0")
    (await mirror(here, "site", *options)).succeeded()
    assert content(target) == content(here.folder / "site")
    after = inodes(target)
    kept = {path for path in before if after.get(path) == before[path]}
    assert any(path.endswith("top-1.0-py3-none-any.whl") for path in kept)
    assert not [path for path in after if path.endswith("dep-1.0-py3-none-any.whl")]


@needs_rsync
async def test_symbolic_links_are_sent_as_files(here: WarmSite) -> None:
    target = here.root / "target"
    options = ("requirements.txt", "--link", "symlink", "--rsync", f"{target}/")
    (await mirror(here, "site", *options)).succeeded()
    assert not [path for path in target.rglob("*") if path.is_symlink()]
    assert files(target) == files(here.folder / "site")


@needs_rsync
async def test_a_target_that_cannot_be_written_is_status_1(here: WarmSite) -> None:
    (here.root / "file").write_bytes(b"mine")
    target = here.root / "file" / "below"
    done = await mirror(here, "site", "requirements.txt", "--rsync", f"{target}/")
    assert done.status == 1
    assert f"rsync to {target}/ failed with exit status" in done.err
    assert "Traceback" not in done.err
    assert files(here.folder / "site")


@pytest.mark.parametrize("target", ["", "--rsh=touch owned", "-e"])
async def test_a_target_that_is_an_option_is_refused(here: WarmSite, target: str) -> None:
    done = await mirror(here, "site", "requirements.txt", f"--rsync={target}")
    assert done.status == 2 and "no destination" in done.err
    assert here.upstream.requests == []


async def test_without_rsync_nothing_is_fetched(here: WarmSite) -> None:
    done = await mirror(here, "site", "requirements.txt", "--rsync", "x", PATH="/nowhere")
    assert done.status == 2 and "rsync is not installed" in done.err
    assert here.upstream.requests == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("site",), "name at least one SOURCE"),
        (("site", "requirements.txt", "--offline"), "nothing can be fetched offline"),
        (("packages/site", "requirements.txt"), "is inside"),
        (("site", "requirements.txt", "--base-url", "ftp://x/"), "not a web address"),
        (("site", "missing.txt"), "missing.txt"),
    ],
)
async def test_wrong_options_are_refused_before_anything_is_fetched(
    here: WarmSite, arguments: tuple[str, ...], problem: str
) -> None:
    (here.folder / "packages").mkdir()
    done = await mirror(here, *arguments)
    assert done.status == 2 and problem in done.err
    assert here.upstream.requests == []


SIGNED = """
[indexes.private]
kind = "local"
path = "packages"
extra_files = {extra}

[indexes.world]
kind = "mirror"
url = "{url}"
extra_files = {extra}

[indexes.main]
kind = "fallthrough"
of = ["private", "world"]
"""


@pytest.mark.parametrize("extra", [True, False])
async def test_signatures_are_mirrored_where_the_settings_say_so(
    here: WarmSite, extra: bool
) -> None:
    signature = b"-----BEGIN PGP SIGNATURE-----\n"
    mine = make_wheel(here.folder / "packages", "mine", "1.0", requires=["signed"])
    mine.with_name(f"{mine.name}.asc").write_bytes(signature)
    listed = here.upstream.add(make_wheel(here.index, "signed", "1.0"), **{"gpg-sig": True})
    here.upstream.shelf.contents[f"{listed.path}.asc"] = signature + b"2"
    here.source("two.toml", SIGNED.format(extra=str(extra).lower(), url=here.upstream.url))
    options = ("--config", "two.toml", "--cache-dir", here.cache)
    for _ in range(2):
        done = await waystation("mirror", "site", "mine", *options, cwd=here.folder)
        done.succeeded()
    assert "0 files written" in done.out
    tree = here.folder / "site"
    found = {path.name: path.read_bytes() for path in tree.rglob("*.asc")}
    wanted = {f"{mine.name}.asc": signature, "signed-1.0-py3-none-any.whl.asc": signature + b"2"}
    assert found == (wanted if extra else {})
    assert here.upstream.count(".asc") == int(extra)
    for project in ("mine", "signed"):
        page = (tree / f"simple/{project}/index.html").read_text()
        assert ('data-gpg-sig="true"' in page) is extra
        (file,) = json.loads((tree / f"simple/{project}/index.json").read_bytes())["files"]
        assert file.get("gpg-sig", False) is extra
        (file,) = json.loads((tree / f"pypi/{project}/json").read_bytes())["urls"]
        assert file["has_sig"] is extra
    async with http_server(tree) as address:
        (await pip(address, here.root, "mine")).succeeded()
        (await uv(address, here.root, "--reinstall", "mine")).succeeded()


@pytest.mark.parametrize("show", ["hide", "yank"])
async def test_what_a_rule_refuses_is_in_no_tree(here: WarmSite, show: str) -> None:
    here.wheel("dep", "2.0")
    here.wheel("dep", "3.0")
    here.source(
        "rules.toml",
        f'[policies.banned]\nkind = "deny"\nversions = {{ dep = ["==2.0"] }}\nshow = "{show}"\n'
        f'[indexes.main]\nkind = "mirror"\nurl = "{here.upstream.url}"\n'
        f'policies = ["banned"]\n'
        f'[indexes.free]\nkind = "mirror"\nurl = "{here.upstream.url}"\n',
    )
    options = ("--config", "rules.toml", "--cache-dir", here.cache)
    one, two, three = (f"dep-{version}.0-py3-none-any.whl" for version in (1, 2, 3))
    tries = (
        *(("mirror", "dep<3", "main", {one}), ("mirror", "dep<3", "free", {two})),
        *(("mirror", "dep", "main", {three}), ("mirror", "dep==1.0", "main", {one})),
        ("export", "--all", "main", {one, three}),
        ("export", "--all", "free", {one, two, three}),
    )
    for number, (command, source, index, expected) in enumerate(tries):
        done = await waystation(
            *(command, f"site-{number}", source, "--index", index, *options), cwd=here.folder
        )
        done.succeeded()
        assert files(here.folder / f"site-{number}") == expected, (command, source, index)
    done = await waystation("mirror", "last", "dep==2.0", *options, cwd=here.folder)
    assert done.status == 1 and "Traceback" not in done.err
    assert not (here.folder / "last").exists()


async def test_a_bundle_carries_stored_signatures(here: WarmSite) -> None:
    signature = b"-----BEGIN PGP SIGNATURE-----\n"
    listed = here.upstream.add(make_wheel(here.index, "signed", "1.0"), **{"gpg-sig": True})
    here.upstream.shelf.contents[f"{listed.path}.asc"] = signature
    here.source("two.toml", SIGNED.format(extra="true", url=here.upstream.url))
    (here.folder / "packages").mkdir()
    near, far = (
        ("--config", here.folder / "two.toml", "--cache-dir", here.root / name)
        for name in ("cache", "far")
    )
    (await waystation("warm", "signed", *near, cwd=here.folder)).succeeded()
    for number, what in enumerate(("--all", "signed")):
        file = here.folder / f"bundle-{number}"
        made = await waystation("bundle", "create", file, what, *near, cwd=here.folder)
        made.succeeded()
        done = await waystation("bundle", "import", file, *far, cwd=here.folder)
        done.succeeded()
    await here.upstream.stop()
    (await waystation("ready", "signed", *far, cwd=here.folder)).succeeded()
    offline = ("export", "site", "signed", *far, "--offline")
    (await waystation(*offline, cwd=here.folder)).succeeded()
    (found,) = (here.folder / "site").rglob("*.asc")
    assert found.read_bytes() == signature
