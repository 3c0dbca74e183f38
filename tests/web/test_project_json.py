"""Documents in the form of PyPI's JSON API: what the page shows, and what upstream adds to it."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest

from proxy.model import ProjectName
from tests.support.content import sha256
from tests.support.fake_index import FakeIndex
from tests.support.judging import policies_of
from tests.support.policies import GuardedFake
from tests.support.site import Answer, Site, serving

OLD, NEW = "foo-1.0-py3-none-any.whl", "foo-2.0-py3-none-any.whl"
NOT_2 = {"kind": "deny", "versions": {"foo": ">=2"}, "reason": "broken"}
PROJECT = "/pypi/foo/json"


@pytest.fixture
def index() -> FakeIndex:
    made = FakeIndex("main", {"foo": []})
    for number, name in enumerate((OLD, NEW), start=1):
        made.add("foo", name, name.encode(), metadata=True)
        metadata = f"Metadata-Version: 2.1\nName: Foo\nVersion: {number}.0\nSummary: ours\n"
        made.add_sibling("foo", f"{name}.metadata", metadata.encode())
    return made


class Theirs:
    """Documents of an upstream, by project and version, and the requests for them."""

    def __init__(self, **documents: dict[str, Any]) -> None:
        self.documents = documents
        self.asked: list[tuple[Collection[str], str, str]] = []

    async def find(self, sources: Collection[str], project: ProjectName, version: str) -> bytes:
        self.asked.append((sources, project, version))
        return json.dumps(self.documents.get(f"v{version}".replace(".", "_"), {})).encode()


def theirs_about(version: str, *names: str, **more: Any) -> dict[str, Any]:
    files = [
        {
            "filename": name,
            "digests": {"sha256": sha256(name.encode()), "md5": "f" * 32},
            "url": "https://files.example.org/x",
            "comment_text": "theirs",
            "yanked": True,
            "yanked_reason": "theirs",
        }
        for name in names
    ]
    return {"info": {"version": version, "summary": "theirs"}, "urls": files, **more}


def document(answer: Answer) -> Any:
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    return json.loads(answer.body)


async def get(site: Site, path: str) -> Any:
    return document(await site.get(path, headers={"Accept-Encoding": "identity"}))


async def test_a_project_has_its_newest_release_and_files_at_our_address(index: FakeIndex) -> None:
    async with serving(index) as site:
        found = await get(site, PROJECT)
        assert (found["info"]["version"], found["info"]["summary"]) == ("2.0", "ours")
        assert {version: len(files) for version, files in found["releases"].items()} == {
            **{"1.0": 1, "2.0": 1}
        }
        (file,) = found["urls"]
        path = f"/files/foo/{sha256(NEW.encode())}/{NEW}"
        assert file["url"] == f"http://127.0.0.1:{site.port}{path}"
        assert (await site.get(path)).body == NEW.encode()


@pytest.mark.parametrize("version", ["1.0", "1", "1.0.0", "v1.0"])
async def test_a_version_is_found_however_it_is_spelled(index: FakeIndex, version: str) -> None:
    async with serving(index) as site:
        found = await get(site, f"/pypi/foo/{version}/json")
        assert [each["filename"] for each in found["urls"]] == [OLD]
        assert "releases" not in found


@pytest.mark.parametrize(
    "path",
    ["foo/3.0/json", f"foo/{'1' * 5000}/json", "foo/%00/json", "foo/..%2f1.0/json", "bar/json"],
)
async def test_what_there_is_not_is_404(index: FakeIndex, path: str) -> None:
    async with serving(index) as site:
        answer = await site.get(f"/pypi/{path}")
        assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/pypi/Foo/json", "../foo/json"),
        ("/pypi/F.oo/1.0/json", "../../f-oo/1.0/json"),
        ("/pypi/foo/json/", "../json"),
        ("/pypi/foo/1.0/json/", "../json"),
    ],
)
async def test_other_spellings_are_redirected(index: FakeIndex, path: str, target: str) -> None:
    async with serving(index) as site:
        answer = await site.get(path)
        assert (answer.status, answer.headers["Location"]) == (301, target)


async def test_refused_releases_are_in_no_document(index: FakeIndex) -> None:
    theirs = Theirs(v=theirs_about("2.0", OLD, NEW), v1_0=theirs_about("1.0", OLD))
    async with serving(
        GuardedFake(index, policies_of({**NOT_2, "show": "hide"})), find_document=theirs.find
    ) as site:
        found = await get(site, PROJECT)
        assert (found["info"]["version"], list(found["releases"])) == ("1.0", ["1.0"])
        assert [each["filename"] for each in found["urls"]] == [OLD]
        assert (await site.get("/pypi/foo/2.0/json")).status == 404


async def test_a_refused_project_is_403(index: FakeIndex) -> None:
    rule = {"kind": "deny", "projects": ["foo"], "reason": "broken"}
    async with serving(GuardedFake(index, policies_of(rule))) as site:
        assert (await site.get(PROJECT)).status == 403


async def test_a_rule_that_shows_files_as_yanked_does_so_here(index: FakeIndex) -> None:
    async with serving(GuardedFake(index, policies_of({**NOT_2, "show": "yank"}))) as site:
        found = await get(site, PROJECT)
        assert found["info"]["version"] == "1.0"
        (file,) = found["releases"]["2.0"]
        assert file["yanked"] and "broken" in file["yanked_reason"]


async def test_upstream_adds_what_a_page_does_not_have(index: FakeIndex) -> None:
    known = theirs_about("2.0", OLD, NEW, vulnerabilities=[{"id": "X-1"}], last_serial=7)
    theirs = Theirs(v=known)
    async with serving(index, find_document=theirs.find) as site:
        found = await get(site, PROJECT)
        assert theirs.asked == [(["main"], "foo", "")]
        assert found["info"]["summary"] == "theirs"
        assert (found["vulnerabilities"], found["last_serial"]) == ([{"id": "X-1"}], 7)
        (file,) = found["urls"]
        assert file["digests"] == {"md5": "f" * 32, "sha256": sha256(NEW.encode())}
        assert (file["comment_text"], file["yanked"], file["yanked_reason"]) == (
            *("theirs", False, None),
        )
        assert file["url"].startswith(f"http://127.0.0.1:{site.port}/files/")


async def test_info_of_another_release_is_replaced_by_that_of_the_shown_one(
    index: FakeIndex,
) -> None:
    newest = theirs_about("3.0", "foo-3.0-py3-none-any.whl")
    theirs = Theirs(v=newest, v2_0=theirs_about("2.0", NEW, vulnerabilities=[{"id": "X-2"}]))
    async with serving(index, find_document=theirs.find) as site:
        found = await get(site, PROJECT)
        assert (found["info"]["version"], found["vulnerabilities"]) == ("2.0", [{"id": "X-2"}])
        assert list(found["releases"]) == ["2.0", "1.0"]


@pytest.mark.parametrize(
    "theirs",
    [
        theirs_about("2.0", "foo-2.0.tar.gz"),  # other bytes: another project of that name
        theirs_about("2.0"),
        theirs_about("1.0", NEW),
        {"info": {"version": 2}, "urls": 3, "releases": []},
        {"info": {"version": "2.0"}, "urls": [1, {"digests": 2}], "releases": {"2.0": 4}},
        {"info": []},
        {},
    ],
)
async def test_a_document_about_something_else_is_not_used(
    index: FakeIndex, theirs: dict[str, Any]
) -> None:
    async with serving(index, find_document=Theirs(v=theirs, v2_0=theirs).find) as site:
        found = await get(site, PROJECT)
        assert (found["info"]["version"], found["info"]["summary"]) == ("2.0", "ours")


async def test_a_document_is_revalidated_and_compressed(index: FakeIndex) -> None:
    async with serving(index) as site:
        answer = await site.get(PROJECT, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        etag = answer.headers["ETag"]
        again = {"Accept-Encoding": "gzip", "If-None-Match": etag}
        assert (await site.get(PROJECT, headers=again)).status == 304
        assert "private" in answer.headers["Cache-Control"]
        head = await site.get(PROJECT, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert (await site.get(PROJECT, "POST")).status == 405


async def test_an_index_may_be_named_pypi(index: FakeIndex) -> None:
    named = FakeIndex("pypi", {"json": ["json-1.0.tar.gz"], "foo": ["foo-9.0.tar.gz"]})
    async with serving(index, mounted={"/pypi": named}, prefix="/base", fixed_url=False) as site:
        assert (await site.get("/pypi/simple/json/")).status == 200
        assert (await site.get("/pypi/simple/json")).headers["Location"] == "json/"
        for base in ("", "/base"):
            found = await get(site, f"{base}/pypi/pypi/foo/json")
            assert found["info"]["version"] == "9.0"
            root = f"http://127.0.0.1:{site.port}{base}/pypi"
            assert found["urls"][0]["url"].startswith(f"{root}/files/foo/")
            assert (await get(site, f"{base}/pypi/foo/json"))["info"]["version"] == "2.0"


async def test_a_prefix_may_be_pypi(index: FakeIndex) -> None:
    async with serving(index, prefix="/pypi", fixed_url=False) as site:
        found = await get(site, "/pypi/pypi/foo/json")
        assert found["urls"][0]["url"].startswith(f"http://127.0.0.1:{site.port}/pypi/files/")
        assert (await site.get("/pypi/simple/foo/")).status == 200
