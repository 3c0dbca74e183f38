"""Many uploads at once, slow ones and large ones, to a real server with two workers."""

from __future__ import annotations

import asyncio
import hashlib
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.test_publishing import address
from tests.support.distributions import make_wheel
from tests.support.running import Running, running
from tests.support.upstream import Upstream

pytestmark = pytest.mark.slow

UPLOADS = 50
MEGABYTE = 2**20


@pytest.fixture
async def server(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Running]:
    (tmp_path / "packages").mkdir()
    given = ("--upstream", upstream.url, "--packages", tmp_path / "packages")
    async with running(tmp_path, *given, "--workers", "2", WAYSTATION_UPLOADS="true") as server:
        yield server


async def upload(client: aiohttp.ClientSession, server: Running, wheel: Path) -> int:
    project, version = wheel.name.split("-")[:2]
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        form = aiohttp.FormData(default_to_multipart=True)
        fields = {"name": project, "version": version, "sha256_digest": digest}
        fields |= {":action": "file_upload", "filetype": "bdist_wheel", "pyversion": "py3"}
        for name, value in fields.items():
            form.add_field(name, value)
        form.add_field("content", file, filename=wheel.name)
        async with client.post(address(server), data=form) as answer:
            return answer.status


async def listed(client: aiohttp.ClientSession, server: Running, project: str) -> list[str]:
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    async with client.get(f"{server.index}{project}/", headers=accept) as answer:
        page = await answer.json(content_type=None)
    return sorted(file["filename"] for file in page["files"])


async def test_many_uploads_at_once_are_all_listed(tmp_path: Path, server: Running) -> None:
    wheels = [make_wheel(tmp_path / "dist", "foo", f"1.{number}") for number in range(UPLOADS)]
    async with aiohttp.ClientSession() as client:
        statuses = await asyncio.gather(*(upload(client, server, wheel) for wheel in wheels))
        assert statuses == [200] * UPLOADS
        assert await listed(client, server, "foo") == sorted(wheel.name for wheel in wheels)


async def test_of_many_uploads_of_one_name_those_with_the_same_bytes_succeed(
    tmp_path: Path, server: Running
) -> None:
    one = make_wheel(tmp_path / "one", "foo", "1.0")
    other = make_wheel(tmp_path / "other", "foo", "1.0", requires=["bar"])
    sent = [one, other] * (UPLOADS // 2)
    async with aiohttp.ClientSession() as client:
        statuses = await asyncio.gather(*(upload(client, server, wheel) for wheel in sent))
        stored = (tmp_path / "packages" / "foo" / one.name).read_bytes()
        expected = [200 if wheel.read_bytes() == stored else 409 for wheel in sent]
        assert statuses == expected
        assert await listed(client, server, "foo") == [one.name]
    assert list((tmp_path / "packages" / ".waystation" / "incoming").iterdir()) == []


async def test_a_slow_upload_does_not_keep_others_waiting(tmp_path: Path, server: Running) -> None:
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0")
    others = [make_wheel(tmp_path / "dist", "bar", f"1.{number}") for number in range(8)]
    others_done = asyncio.Event()
    data = wheel.read_bytes()
    fields = {":action": "file_upload", "filetype": "bdist_wheel", "pyversion": "py3"}
    fields |= {"name": "foo", "version": "1.0", "sha256_digest": hashlib.sha256(data).hexdigest()}

    async def pieces() -> AsyncIterator[bytes]:
        begin = 'Content-Disposition: form-data; name="'
        for name, value in fields.items():
            yield f'--b\r\n{begin}{name}"\r\n\r\n{value}\r\n'.encode()
        yield f'--b\r\n{begin}content"; filename="{wheel.name}"\r\n\r\n'.encode() + data[:20]
        await others_done.wait()
        for byte in BytesIO(data[20:]):
            yield byte
            await asyncio.sleep(0)
        yield b"\r\n--b--\r\n"

    async def slow(client: aiohttp.ClientSession) -> int:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        async with client.post(address(server), data=pieces(), headers=headers) as answer:
            return answer.status

    async with aiohttp.ClientSession() as client:
        waiting = asyncio.create_task(slow(client))
        for other in others:
            assert await upload(client, server, other) == 200
        others_done.set()
        assert await waiting == 200
        assert await listed(client, server, "foo") == [wheel.name]


def large(folder: Path, version: str, megabytes: int) -> Path:
    """A wheel with a member of that size, written piece by piece."""
    wheel = make_wheel(folder, "foo", version)
    with zipfile.ZipFile(wheel, "a") as archive, archive.open("foo.bin", "w") as member:
        for number in range(megabytes):
            member.write(hashlib.sha256(str(number).encode()).digest() * (MEGABYTE // 32))
    return wheel


async def test_a_large_upload_takes_no_more_memory_than_a_small_one(
    tmp_path: Path, upstream: Upstream
) -> None:
    (tmp_path / "packages").mkdir()
    given = ("--upstream", upstream.url, "--packages", tmp_path / "packages")
    async with (
        running(tmp_path, *given, WAYSTATION_UPLOADS="true") as server,
        aiohttp.ClientSession() as client,
    ):
        assert await upload(client, server, large(tmp_path / "dist", "1.0", 20)) == 200
        before = server.peak()
        wheel = large(tmp_path / "dist", "2.0", 300)
        assert await upload(client, server, wheel) == 200
        assert server.peak() - before < 20 * MEGABYTE
    assert (tmp_path / "packages" / "foo" / wheel.name).stat().st_size > 300 * MEGABYTE
