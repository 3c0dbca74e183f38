"""Addresses of files as PyPI has them: only the host of a lock file made against it is ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from proxy.errors import IndexUnavailable
from proxy.events import AnswerServed, Event
from proxy.model import File
from proxy.storage.in_memory import BytesBlob
from tests.support.access import token_access
from tests.support.content import sha256
from tests.support.fake_index import FakeIndex
from tests.support.judging import policies_of
from tests.support.policies import GuardedFake
from tests.support.site import serving

WHEEL = "foo-1.0-py3-none-any.whl"
BYTES = WHEEL.encode()


def path_of(digest: str) -> str:
    return f"{digest[:2]}/{digest[2:4]}/{digest[4:]}"


BLAKE2B = path_of(hashlib.blake2b(BYTES, digest_size=32).hexdigest())
MD5 = path_of(hashlib.md5(BYTES).hexdigest())
OTHER = path_of("ab" * 32)


def listing(
    index: FakeIndex, name: str, content: bytes, folders: str, project: str = "foo"
) -> None:
    """List the file at an upstream address with these folders."""
    url = f"https://files.example.org/packages/{folders}/{name}"
    file = File(name, url, {"sha256": sha256(content)}, size=len(content), metadata=True)
    index.page_of(project, file)
    index.blobs[project, name] = BytesBlob(content)


@pytest.fixture
def index() -> FakeIndex:
    made = FakeIndex("main")
    listing(made, WHEEL, BYTES, BLAKE2B)
    made.add_sibling("foo", f"{WHEEL}.metadata", b"Metadata-Version: 2.1")
    return made


@pytest.mark.parametrize("root", ["", "/team", "/base", "/base/team"])
@pytest.mark.parametrize(
    "folders", [BLAKE2B, "source/f/foo", "py3/f/foo", "py2.py3/f/Foo", "any/F/foo"]
)
async def test_the_file_is_found_by_its_name(index: FakeIndex, root: str, folders: str) -> None:
    heard: list[Event] = []
    async with serving(
        index, mounted={"/team": index}, prefix="/base", observers=[heard.append]
    ) as site:
        answer = await site.get(f"{root}/packages/{folders}/{WHEEL}")
        assert (answer.status, answer.body) == (200, BYTES)
        immutable = "immutable" in answer.headers["Cache-Control"]
        assert immutable == (folders == BLAKE2B)
        (event,) = (each for each in heard if isinstance(each, AnswerServed))
        assert (event.project, event.filename, event.digest) == ("foo", WHEEL, sha256(BYTES))


async def test_ranges_and_siblings_are_served_too(index: FakeIndex) -> None:
    async with serving(index) as site:
        path = f"/packages/{BLAKE2B}/{WHEEL}"
        part = await site.get(path, headers={"Range": "bytes=1-2"})
        assert (part.status, part.body) == (206, BYTES[1:3])
        assert (await site.get(path, "HEAD")).headers["Content-Length"] == str(len(BYTES))
        assert (await site.get(f"{path}.metadata")).body == b"Metadata-Version: 2.1"


async def test_other_bytes_under_the_same_name_are_not_sent(index: FakeIndex) -> None:
    async with serving(index) as site:
        assert (await site.get(f"/packages/{OTHER}/{WHEEL}")).status == 404
        assert (await site.get(f"/packages/{OTHER}/{WHEEL}.metadata")).status == 404


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("name", "folders"), [("blake2b", BLAKE2B), ("md5", MD5)])
async def test_the_digest_is_checked_where_upstream_has_other_addresses(
    name: str, folders: str, known: bool
) -> None:
    index = FakeIndex("main")
    hashes = {"sha256": sha256(BYTES), **({name: folders.replace("/", "")} if known else {})}
    index.add("foo", WHEEL, BYTES, hashes=hashes)
    async with serving(index) as site:
        for _ in range(2):
            assert (await site.get(f"/packages/{folders}/{WHEEL}")).body == BYTES
            other = path_of("ab" * (len(folders.replace("/", "")) // 2))
            assert (await site.get(f"/packages/{other}/{WHEEL}")).status == 404


async def test_a_refused_file_is_403_with_the_reason(index: FakeIndex) -> None:
    rule = {"kind": "deny", "versions": {"foo": "==1.0"}, "reason": "broken"}
    async with serving(GuardedFake(index, policies_of(rule))) as site:
        for path in (f"{BLAKE2B}/{WHEEL}", f"source/f/foo/{WHEEL}", f"{BLAKE2B}/{WHEEL}.metadata"):
            answer = await site.get(f"/packages/{path}")
            assert (answer.status, answer.headers["Waystation-Rule"]) == (403, "p0")
            assert f"http://127.0.0.1:{site.port}/+explain/foo/".encode() in answer.body


async def test_an_old_sdist_is_of_the_project_that_lists_it() -> None:
    index = FakeIndex("main")
    name = "foo-2-1.0.tar.gz"  # of foo-2; or version "2-1.0" of foo
    folders = path_of(hashlib.blake2b(b"old", digest_size=32).hexdigest())
    listing(index, name, b"old", folders, project="foo-2")
    async with serving(index) as site:
        assert (await site.get(f"/packages/{folders}/{name}")).body == b"old"


async def test_a_guess_asks_no_upstream() -> None:
    """A page is requested for one reading at most; what others would be is in the cache or not."""
    index = FakeIndex("main")
    async with serving(index) as site:
        name = "secret-2-tool-3-1.0.tar.gz"
        assert (await site.get(f"/packages/{OTHER}/{name}")).status == 404
        requested = [each for each in index.asked if each != "explain"]
        assert requested == [f"secret-2-tool-3/{name}"]


async def test_an_index_that_cannot_answer_is_not_an_absent_file(index: FakeIndex) -> None:
    index.error = IndexUnavailable("main", "its disk is gone")
    async with serving(index) as site:
        assert (await site.get(f"/packages/{BLAKE2B}/{WHEEL}")).status == 503


@pytest.mark.parametrize(
    "path",
    [
        f"{OTHER}/..%2f..%2fetc",
        f"{OTHER}/%00{WHEEL}",
        f"{OTHER}/foo.txt",
        f"{OTHER}/{'a' * 300}-1.0.tar.gz",
        f"{OTHER.upper()}/{WHEEL}",
        f"aa/bb/{WHEEL}",
        f"x/{WHEEL}",
        f"source/f/bar/{WHEEL}",
        f"source/f/-/{WHEEL}",
        f"source/f/%2e%2e/{WHEEL}",
        f"%2e%2e/f/foo/{WHEEL}",
        f"{OTHER}/foo-bar",
        f"{OTHER}/{'-'.join('a' * 120)}.tar.gz",
    ],
)
async def test_odd_addresses_are_404(index: FakeIndex, path: str) -> None:
    async with serving(index) as site:
        answer = await site.get(f"/packages/{path}")
        assert answer.status == 404
        assert (await site.get(f"/packages/{path}", "POST")).status in (404, 405)


async def test_rights_on_projects_bind_here_too(index: FakeIndex, tmp_path: Path) -> None:
    """The address names no project before its file name has been read."""
    for hide_names, hidden in ((True, 404), (False, 403)):
        async with (
            token_access(tmp_path / str(hide_names), hide_names=hide_names) as rig,
            serving(index, access=rig.access) as site,
        ):
            other, reader = rig.headers("o", "read:main:bar"), rig.headers("r", "read:main:foo")
            for path in (f"{BLAKE2B}/{WHEEL}", f"source/f/foo/{WHEEL}"):
                assert (await site.get(f"/packages/{path}")).status == 401
                assert (await site.get(f"/packages/{path}", headers=other)).status == hidden
                answer = await site.get(f"/packages/{path}", headers=reader)
                assert (answer.status, answer.body) == (200, BYTES)
                assert "private" in answer.headers["Cache-Control"]
            for path in ("/pypi/foo/json", "/pypi/foo/1.0/json"):
                assert (await site.get(path)).status == 401
                assert (await site.get(path, headers=other)).status == hidden
                assert (await site.get(path, headers=reader)).status == 200
