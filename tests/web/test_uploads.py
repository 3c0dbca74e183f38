"""The legacy upload API, as tools use it and as hostile clients do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from tests.support.distributions import make_sdist, make_wheel, zipped
from tests.support.publishing import DirectoryPublisher, form_of, publishing
from tests.support.site import Answer, Site, serving


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "dist", "foo", "1.0")


@asynccontextmanager
async def accepting(tmp_path: Path) -> AsyncIterator[tuple[Site, DirectoryPublisher]]:
    async with (
        publishing(tmp_path / "packages", upstream={"taken"}, max_file=4 * 10**6) as publisher,
        serving(publisher.directory, publishers={"": publisher}) as site,
    ):
        yield site, publisher


def body(
    path: Path,
    changed: Mapping[str, str | list[str]] | None = None,
    *,
    filename: str | None = None,
    content_last: bool = True,
) -> aiohttp.FormData:
    """The form of an upload. ``filename``: the one that the form says."""
    form = aiohttp.FormData(default_to_multipart=True)
    fields = form_of(path, **(changed or {}))
    if not content_last:
        form.add_field("content", BytesIO(path.read_bytes()), filename=filename or path.name)
    for name, values in fields.items():
        for value in values:
            form.add_field(name, value)
    if content_last:
        form.add_field("content", BytesIO(path.read_bytes()), filename=filename or path.name)
    return form


async def upload(site: Site, form: aiohttp.FormData, path: str = "/legacy/") -> Answer:
    return await site.post(path, form)


async def listed(site: Site, project: str = "foo") -> list[str]:
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    answer = await site.get(f"/simple/{project}/", headers=accept)
    return [file["filename"] for file in json.loads(answer.body).get("files", [])]


@pytest.mark.parametrize("content_last", [True, False])
async def test_an_upload_is_listed_by_the_next_request(
    tmp_path: Path, wheel: Path, content_last: bool
) -> None:
    async with accepting(tmp_path) as (site, _):
        answer = await upload(site, body(wheel, content_last=content_last))
        assert answer.status == 200
        assert answer.body.startswith(b"OK")
        assert await listed(site) == [wheel.name]


@pytest.mark.parametrize("path", ["/legacy/", "/legacy", "/"])
async def test_both_spellings_of_the_slash_and_the_root_take_uploads(
    tmp_path: Path, wheel: Path, path: str
) -> None:
    async with accepting(tmp_path) as (site, _):
        assert (await upload(site, body(wheel), path)).status == 200
        assert await listed(site) == [wheel.name]


async def test_conflicts_have_the_words_that_tools_look_for(tmp_path: Path, wheel: Path) -> None:
    other = make_wheel(tmp_path / "other", "foo", "1.0", requires=["bar"])
    async with accepting(tmp_path) as (site, _):
        assert (await upload(site, body(wheel))).status == 200
        assert (await upload(site, body(wheel))).status == 200
        answer = await upload(site, body(other))
        assert answer.status == 409
        assert b"already exist" in answer.body
        assert await listed(site) == [wheel.name]


async def test_refusals_are_in_the_reason_phrase_and_for_uv_in_json(
    tmp_path: Path, wheel: Path
) -> None:
    async with accepting(tmp_path) as (site, _):
        url = f"http://127.0.0.1:{site.port}/legacy/"
        async with aiohttp.ClientSession() as client:
            form = body(wheel, {"sha256_digest": "0" * 64})
            async with client.post(url, data=form) as plain:
                assert plain.status == 400
                assert plain.reason
                assert plain.reason.startswith("the sha256 of the bytes that arrived is")
                assert "upload the file again" in await plain.text()
            accept = {"Accept": "application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7"}
            form = body(wheel, {"sha256_digest": "0" * 64})
            async with client.post(url, data=form, headers=accept) as answer:
                said = await answer.json()
                assert said["message"].startswith("the sha256 of the bytes")
                assert said["code"].startswith("400 ")


WRONG: Mapping[str, tuple[dict[str, str | list[str]], str]] = {
    "doubled": ({"version": ["1.0", "1.0"]}, "the form has the field version 2 times"),
    "no name": ({"name": []}, "the field name is no project name"),
    "name": ({"name": "../foo"}, "the field name is no project name"),
    "other name": ({"name": "bar"}, "is not the name of a file of bar"),
    "version": ({"version": "one"}, "the field version is no version"),
    "other version": ({"version": "2.0"}, "is not the name of a file of foo 2.0"),
    "kind": ({"filetype": "bdist_egg"}, "Use a known file type"),
    "other kind": ({"filetype": "sdist"}, "Use 'source' as Python version"),
    "protocol": ({"protocol_version": "2"}, "Unknown protocol version"),
    "action": ({"action": "delete"}, "unknown :action 'delete'"),
    "no digest": ({"sha256_digest": []}, "Include at least one message digest"),
    "digest": ({"sha256_digest": "x"}, "sha256 is no hexadecimal digest"),
    "md5": ({"md5_digest": "0" * 32}, "the md5 of the bytes that arrived is"),
}


async def test_wrong_forms_say_what_is_wrong_and_store_nothing(tmp_path: Path, wheel: Path) -> None:
    async with accepting(tmp_path) as (site, publisher):
        for changed, message in WRONG.values():
            answer = await upload(site, body(wheel, changed))
            assert (answer.status, message.encode() in answer.body) == (400, True), answer.body
        assert list(publisher.private_folder.glob("incoming/*")) == []
        assert not (publisher.root / "foo").exists()


NAMES = [
    *("../foo-1.0-py3-none-any.whl", "a/foo-1.0-py3-none-any.whl", "foo-1.0.exe"),
    *("foo-1.0-py3-none-any.whl ", "..", ".foo-1.0-py3-none-any.whl", "foo\u202e-1.0.tar.gz"),
    "foo-1.0-py3-none-any.whl" + "x" * 300,
]


async def test_hostile_file_names_are_refused(tmp_path: Path, wheel: Path) -> None:
    async with accepting(tmp_path) as (site, publisher):
        for name in NAMES:
            answer = await upload(site, body(wheel, filename=name))
            assert answer.status == 400, name
        assert [path.name for path in publisher.root.iterdir()] == [".waystation"]
    assert not (tmp_path / wheel.name).exists()


async def test_archives_that_are_not_what_they_say_are_refused(tmp_path: Path) -> None:
    broken, dist = tmp_path / "broken", tmp_path / "dist"
    broken.mkdir()
    good = make_wheel(dist, "foo", "1.0")
    truncated = broken / good.name
    truncated.write_bytes(good.read_bytes()[:-30])
    alien = broken / "foo-2.0-py3-none-any.whl"
    alien.write_bytes(make_wheel(dist, "bar", "2.0").read_bytes())
    empty = broken / "foo-3.0-py3-none-any.whl"
    empty.write_bytes(zipped({"foo.py": b""}))
    no_wheel_file = broken / "foo-4.0-py3-none-any.whl"
    text = b"Metadata-Version: 2.1\nName: foo\nVersion: 4.0\n"
    no_wheel_file.write_bytes(zipped({"foo-4.0.dist-info/METADATA": text}))
    invalid = make_wheel(broken, "foo", "5.0", requires=["not a requirement ("])
    sdist = broken / "foo-6.0.tar.gz"
    sdist.write_bytes(make_sdist(dist, "foo", "7.0").read_bytes())
    async with accepting(tmp_path) as (site, publisher):
        for path in (truncated, alien, empty, no_wheel_file, invalid, sdist):
            answer = await upload(site, body(path))
            assert answer.status == 400, path.name
            assert path.name.encode() in answer.body, answer.body
        assert list(publisher.private_folder.glob("incoming/*")) == []


async def test_names_of_upstream_are_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "taken", "1.0")
    async with accepting(tmp_path) as (site, _):
        answer = await upload(site, body(wheel))
        assert answer.status == 403
        assert b"`waystation claim taken`" in answer.body


async def test_a_file_that_is_too_large_is_413(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0", padding=5 * 10**6)
    async with accepting(tmp_path) as (site, publisher):
        assert (await upload(site, body(wheel))).status == 413
        assert list(publisher.private_folder.glob("incoming/*")) == []


async def test_an_upload_that_is_cut_off_leaves_nothing(tmp_path: Path, wheel: Path) -> None:
    head = (
        b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        b'--b\r\nContent-Disposition: form-data; name="content"; filename="foo-1.0.tar.gz"\r\n\r\n'
    )
    async with accepting(tmp_path) as (site, publisher):
        incoming = publisher.private_folder / "incoming"
        async with site.connection() as (_, writer):
            writer.write(head + b"x" * 2 * 2**20)
            async with asyncio.timeout(20):
                while not list(incoming.glob("*")):
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(20):
            while list(incoming.glob("*")):
                await asyncio.sleep(0.01)
        assert (await upload(site, body(wheel))).status == 200


MALFORMED = (
    (b"text/plain", b"hello"),
    (b"multipart/form-data", b"hello"),
    (b"multipart/form-data; boundary=b", b"hello"),
    (b"multipart/form-data; boundary=b", b"--b\r\n\r\nhello\r\n--b--\r\n"),
    (
        b"multipart/form-data; boundary=b",
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b--\r\n",
    ),
    (
        b"multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="content"\r\n\r\nhello\r\n--b--\r\n',
    ),
    (b"multipart/form-data; boundary=b", b"--b\r\nX: \0\r\n\r\nhello\r\n--b--\r\n"),
    (b"multipart/form-data; boundary=b", b"--b\r\nhello\r\n\r\nhello\r\n--b--\r\n"),
    (
        b"multipart/form-data; boundary=b",
        b"--b\r\nX: " + b"x" * 100_000 + b"\r\n\r\nx\r\n--b--\r\n",
    ),
    (b"multipart/form-data; boundary=b", b"--b\r\n" + b"X: x\r\n" * 1000 + b"\r\nx\r\n--b--\r\n"),
    *(
        (
            b"multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n%b\r\n--b--\r\n'
            % name,
        )
        for name in (b"nonsense", b"x" * 50)
    ),
)


async def test_bodies_that_are_no_form_are_refused(tmp_path: Path) -> None:
    async with accepting(tmp_path) as (site, _):
        for kind, data in MALFORMED:
            answer = await site.post("/legacy/", data, {"Content-Type": kind.decode()})
            assert answer.status == 400, data
        assert (await site.post("/legacy/", body_of_many_parts())).status == 400


def body_of_many_parts() -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for _ in range(3001):
        form.add_field("classifiers", "x")
    return form


async def test_old_actions_are_gone(tmp_path: Path, wheel: Path) -> None:
    async with accepting(tmp_path) as (site, _):
        assert (await upload(site, body(wheel, {"action": "submit"}))).status == 410


async def test_an_index_without_uploads_says_so(tmp_path: Path, wheel: Path) -> None:
    async with publishing(tmp_path / "packages") as publisher, serving(publisher.directory) as site:
        answer = await upload(site, body(wheel))
        assert answer.status == 405
        assert b"uploads" in answer.body
