"""Pages for people: their content, of which no part becomes markup."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import msgspec
import pytest

from proxy.distributions.core_metadata import Description
from proxy.export.export import ExportOptions
from proxy.export.human_pages import Card, Site, project_page, start_page
from proxy.model import File, ProjectPage, ProjectStatus
from proxy.releases.grouping import group_by_release
from proxy.simple.render import relative_links
from tests.support.distributions import make_sdist, make_wheel
from tests.support.exports import FOO, described, export_folder

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}{% raw %}"
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "div", "a", "main", "h1", "span"),
    *("p", "pre", "b", "article", "aside", "h2", "ul", "li", "details", "summary", "strong"),
    *("table", "thead", "tbody", "tr", "th", "td", "footer", "em", "link", "section", "h3", "bdi"),
}


class Page(HTMLParser):
    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self._last = ""
        self.feed(data.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._last = tag
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data if self._last != "style" else ""


def page(*files: File, status: ProjectStatus | None = None) -> ProjectPage:
    return ProjectPage(FOO, files, status=status)


def rendered(shown: ProjectPage, description: Description | None = None) -> Page:
    about = description or Description()
    found = group_by_release(FOO, shown.files)
    return Page(project_page(shown, found, about, "", relative_links, Site("Site")))


def file(name: str = "foo-1.0-py3-none-any.whl", **more: object) -> File:
    return msgspec.structs.replace(File(name, "file:///x", {"sha256": "a" * 64}, 1_234_567), **more)


def test_a_project_page_shows_versions_files_and_how_to_install() -> None:
    about = Description(
        "Foo", "Does foo.", "Ada", "MIT", ">=3.8", ("bar>=2", "baz; extra == 'x'"), text="x"
    )
    found = rendered(page(file(uploaded="2024-01-02T03:04:05Z", yanked="broken")), about)
    for text in (
        *("Foo", "1.0", "Does foo.", "Ada", "MIT", ">=3.8", "bar>=2", "2024-01-02", "1.2 MB"),
        *("pip install --index-url ADDRESS/simple/ foo==1.0", "yanked", "broken", "a" * 64),
        "wheel, Python 3, any platform",
    ):
        assert text in found.text
    assert "baz" not in found.text
    assert "../../index.html" in found.links  # where ADDRESS is
    assert f"../../files/foo/{'a' * 64}/foo-1.0-py3-none-any.whl#sha256={'a' * 64}" in found.links


def test_the_status_of_a_project_is_shown() -> None:
    status = ProjectStatus("archived", "use bar")
    assert "archived: use bar" in rendered(page(file(), status=status)).text
    assert "active" not in rendered(page(file(), status=ProjectStatus("active"))).text


def test_a_file_of_no_known_version_is_shown_too() -> None:
    found = rendered(page(file("foo-x.y.tar.gz", hashes={}, size=None)))
    assert "foo-x.y.tar.gz" in found.text and "ADDRESS/simple/ foo\n" in found.text + "\n"


def test_hostile_fields_are_text() -> None:
    about = Description(
        *(EVIL, EVIL, EVIL, EVIL, EVIL, (EVIL,)), links=((EVIL, "https://example.com/"),)
    )
    hostile = file(yanked=EVIL, requires_python=EVIL, uploaded=EVIL)
    shown = page(hostile, status=ProjectStatus("archived", EVIL))
    found = Page(
        project_page(shown, group_by_release(FOO, [hostile]), about, "", relative_links, Site(EVIL))
    )
    assert found.tags <= TAGS
    assert not {name for name in found.attributes if name.startswith("on")}
    assert found.text.count("alert(1)") > 10
    start = Page(start_page([Card(FOO, EVIL, EVIL, EVIL)], Site(EVIL)))
    assert start.tags <= TAGS
    assert not {name for name in start.attributes if name.startswith("on")}


@pytest.mark.parametrize("content_type", ["text/markdown", "text/x-rst", "text/plain", ""])
async def test_a_hostile_distribution_makes_a_harmless_tree(
    tmp_path: Path, content_type: str
) -> None:
    described(
        tmp_path / "source",
        *("foo", "1.0", f"{EVIL}\n\n*x* <style>a</style>", content_type),
        Summary=EVIL,
        Author=EVIL,
        License=EVIL,
        Requires_Dist=EVIL,
        Project_URL=f"{EVIL}, javascript:alert(1)",
    )
    (tmp_path / "source" / "foo-1.0-py3-none-any.whl.yanked").write_text(EVIL)
    await export_folder(tmp_path / "source", tmp_path / "tree", ExportOptions(site=Site(EVIL)))
    for path in (tmp_path / "tree").rglob("index.html"):
        found = Page(path.read_bytes())
        assert found.tags <= TAGS | {"br"}, path
        assert not {name for name in found.attributes if name.startswith("on")}
        assert not [link for link in found.links if link.lower().startswith("javascript")]


async def test_every_link_leads_to_a_file_of_the_tree(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "tree"
    make_wheel(source, "foo", "1.0+local.1")
    make_sdist(source, "Foo.Bar", "1.0")
    await export_folder(source, root)
    seen = 0
    for path in root.rglob("index.html"):
        for link in Page(path.read_bytes()).links:
            target = unquote(urldefrag(urljoin(f"/{path.relative_to(root)}", link)).url)
            found = root / target.lstrip("/")
            assert (found / "index.html" if target.endswith("/") else found).is_file(), link
            seen += 1
    assert seen > 10


async def test_a_page_loads_and_runs_nothing(tmp_path: Path) -> None:
    text = "![x](https://evil.example.com/x.png) <script src=https://evil.example.com/x></script>"
    described(tmp_path / "source", "foo", "1.0", text, "text/markdown")
    await export_folder(tmp_path / "source", tmp_path / "tree")
    data = (tmp_path / "tree/project/foo/index.html").read_bytes()
    assert b"default-src 'none'" in data
    assert b"evil.example.com/x.png" not in data
    assert not Page(data).tags & {"img", "script", "link", "iframe"}


async def test_the_name_of_another_project_is_not_shown(tmp_path: Path) -> None:
    metadata = {"foo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: pip\nVersion: 1.0\n"}
    make_wheel(tmp_path / "source", "foo", "1.0", files=metadata)
    await export_folder(tmp_path / "source", tmp_path / "tree")
    assert "<strong><bdi>foo</bdi></strong>" in (tmp_path / "tree/index.html").read_text()


async def test_characters_that_no_encoding_has_do_no_harm(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0")
    title = os.fsdecode(b"caf\xe9 \xf0\x9f\x90\x8d")
    await export_folder(tmp_path / "source", tmp_path / "tree", ExportOptions(site=Site(title)))
    assert "🐍" in (tmp_path / "tree/index.html").read_text()
