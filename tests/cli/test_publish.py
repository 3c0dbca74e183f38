"""``waystation publish``: what is sent, with which credentials, and what failures say."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from proxy.upstream import OutgoingUpload, UploadClient
from tests.support.distributions import make_sdist, make_wheel
from tests.support.running import Done, Running, running, waystation

UPLOADS = {"WAYSTATION_UPLOADS": "true"}


class RecordingIndex:
    """Takes uploads as another server would: the given statuses first, then 200."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers = list(answers)
        self.users: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        self.files: list[tuple[str, bytes]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        self.users.append(b64decode(given.partition(" ")[2]).decode())
        assert request.content_length
        form: dict[str, list[str]] = {}
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                self.files.append((value.filename, value.file.read()))
            else:
                assert isinstance(value, str)
                form.setdefault(name, []).append(value)
        self.forms.append(form)
        status, text = self.answers.pop(0) if self.answers else (200, "")
        headers = {"Retry-After": "0"} if status >= 500 else {"Location": "/elsewhere"}
        return web.Response(status=status, text=text, headers=headers)


@asynccontextmanager
async def recording(*answers: tuple[int, str]) -> AsyncIterator[RecordingIndex]:
    index = RecordingIndex(*answers)
    app = web.Application()
    app.router.add_post("/legacy/", index.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        index.url = f"http://127.0.0.1:{runner.addresses[0][1]}/legacy/"
        yield index
    finally:
        await runner.cleanup()


async def listed(server: Running) -> set[str]:
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    async with aiohttp.request("GET", server.index + "foo/", headers=accept) as answer:
        found = await answer.json(content_type=None) if answer.status == 200 else {"files": []}
        return {file["filename"] for file in found["files"]}


async def test_files_are_published_once_and_conflicts_are_said(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0")
    sdist = make_sdist(tmp_path / "dist", "foo", "1.0")
    signature = wheel.with_name(f"{wheel.name}.asc")
    signature.write_bytes(b"signed")
    other = make_wheel(tmp_path / "other", "foo", "1.0", requires=["bar"])
    newer = make_wheel(tmp_path / "other", "foo", "2.0")
    (tmp_path / "packages").mkdir()
    async with running(tmp_path, "--offline", **UPLOADS) as server:

        async def publish(*arguments: str | Path) -> Done:
            to = ("--to", f"{server.address}/legacy/")
            return await waystation("publish", *to, *arguments, cwd=tmp_path)

        assert (await publish("--dry-run", wheel, sdist)).succeeded().out == (
            f"would publish {wheel.name}\nwould publish {sdist.name}\n"
        )
        assert await listed(server) == set()
        done = (await publish(wheel, signature, sdist)).succeeded()
        assert done.out == f"published {wheel.name}\npublished {sdist.name}\n"
        assert f"[2/2] {sdist.name}" in done.err
        assert await listed(server) == {wheel.name, sdist.name}
        (await publish(wheel)).succeeded()
        refused = await publish(other, newer)
        assert (refused.status, "answered 409 File already exists" in refused.err) == (1, True)
        assert "Traceback" not in refused.err
        skipped = (await publish("--skip-existing", other, newer)).succeeded()
        assert skipped.out.startswith(f"skipped {other.name}: a file of that name is there")
        assert await listed(server) == {wheel.name, sdist.name, newer.name}
    stored = tmp_path / "packages" / "foo"
    assert (stored / wheel.name).read_bytes() == wheel.read_bytes()
    assert (stored / signature.name).read_bytes() == b"signed"


async def test_the_form_has_digests_metadata_and_attestations(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0", requires=["bar", "baz>=2"])
    wheel.with_name(f"{wheel.name}.publish.attestation").write_text('{"version": 1}')
    async with recording() as index:
        (await waystation("publish", "--to", index.url, wheel, cwd=tmp_path)).succeeded()
    (form,) = index.forms
    assert (form["name"], form["version"], form["pyversion"]) == (["foo"], ["1.0"], ["py3"])
    assert form["requires_dist"] == ["bar", "baz>=2"]
    assert form["sha256_digest"] == [hashlib.sha256(wheel.read_bytes()).hexdigest()]
    assert json.loads(form["attestations"][0]) == [{"version": 1}]
    assert index.files == [(wheel.name, wheel.read_bytes())]


async def test_credentials_come_from_the_variable_the_address_or_netrc(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ana password from-netrc\n")
    netrc.chmod(0o600)
    async with recording() as index:
        written = index.url.replace("http://", "http://ben:from-url@")
        for url, more in (
            (index.url, {"WAYSTATION_TOKEN": "secret"}),
            (written, {}),
            (index.url, {"NETRC": str(netrc)}),
            (index.url, {}),
        ):
            done = await waystation("publish", "--to", url, wheel, cwd=tmp_path, **more)
            done.succeeded()
    assert index.users == ["__token__:secret", "ben:from-url", "ana:from-netrc", ""]


async def test_errors_of_the_server_are_retried(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    async with recording((503, "busy"), (502, "busy")) as index:
        (await waystation("publish", "--to", index.url, wheel, cwd=tmp_path)).succeeded()
        assert [data for _, data in index.files] == [wheel.read_bytes()] * 3
        index.answers = [(503, "busy for long")]
        given = ("--retries", "0", "--to", index.url.replace("//", "//ana:hunter2@"))
        done = await waystation("publish", *given, wheel, cwd=tmp_path)
        assert (done.status, "answered 503" in done.err, "busy for long" in done.err) == (
            1,
            True,
            True,
        )
        assert "hunter2" not in done.err


async def test_a_connection_that_cannot_be_made_is_retried_and_said(tmp_path: Path) -> None:
    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with recording() as index:
        url = index.url
    wheel = make_wheel(tmp_path, "foo", "1.0")
    client = UploadClient(url, None, retries=2, sleep=sleep)
    with pytest.raises(Exception, match="no connection"):
        await client.send(OutgoingUpload(wheel, ()))
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("status", "text", "is_skipped"),
    [
        (409, "", True),
        (400, "File already exists", True),
        (400, "the name is wrong", False),
        (403, "not enough permissions to overwrite artifact 'a'", True),
        (403, "no right", False),
        (307, "", False),
    ],
)
async def test_what_other_servers_say_of_existing_files_is_known(
    tmp_path: Path, status: int, text: str, is_skipped: bool
) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    async with recording((status, text)) as index:
        given = ("--skip-existing", "--to", index.url)
        done = await waystation("publish", *given, wheel, cwd=tmp_path)
        assert (done.status == 0) is is_skipped, done.err
        assert len(index.forms) == 1


async def test_a_version_of_a_local_index_is_pushed_to_another_server(tmp_path: Path) -> None:
    folder = tmp_path / "packages" / "foo"
    wheel, sdist = make_wheel(folder, "foo", "1.0"), make_sdist(folder, "foo", "1.0")
    make_wheel(folder, "foo", "2.0")
    sdist.with_name(f"{sdist.name}.yanked").write_text("it breaks")
    async with recording() as index:
        given = ("push", "foo==1.0", "--to", index.url)
        dry = await waystation(*given, "--dry-run", cwd=tmp_path, **UPLOADS)
        assert dry.succeeded().out == f"would publish {wheel.name}\n"
        assert index.forms == []
        more = UPLOADS | {"WAYSTATION_TOKEN": "secret"}
        done = await waystation(*given, cwd=tmp_path, **more)
        assert done.succeeded().out == f"published {wheel.name}\n"
        assert f"left out {sdist.name}: it is yanked" in done.err
        missing = await waystation("push", "foo==3.0", *given[2:], cwd=tmp_path, **UPLOADS)
        assert (missing.status, "there is no file version 3.0 of foo" in missing.err) == (1, True)
    assert index.files == [(wheel.name, wheel.read_bytes())]
    assert index.users == ["__token__:secret"]


async def test_nothing_is_sent_if_a_file_is_wrong(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "foo", "1.0")
    broken = tmp_path / "foo-2.0-py3-none-any.whl"
    broken.write_bytes(wheel.read_bytes()[:-30])
    renamed = tmp_path / "bar-1.0-py3-none-any.whl"
    renamed.write_bytes(wheel.read_bytes())
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    async with recording() as index:
        for wrong in (broken, renamed, notes):
            done = await waystation("publish", "--to", index.url, wheel, wrong, cwd=tmp_path)
            assert (done.status, "nothing was sent: " in done.err) == (1, True), done.err
            assert "Traceback" not in done.err
        done = await waystation("publish", "--to", "ftp://example.com/", wheel, cwd=tmp_path)
        assert (done.status, "https://" in done.err) == (1, True), done.err
    assert index.forms == []
