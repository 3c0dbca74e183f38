"""The page of a project: which version, from which index, what is hidden, and hostile texts."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import pytest

from proxy.presentation.readme import MAX_README
from tests.support.content import sha256
from tests.support.distributions import make_wheel
from tests.support.exports import described
from tests.support.face_world import BROWSER, FaceWorld

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_PAGE = 60_000
"""Characters of a page, besides its README."""
WRITTEN = {"script", "img", "iframe", "object", "style", "base"}


class Found(HTMLParser):
    """Elements of a page, and those in its README."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.readme: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._inside = self._inside or "readme" in given.get("class", "").split()
        (self.readme if self._inside else self.tags).append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "article"

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_it_says_what_one_would_get_and_from_where(world: FaceWorld) -> None:
    status, text = await world.get("/project/demo/")
    assert status == 200
    assert '<span class="version">1.1</span>' in text  # the cooldown hides 2.0
    assert f"pip install --index-url {world.server.index} demo<" in text
    assert "public" in text and "&gt;=3.8" in text
    assert "1 file by week" in text
    wheel = world.folder / "made" / "demo-1.1-py3-none-any.whl"
    assert sha256(wheel.read_bytes()) in text
    assert 'href="../../project/demo-base/"' in text and 'href="../../-/why/demo"' in text


@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("uv", "uv pip install --index-url {index} demo==1.0"),
        ("pip", "pip install --index-url {index} demo==1.0"),
        ("requirement", "demo==1.0 \\\n    --hash=sha256:"),
        ("nonsense", "pip install --index-url"),
    ],
)
async def test_the_page_of_a_version_has_commands_for_it(
    world: FaceWorld, tool: str, command: str
) -> None:
    _, text = await world.get(f"/project/demo/1.0/?tool={tool}")
    assert command.format(index=world.server.index) in text
    assert "Installers choose the version" in text


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/project/Acme_Tool/", 301, "../../project/acme-tool/"),
        ("/project/acme-tool", 301, "acme-tool/"),
        ("/project/acme-tool/01.1/", 301, "../1.1/"),
        ("/project/acme-tool/1.1", 301, "1.1/"),
        ("/project/acme-tool/9/", 404, ""),
        ("/project/acme-tool/latest/", 404, ""),
        ("/project/acme-tool/%3Cb%3E/", 404, ""),
        ("/project/acme-tool/%2e%2e/", 404, ""),
        ("/project/-/", 404, ""),
        ("/project/a%2Fb/", 404, ""),
        ("/project/a%00b/", 404, ""),
        ("/project/evil-name/", 404, ""),
        ("/project/banned/", 403, ""),
    ],
)
async def test_addresses_have_one_form_and_errors_are_pages(
    world: FaceWorld, path: str, status: int, location: str
) -> None:
    from yarl import URL

    url = URL(world.server.address + path, encoded=True)
    async with world.client.get(url, headers=BROWSER, allow_redirects=False) as answer:
        assert answer.status == status
        assert "no-store" in answer.headers["Cache-Control"]
        if location:
            assert answer.headers["Location"] == location
    assert world.upstream.count("evil") == 0


async def test_texts_of_strangers_stay_texts(world: FaceWorld) -> None:
    for path in ("/project/acme-tool/", "/project/acme-tool/1.1/"):
        status, text = await world.get(path)
        found = Found(text)
        assert status == 200
        assert [tag for tag, _ in found.tags].count("script") == 1  # ours
        assert not {tag for tag, _ in found.readme} & WRITTEN
        assert not [tag for tag, given in found.tags + found.readme if "onerror" in given]
        assert "\u202e" not in found.text
        assert "U+202E" in found.text or path.endswith("1.1/")  # the index took them out
        assert "{{ 7 * 7 }}" in found.text


async def test_a_readme_cannot_reach_into_the_page(world: FaceWorld) -> None:
    _, text = await world.get("/project/acme-tool/")
    found = Found(text)
    ours = {given["id"] for _, given in found.tags if "id" in given}
    theirs = {given["id"] for _, given in found.readme if "id" in given}
    assert not ours & theirs and all(each.startswith("readme-") for each in theirs)
    classes = {name for _, given in found.readme[1:] for name in given.get("class", "").split()}
    assert not classes & {"badge", "banner", "card", "readme"}
    links = [given["href"] for tag, given in found.readme if "href" in given]
    assert links[0] == "https://example.com/docs" and len(links) == 2
    assert links[1].removeprefix("#") in theirs
    assert {given["rel"] for _, given in found.readme if given.get("href", "").startswith("h")} == {
        "nofollow noopener noreferrer"
    }
    headings = [int(tag[1]) for tag, _ in found.readme if re.fullmatch("h[1-6]", tag)]
    assert headings == [3, 4]


async def test_an_error_says_which_index_is_sure(world: FaceWorld) -> None:
    status, text = await world.get("/project/nothing-of-it/")
    assert status == 404 and "has no such project" in text and ">own<" in text
    status, text = await world.get("/project/evil-name/")
    assert status == 404 and "the name is reserved" in text and ">public<" in text
    assert "No upstream was asked" in text


async def test_a_newer_pre_release_and_a_hidden_version_are_marked(world: FaceWorld) -> None:
    _, text = await world.get("/project/acme-tool/")
    assert "newer: 2.0b1" in text
    status, text = await world.get("/project/demo/2.0/")
    assert status == 403 and "Installers get no file of this version" in text
    assert "pip install" not in text and ">1.1<" in text


async def test_a_yanked_version_says_why(world: FaceWorld) -> None:
    _, text = await world.get("/project/acme-tool/1.1/")
    assert "<bdi>Yanked: broken" in text


async def test_programs_that_follow_links_cost_no_request_upstream(world: FaceWorld) -> None:
    robots: list[dict[str, str]] = [
        {"Accept": "*/*"},
        BROWSER | {"User-Agent": "Examplebot/1.0"},
        BROWSER | {"Sec-Purpose": "prefetch;prerender"},
    ]
    for headers in robots:
        address = f"{world.server.address}/project/demo-extra/"
        async with world.client.get(address, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200 and "Ask upstream" in text
    assert world.upstream.count("demo-extra") == 0
    ours = {"Origin": world.server.address}
    async with world.client.post(
        f"{world.server.address}/project/demo-extra/ask", headers=ours | BROWSER
    ) as answer:
        assert answer.status == 200 and "demo-extra" in await answer.text()
    assert world.upstream.count("/simple/demo-extra/") == 1
    assert world.upstream.count("demo_extra-1.0-py3-none-any.whl", "GET") <= 1  # its metadata


async def test_installers_with_this_address_get_no_file_from_it(world: FaceWorld) -> None:
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.01"
    status, text = await world.get("/project/acme-tool/", Accept=accept)
    assert status == 406 and world.server.index in text


async def test_pages_for_people_count_as_no_page_or_file(world: FaceWorld) -> None:
    """Prefetching and the counters know what installers do from these."""
    await world.get("/project/acme-tool/")
    async with world.client.get(f"{world.server.address}/metrics") as answer:
        metrics = await answer.text()
    assert not re.search(r'requests_total\{kind="(?:page|file|metadata)"', metrics)


async def test_why_names_the_rule_its_end_and_the_exemption(world: FaceWorld) -> None:
    await world.get("/project/demo/")
    status, text = await world.get("/-/why/demo/2.0")
    assert status == 200
    assert "week" in text and "cooldown" in text and "In short" in text
    assert "[[exempt]]\npolicy = [&#34;week&#34;]\nproject = &#34;demo&#34;" in text
    _, text = await world.get("/-/why/demo/1.1?python=3.12&platform=linux")
    assert "demo-1.1-py3-none-any.whl" in text
    _, text = await world.get("/-/why/demo?python=x%3Cb%3E")
    assert 'class="banner warn"' in text and "<b>" not in text
    _, text = await world.get("/-/why/evil-name")
    assert "reserved" in text.lower()


async def test_long_lists_have_pages(world: FaceWorld) -> None:
    """Of any size, and however odd the number that is asked for."""
    wheel = make_wheel(world.packages, "many", "9.0")
    for number in range(150):
        tag = f"cp3{number % 9}-cp3{number % 9}-manylinux_2_{number}_x86_64"
        shutil.copyfile(wheel, world.packages / f"many-9.0-{tag}.whl")
        shutil.copyfile(wheel, world.packages / f"many-1.{number}-py3-none-any.whl")
        shutil.copyfile(wheel, world.packages / f"many-2.{number}-py3-none-any.whl")
    files = re.compile(r'<a href="../../files/many/[^"]*/([^"/]+)"')
    versions = re.compile(r'<a href="../../project/many/([0-9.]+)/"')
    seen: list[str] = []
    for number in (1, 2, 3):
        status, text = await world.get(f"/project/many/?page={number}")
        assert status == 200 and len(text) < MAX_PAGE
        assert 'aria-label="Parts of the files"' in text and len(versions.findall(text)) == 10
        seen += files.findall(text)
    assert len(seen) == len(set(seen)) == 151
    listed = [
        each
        for number in (1, 2)
        for each in versions.findall((await world.get(f"/project/many/?versions={number}"))[1])
    ]
    assert len(listed) == len(set(listed)) == 301
    for odd in ("0", "-1", "x", "%C2%B2", "999", "9" * 5000):
        status, text = await world.get(f"/project/many/?page={odd}")
        assert status == 200 and files.search(text)
        status, text = await world.get(f"/project/many/?versions={odd}")
        assert status == 200 and versions.search(text)


async def test_texts_that_are_too_long_leave_room_for_the_rest(world: FaceWorld) -> None:
    described(
        *(world.packages, "wordy", "1.0", "x" * 2_000_000, "text/markdown"),
        Summary="s" * 90_000,
        Author="a" * 90_000,
        License="l" * 90_000,
    )
    status, text = await world.get("/project/wordy/")
    assert status == 200 and len(text) < MAX_README + MAX_PAGE
    assert "1,700,000 more characters" in text


@pytest.mark.slow
async def test_metadata_and_readmes_of_any_size_make_a_page(world: FaceWorld) -> None:
    """More than is read is left out, and a README that takes too long is shown as written."""
    many = "\n".join(f"Requires-Dist: need-{number}" for number in range(3000))
    head = "Metadata-Version: 2.1\nName: huge\nVersion: 1.0\n"
    member = "huge-1.0.dist-info/METADATA"
    text = f"{head}{many}\nDescription-Content-Type: text/markdown\n\n{'x' * 2_000_000}\n"
    make_wheel(world.packages, "huge", "1.0", files={member: text.encode()})
    nested = head.replace("huge", "nested") + "Description-Content-Type: text/markdown\n\n"
    member = "nested-1.0.dist-info/METADATA"
    deep = nested + ">" * 250_000 + "end"
    make_wheel(world.packages, "nested", "1.0", files={member: deep.encode()})
    for name in ("huge", "nested"):
        status, page = await world.get(f"/project/{name}/")
        assert status == 200 and 'class="plain"' in page
    status, page = await world.get("/project/huge/dependencies/")
    assert status == 200 and "need-499" in page
