"""What is sent: the documented example to the letter, and nothing that breaks a client."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import File, ProjectName, ProjectPage, ProjectStatus, normalize
from proxy.simple.render import page_html, page_json, projects_html, projects_json, relative_links
from tests.support.page_strategies import (
    GRAIL,
    METADATA_SHA256,
    PAGE,
    PROJECT,
    SHA256,
    WHEEL,
    pages,
)

ADDRESS = f"../../files/holy-grail/{SHA256}/holy_grail-1.1%2Bcorp.2-py3-none-any.whl"

GOLDEN_HTML = f"""\
<!DOCTYPE html>
<html lang="en">
  <head>
    <meta name="pypi:repository-version" content="1.4">
    <meta name="pypi:project-status" content="deprecated">
    <meta name="pypi:project-status-reason" content="use the &quot;other&quot; grail">
    <title>Links for holy-grail</title>
  </head>
  <body>
    <h1>Links for holy-grail</h1>
    <a href="{ADDRESS}#sha256={SHA256}" data-requires-python="&gt;=3.9,&lt;4"\
 data-core-metadata="sha256={METADATA_SHA256}" data-dist-info-metadata="sha256={METADATA_SHA256}"\
 data-yanked="bad build &lt;1.1 &amp; &quot;wrong&quot; tag" data-provenance="{ADDRESS}.provenance"\
 data-size="1337" data-upload-time="2026-10-01T12:30:00.000000Z"\
>holy_grail-1.1+corp.2-py3-none-any.whl</a><br>
  </body>
</html>
"""

GOLDEN_JSON = {
    "meta": {"api-version": "1.4", "_last-serial": 4711},
    "name": "holy-grail",
    "versions": ["1.0", "1.1+corp.2"],
    "project-status": {"status": "deprecated", "reason": 'use the "other" grail'},
    "files": [
        {
            "filename": "holy_grail-1.1+corp.2-py3-none-any.whl",
            "url": ADDRESS,
            "hashes": {"sha256": SHA256},
            "requires-python": ">=3.9,<4",
            "core-metadata": {"sha256": METADATA_SHA256},
            "size": 1337,
            "upload-time": "2026-10-01T12:30:00.000000Z",
            "yanked": 'bad build <1.1 & "wrong" tag',
            "provenance": f"{ADDRESS}.provenance",
        }
    ],
}


class Anchors(HTMLParser):
    """The attributes of all anchors, as a strict reader sees them."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.feed(body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "a":
            assert len(dict(attrs)) == len(attrs)
            self.found.append(dict(attrs))


def as_json(*files: File, **keys: Any) -> Any:
    return json.loads(page_json(ProjectPage(PROJECT, files, **keys), relative_links))


def as_html(*files: File, **keys: Any) -> bytes:
    return page_html(ProjectPage(PROJECT, files, **keys), relative_links)


def anchor(file: File) -> dict[str, str | None]:
    (found,) = Anchors(as_html(file)).found
    return found


def test_the_html_of_the_documented_example() -> None:
    assert page_html(PAGE, relative_links).decode() == GOLDEN_HTML


def test_the_json_of_the_documented_example() -> None:
    body = page_json(PAGE, relative_links)
    assert json.loads(body) == GOLDEN_JSON
    assert body == json.dumps(GOLDEN_JSON, separators=(",", ":")).encode()  # keys in this order


def test_the_same_page_is_the_same_bytes() -> None:
    again = msgspec.structs.replace(PAGE)
    assert page_json(again, relative_links) == page_json(PAGE, relative_links)
    assert page_html(again, relative_links) == page_html(PAGE, relative_links)


def test_unknown_values_are_left_out() -> None:
    bare = File(WHEEL, "file:///x")
    page = as_json(bare)
    assert page == {
        "meta": {"api-version": "1.0"},
        "name": "holy-grail",
        "versions": [],
        "files": [{"filename": WHEEL, "url": f"../../files/holy-grail/-/{WHEEL}", "hashes": {}}],
    }
    assert anchor(bare) == {"href": f"../../files/holy-grail/-/{WHEEL}"}


def test_the_version_claimed_has_sizes() -> None:
    sized, unsized = File("a", "u", size=0), File("b", "u")
    assert as_json(sized)["meta"]["api-version"] == "1.4"
    assert as_json(sized, unsized)["meta"]["api-version"] == "1.0"
    assert as_json()["meta"]["api-version"] == "1.4"
    assert as_json(sized)["files"][0]["size"] == 0


def test_yanked_without_and_with_reason() -> None:
    cases: list[tuple[bool | str, bool | str, str]] = [(True, True, ""), ("why", "why", "why")]
    for yanked, in_json, in_html in cases:
        file = File(WHEEL, "u", yanked=yanked)
        assert as_json(file)["files"][0]["yanked"] == in_json
        assert anchor(file)["data-yanked"] == in_html
    for yanked in (False, ""):
        file = File(WHEEL, "u", yanked=yanked)
        assert "yanked" not in as_json(file)["files"][0]
        assert "data-yanked" not in anchor(file)


def test_requires_python_is_escaped_once() -> None:
    file = File(WHEEL, "u", requires_python=">=3.8,<4")
    assert b'data-requires-python="&gt;=3.8,&lt;4"' in as_html(file)
    assert as_json(file)["files"][0]["requires-python"] == ">=3.8,<4"


@pytest.mark.parametrize(
    ("hashes", "fragment"),
    [
        ({"sha1": "a" * 40}, ""),
        ({"sha224": "a" * 56, "whirlpool": "aa"}, ""),
        ({"md5": "b" * 32}, "#md5=" + "b" * 32),
        ({"md5": "b" * 32, "sha512": "c" * 128}, "#sha512=" + "c" * 128),
        ({"blake2b": "d" * 64, "sha384": "e" * 96}, "#sha384=" + "e" * 96),
        ({"sha512": "c" * 128, "sha256": SHA256}, f"#sha256={SHA256}"),
    ],
)
def test_the_fragment_is_one_that_all_clients_read(hashes: dict[str, str], fragment: str) -> None:
    file = File(WHEEL, "u", hashes)
    assert str(anchor(file)["href"]).partition("holy_grail")[2] == WHEEL[10:] + fragment
    assert as_json(file)["files"][0]["hashes"] == hashes


def test_metadata_is_true_or_hashed_in_html_and_under_one_key_in_json() -> None:
    cases: list[tuple[bool | Mapping[str, str], str]] = [
        (True, "true"),
        ({"sha1": "a" * 40}, "true"),
        ({"sha256": SHA256}, f"sha256={SHA256}"),
    ]
    for metadata, in_html in cases:
        file = File(WHEEL, "u", metadata=metadata)
        found = anchor(file)
        assert found["data-core-metadata"] == found["data-dist-info-metadata"] == in_html
        assert as_json(file)["files"][0]["core-metadata"] == metadata
        assert b"dist-info-metadata" not in page_json(ProjectPage(PROJECT, (file,)), relative_links)
    assert "core-metadata" not in as_json(File(WHEEL, "u", metadata={}))["files"][0]


def test_attributes_are_one_space_apart_on_the_line_of_their_anchor() -> None:
    nasty = File("a\tb.whl", "u", {}, 1, ">3\n<4", "now", "two\r\nlines\0", True, "p")
    body = as_html(nasty, GRAIL).decode()
    lines = [line for line in body.splitlines() if "<a " in line]
    assert len(lines) == 2
    for line in lines:
        tag = re.fullmatch(r' +<a ((?:[a-z-]+="[^"<>]*" ?)+)>[^<>]*</a><br>', line)
        assert tag
        assert "  " not in tag[1]
    assert anchor(nasty)["data-yanked"] == "two\r\nlines\N{REPLACEMENT CHARACTER}"
    assert anchor(nasty)["data-requires-python"] == ">3\n<4"


def test_a_plus_is_percent_encoded_in_addresses() -> None:
    assert relative_links(PROJECT, [GRAIL]) == [ADDRESS]
    odd, plain = relative_links(PROJECT, [File("a b%@ö.zip", "u"), File("a-1.0~.zip", "u")])
    assert odd.endswith("/-/a%20b%25%40%C3%B6.zip")
    assert plain.endswith("/-/a-1.0~.zip")


def test_a_link_names_the_best_digest_there_is() -> None:
    md5 = {"md5": "b" * 32}
    (link,) = relative_links(PROJECT, [File("a", "u", md5)])
    assert link == f"../../files/holy-grail/md5-{md5['md5']}/a"


def test_no_address_of_upstream_is_on_the_page() -> None:
    for body in (page_html(PAGE, relative_links), page_json(PAGE, relative_links)):
        assert b"example.org" not in body
    assert "base" not in Anchors(page_html(PAGE, relative_links)).tags


def test_the_caller_may_make_addresses_absolute() -> None:
    def links(project: ProjectName, files: Sequence[File]) -> list[str]:
        return [f"https://proxy.example.com/{project}?a=1&b='{file.filename}'" for file in files]

    page = ProjectPage(PROJECT, (GRAIL,))
    (found,) = Anchors(page_html(page, links)).found
    (file,) = json.loads(page_json(page, links))["files"]
    (link,) = links(PROJECT, [GRAIL])
    assert found["href"] == f"{link}#sha256={SHA256}"
    assert found["data-provenance"] == file["provenance"] == f"{link}.provenance"


@given(st.text(st.characters(codec="utf-8")))
def test_no_text_gets_out_of_its_place(text: str) -> None:
    file = File(text, "u", {"md5": text}, 1, text, text, text or True, {"sha256": text}, text)
    body = as_html(file, status=ProjectStatus(text, text))
    seen = Anchors(body)
    assert sorted(set(seen.tags)) == ["a", "body", "br", "h1", "head", "html", "meta", "title"]
    assert len(seen.found) == 1
    assert {name for found in seen.found for name in found} <= {
        "href",
        "data-requires-python",
        "data-core-metadata",
        "data-dist-info-metadata",
        "data-yanked",
        "data-provenance",
        "data-size",
        "data-upload-time",
    }


def test_scripts_stay_text() -> None:
    body = as_html(File('"><script>alert(1)</script>', "u", yanked="'\"><script>"))
    assert b"<script" not in body
    assert b"'" not in body


def test_what_is_unknown_comes_out_but_does_not_replace_what_is_known() -> None:
    extra = {"x": [1, {"y": None}], "url": "https://evil.example/", "dist-info-metadata": True}
    page = as_json(
        File(WHEEL, "u", extra=extra),
        meta={"api-version": "9", "_last-serial": 1},
        extra={"files": 1, "name": 2, "x-top": {"a": 1}},
    )
    (file,) = page["files"]
    assert file["x"] == [1, {"y": None}]
    assert "evil" not in json.dumps(page)
    assert "dist-info-metadata" not in file
    assert page["meta"] == {"api-version": "1.0", "_last-serial": 1}
    assert page["x-top"] == {"a": 1}
    assert page["name"] == "holy-grail"


def test_any_mapping_will_do() -> None:
    proxy = MappingProxyType({"sha256": SHA256})
    for extra in ({}, {"x": 1}):
        (file,) = as_json(File(WHEEL, "u", proxy, metadata=proxy, extra=extra))["files"]
        assert file["hashes"] == file["core-metadata"] == {"sha256": SHA256}


def test_an_empty_page_is_still_a_page() -> None:
    assert as_json()["files"] == []
    assert Anchors(as_html()).found == []


@given(pages(with_extra=False))
def test_html_and_json_list_the_same_files(page: ProjectPage) -> None:
    files = json.loads(page_json(page, relative_links))["files"]
    found = Anchors(page_html(page, relative_links)).found
    assert [str(each["href"]).partition("#")[0] for each in found] == [f["url"] for f in files]
    assert [each.get("data-requires-python") for each in found] == [
        file.get("requires-python") for file in files
    ]
    assert ["data-yanked" in each for each in found] == ["yanked" in file for file in files]
    assert ["data-core-metadata" in each for each in found] == [
        "core-metadata" in file for file in files
    ]


def test_the_list_of_projects_is_sorted_and_relative() -> None:
    names = [normalize(name) for name in ("zope", "aaa", "Foo_Bar")]
    assert json.loads(projects_json(iter(names))) == {
        "meta": {"api-version": "1.4"},
        "projects": [{"name": "aaa"}, {"name": "foo-bar"}, {"name": "zope"}],
    }
    body = projects_html(iter(names))
    assert [each["href"] for each in Anchors(body).found] == ["aaa/", "foo-bar/", "zope/"]
    assert b'content="1.4"' in body
