"""``waystation import`` and ``pull`` beside a running server, and what pip installs afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.runtime import size_text
from tests.support.attestations import SigningService
from tests.support.distributions import make_sdist, make_wheel
from tests.support.installers import Place
from tests.support.other_servers import (
    UPLOADED,
    bandersnatch_mirror,
    copied,
    devpi_export,
    other_index,
    pypicloud_folder,
)
from tests.support.running import Done, Running, environment, running, start, waystation
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

pytestmark = pytest.mark.slow

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
PROD = '{"prod": {"kind": "local", "path": "prod", "uploads": true}}'
INDEX = {"WAYSTATION_INDEXES": PROD, "WAYSTATION_INDEX": "prod"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    (tmp_path / "prod").mkdir()
    async with running(tmp_path, "--offline", **INDEX) as server:
        yield server


@pytest.fixture
def acme(tmp_path: Path) -> list[Path]:
    """Two projects, one of which needs the other."""
    dist = tmp_path / "dist"
    return [
        make_sdist(dist, "acme-lib", "0.1"),
        make_wheel(dist, "acme-lib", "0.2"),
        make_wheel(dist, "acme-tool", "1.0", requires=["acme-lib"]),
    ]


async def run(tmp_path: Path, *arguments: str | Path, **more: str) -> Done:
    return await waystation(*arguments, "--to", "prod", cwd=tmp_path, **INDEX | more)


async def listed(server: Running, project: str) -> dict[str, dict[str, Any]]:
    async with aiohttp.request("GET", f"{server.index}{project}/", headers=JSON) as answer:
        assert answer.status == 200
        return {each["filename"]: each for each in (await answer.json(content_type=None))["files"]}


async def changes(server: Running) -> list[dict[str, Any]]:
    async with aiohttp.request("GET", f"{server.address}/-/changes?since=0") as answer:
        return [json.loads(line) for line in (await answer.text()).splitlines()]


@pytest.mark.parametrize("form", ["artifactory", "nexus"])
async def test_projects_of_an_index_by_address_are_taken_and_installed(
    tmp_path: Path, server: Running, acme: list[Path], place: Callable[[], Place], form: str
) -> None:
    async with other_index(*acme) as index:
        address = getattr(index, form)
        given = ("import", address.replace("//", "//ana:hunter2@"), "--project", "acme-tool")
        dry = await run(tmp_path, *given, "--dry-run")
        assert "would take acme_tool-1.0-py3-none-any.whl\nwould claim acme-tool\n" in dry.out
        assert not any(tmp_path.glob("prod/acme*"))
        done = (await run(tmp_path, *given[:2], "--project", "acme-*")).succeeded()
        size = sum(path.stat().st_size for path in acme)
        assert f"3 files ({size_text(size)}) taken, 0 there already, 0 refused" in done.out
        assert {user for _, user in index.requests} == {"Basic YW5hOmh1bnRlcjI="}
        fetched = [path for path, _ in index.requests if "/packages/" in path]
        assert len(fetched) == len(acme)
        again = (await run(tmp_path, *given)).succeeded()
        assert "skipped acme_tool-1.0-py3-none-any.whl: the index has the same bytes" in again.out
        assert len([path for path, _ in index.requests if "/packages/" in path]) == len(acme)
    one = place()
    (await one.install("pip", server.index, "acme-tool")).succeeded()
    assert one.installed() == {"acme_tool": "1.0", "acme_lib": "0.2"}
    sources = {each["detail"] for each in await changes(server) if each["action"] == "publish"}
    assert sources == {address.replace("//", "//***@")}


async def test_folders_of_other_servers_are_taken_and_installed(
    tmp_path: Path, server: Running, acme: list[Path], place: Callable[[], Place]
) -> None:
    tool, sdist = make_wheel(tmp_path / "dist", "acme-tool", "1.1"), acme[0]
    flat = [copied(each, tmp_path / "flat" / each.name) for each in acme]
    export = devpi_export(tmp_path / "export", {"ana/dev": [tool], "root/pypi": []})
    mirror = bandersnatch_mirror(tmp_path / "mirror", [make_wheel(tmp_path / "m", "acme-m", "3")])
    cloud = pypicloud_folder(tmp_path / "cloud", [make_wheel(tmp_path / "c", "acme-c", "4")])
    for folder, kind, count in (
        (export, "devpi export", 1),
        (mirror, "bandersnatch mirror", 1),
        (cloud, "pypicloud folder", 1),
        (tmp_path / "flat", "files folder", len(flat)),
    ):
        done = (await run(tmp_path, "import", folder)).succeeded()
        assert f"source: {kind} {folder}" in done.err
        assert f"{count} file" in done.out.splitlines()[-1], done.out
        assert "0 refused, 0 others left out" in done.out
    assert (await listed(server, "acme-tool"))[tool.name]["upload-time"] == UPLOADED
    assert (await listed(server, "acme-m"))["acme_m-3-py3-none-any.whl"]["upload-time"] == UPLOADED
    one = place()
    (await one.install("pip", server.index, "acme-tool", "acme-m", "acme-c")).succeeded()
    assert one.installed() == {"acme_tool": "1.1", "acme_m": "3", "acme_c": "4"}
    assert (tmp_path / "prod" / "acme-lib" / sdist.name).read_bytes() == sdist.read_bytes()
    assert {each["action"] for each in await changes(server)} == {"publish", "claim"}


async def test_files_of_a_server_are_pulled_with_all_that_belongs_to_them(
    tmp_path: Path, server: Running
) -> None:
    signing = SigningService()
    root = str(signing.write_root(tmp_path / "root.json"))
    there = tmp_path / "there" / "packages" / "acme-tool"
    wheel, sdist = make_wheel(there, "acme-tool", "1.2"), make_sdist(there, "acme-tool", "1.2")
    make_wheel(there, "acme-tool", "2.0")
    wheel.with_name(f"{wheel.name}.asc").write_text("-----BEGIN PGP SIGNATURE-----\n")
    provenance = json.dumps(signing.provenance(wheel))
    wheel.with_name(f"{wheel.name}.provenance").write_text(provenance)
    sdist.with_name(f"{sdist.name}.yanked").write_text("it breaks")
    other = '{"private": {"kind": "local", "path": "packages", "extra_files": true}}'
    more = {"WAYSTATION_INDEXES": other, "WAYSTATION_INDEX": "private"}
    async with running(tmp_path / "there", "--offline", **more) as outside:
        given = ("pull", "acme-tool==1.2", "acme-none", "--from", outside.index)
        refused = await run(tmp_path, *given, WAYSTATION_PROVENANCE_ROOT=root)
        assert (refused.status, "refused acme-none: no such project" in refused.err) == (1, True)
        assert f"took {wheel.name}\ntook {sdist.name}\n" in refused.out
        known, taken = await listed(outside, "acme-tool"), await listed(server, "acme-tool")
    assert set(taken) == {wheel.name, sdist.name}
    for name in taken:
        assert taken[name]["upload-time"] == known[name]["upload-time"]
    assert taken[sdist.name]["yanked"] == "it breaks"
    assert taken[wheel.name]["provenance"]
    folder = tmp_path / "prod" / "acme-tool"
    stored = json.loads((folder / f"{wheel.name}.provenance").read_bytes())
    assert stored["attestation_bundles"][0]["publisher"]["repository"] == "acme/aaa"
    assert "BEGIN PGP" in (folder / f"{wheel.name}.asc").read_text()
    done = [(each["action"], each.get("detail")) for each in await changes(server)]
    assert ("yank", "it breaks") in done
    assert ("publish", outside.index) in done


async def test_the_status_of_a_project_comes_after_its_files_and_once(
    tmp_path: Path, server: Running
) -> None:
    there = tmp_path / "there" / "packages" / "acme-tool"
    make_wheel(there, "acme-tool", "1.0")
    make_wheel(there, "acme-tool", "2.0")
    (there / ".project-status").write_text('{"status": "archived", "reason": "use acme-lib"}')
    other = '{"private": {"kind": "local", "path": "packages"}}'
    more = {"WAYSTATION_INDEXES": other, "WAYSTATION_INDEX": "private"}
    async with running(tmp_path / "there", "--offline", **more) as outside:
        given = ("pull", "acme-tool", "--from", outside.index)
        said = "set the status of acme-tool: it is archived at the source"
        dry = (await run(tmp_path, *given, "--dry-run")).succeeded().out
        assert f"would {said}" in dry
        one = await run(tmp_path, "pull", "acme-tool==1.0", *given[2:])
        assert "set the status" not in one.succeeded().out
        assert said in (await run(tmp_path, *given)).succeeded().out
        assert len(await listed(server, "acme-tool")) == 2
        async with aiohttp.request("GET", f"{server.index}acme-tool/", headers=JSON) as answer:
            status = (await answer.json(content_type=None))["project-status"]
        assert status == {"status": "archived", "reason": "use acme-lib"}
        again = (await run(tmp_path, *given)).succeeded().out
        assert ("set the status" in again, again.count("skipped")) == (False, 2)
        make_wheel(there, "acme-tool", "3.0")
        late = await run(tmp_path, *given)
        assert (late.status, "acme-tool is archived" in late.err) == (1, True)


async def test_a_pull_refuses_changed_bytes_and_wrong_ones_and_goes_on(
    tmp_path: Path, server: Running, acme: list[Path]
) -> None:
    old = make_wheel(tmp_path / "old", "acme-lib", "0.2", requires=["acme-old"])
    async with other_index(old) as index:
        (await run(tmp_path, "pull", "acme-lib", "--from", index.nexus)).succeeded()
    async with other_index(*acme) as index:
        index.digests[acme[2].name] = "0" * 64
        given = ("pull", "acme-lib", "acme-tool", "--from", index.artifactory)
        done = await run(tmp_path, *given)
        assert done.status == 1
        assert f"took {acme[0].name}\n" in done.out
        assert f"refused {old.name}: File already exists ('{old.name}', with sha256" in done.err
        assert f"refused {acme[2].name}: " in done.err
        assert "does not have the sha256 that the index names" in done.err
        assert "1 file" in done.out
        assert "2 refused" in done.out
    assert not (tmp_path / "prod" / "acme-tool").exists()
    assert (tmp_path / "prod" / "acme-lib" / old.name).read_bytes() == old.read_bytes()


async def test_files_at_a_host_that_is_not_allowed_are_refused_each_with_the_reason(
    tmp_path: Path, server: Running, acme: list[Path]
) -> None:
    async with other_index(*acme) as index:
        index.file_host = f"http://{index.other_host}"
        given = ("pull", "acme-lib", "--from", index.artifactory.replace("//", "//ana:hunter2@"))
        refused = await run(tmp_path, *given)
        assert refused.status == 1
        for path in acme[:2]:
            assert f"refused {path.name}: upstream http://***@" in refused.err
        assert "neither on the host of the index nor on port 443 of a public one" in refused.err
        assert index.other_host not in refused.err
        done = (await run(tmp_path, *given, "--file-host", index.other_host)).succeeded()
        assert "2 files" in done.out
        files = [user for path, user in index.requests if "/packages/" in path]
        assert files == ["", ""]  # the password is for the host of the index


async def test_names_that_an_upstream_has_are_claimed_and_that_is_said(
    tmp_path: Path, upstream: Upstream, acme: list[Path]
) -> None:
    upstream.add(make_wheel(tmp_path / "public", "acme-lib", "9.0"))
    (tmp_path / "prod").mkdir()
    copied(acme[1], tmp_path / "flat" / acme[1].name)
    tables = {
        "prod": {"kind": "local", "path": "prod", "uploads": True},
        "public": {"kind": "mirror", "url": upstream.url},
        "main": {"kind": "fallthrough", "of": ["prod", "public"]},
    }
    more = {"WAYSTATION_INDEXES": json.dumps(tables), "WAYSTATION_INDEX": "main"}
    done = await waystation(
        *("import", "flat", "--owner", "ana", "--owner", "ben"), cwd=tmp_path, **more
    )
    assert "claimed acme-lib: an upstream has it too, and its files are hidden" in done.out
    owners = await waystation("owners", "acme-lib", cwd=tmp_path, **more)
    assert owners.succeeded().out == "ana\nben\n"
    async with running(tmp_path, **more) as server:
        assert set(await listed(server, "acme-lib")) == {acme[1].name}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_pull_that_is_interrupted_goes_on_where_it_was(
    tmp_path: Path, server: Running, upstream: Upstream, number: signal.Signals
) -> None:
    first = make_wheel(tmp_path / "dist", "foo", "1.0")
    second = make_wheel(tmp_path / "dist", "foo", "2.0", padding=3_000_000)
    upstream.add(first, yanked="it breaks")
    upstream.add(second)
    upstream.fault(second.name, Fault(gate=asyncio.Event(), gate_at=2_500_000))
    given = ("pull", "foo", "--from", upstream.url, "--to", "prod")
    process, out, err = await start(given, environment(tmp_path / "home", **INDEX), tmp_path)
    try:
        assert (await out.readline()).decode() == f"took {first.name}\n"
        incoming = tmp_path / "prod" / ".waystation" / "incoming"
        await until(lambda: any(each.stat().st_size for each in incoming.iterdir()))
        process.send_signal(number)
        async with asyncio.timeout(20):  # it does not wait for the rest of the download
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    _, said = await asyncio.gather(out.read(), err.read())
    assert (b"Aborted!" in said) is (number is signal.SIGINT)
    assert b"Traceback" not in said
    assert set(await listed(server, "foo")) == {first.name}
    upstream.heal()
    done = (await run(tmp_path, *given[:4])).succeeded()
    assert f"skipped {first.name}: " in done.out
    assert f"took {second.name}\n" in done.out
    assert (await listed(server, "foo"))[first.name]["yanked"] == "it breaks"
    assert (await listed(server, "foo"))[second.name]["upload-time"] == UPLOADED
    assert not any(incoming.iterdir())


async def test_what_is_wrong_is_said_in_a_line_that_a_terminal_can_show(
    tmp_path: Path, upstream: Upstream
) -> None:
    (tmp_path / "prod").mkdir()
    copied(
        make_wheel(tmp_path / "dist", "foo", "1.0"), tmp_path / "flat" / "foo-1.0-py3-none-any.whl"
    )
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/flat/\x1b[31m\xff.whl")).touch()
    (tmp_path / "flat" / "line\nbreak-1.0.tar.gz").touch()
    done = await run(tmp_path, "import", "flat", "--offline")
    assert done.status == 1
    assert (
        done.out.splitlines()[-1]
        == "1 file (818 bytes) taken, 0 there already, 2 refused, 0 others left out"
    )
    assert "refused \\x1b[31m\\udcff.whl: its name does not have" in done.err
    assert "refused line\\nbreak-1.0.tar.gz: its name" in done.err
    url = "http://127.0.0.1:9/simple/"
    for arguments, status, message in (
        (("import", "nothing"), 2, "SOURCE: nothing is no folder; name a folder, or an address"),
        (("import", url), 2, "name the projects of the index: --project NAME"),
        (("import", url, "--kind", "devpi"), 2, "--kind and --devpi-index are for folders"),
        (("import", "flat", "--project", "a/b"), 2, "not a project name or pattern: 'a/b'"),
        (("import", url, "--project", "foo", "--offline"), 2, "cannot be asked; give --online"),
        (("pull", "foo==", "--from", url), 2, "'foo==' has no version after =="),
        (("pull", "foo", "--from", "ftp://x"), 2, "URL: ftp://x is no address of an index"),
        (("pull", "foo", "--from", url), 1, "refused foo: upstream http://127.0.0.1:9/simple/: "),
        (("pull", "none", "--from", upstream.url), 1, "refused none: no such project: none"),
    ):
        done = await run(tmp_path, *arguments, WAYSTATION_RETRIES="0")
        assert (done.status, message in done.err) == (status, True), done.err
        assert "Traceback" not in done.err
    none = await waystation("import", "flat", cwd=tmp_path)
    assert (none.status, "set uploads = true" in none.err) == (2, True)
