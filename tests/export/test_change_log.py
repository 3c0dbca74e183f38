"""The change log of a tree: its page and its feed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from proxy.errors import ConfigurationError
from proxy.export.change_log import MAX_ENTRIES, MAX_NAMES, ChangeLog
from proxy.export.export import ExportOptions, export
from proxy.export.file_list import open_directory
from proxy.export.human_pages import Site, read_logo
from proxy.export.tree import STATE_FOLDER, Tree
from tests.support.distributions import make_wheel
from tests.support.exports import export_folder, inodes

ATOM = "{http://www.w3.org/2005/Atom}"
DAY = 86_400.0


async def run(source: Path, root: Path, now: float, site: Site | None = None) -> None:
    async with open_directory(source) as index:
        await export(index, Tree(root), ExportOptions(site=site or Site()), clock=lambda: now)


def feed(root: Path) -> ElementTree.Element:
    return ElementTree.fromstring((root / "changes/feed.xml").read_bytes())


def texts(found: ElementTree.Element, name: str) -> list[str]:
    return [each.text or "" for each in found.iter(ATOM + name)]


async def test_each_export_with_changes_is_an_entry(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "tree"
    make_wheel(source, "foo", "1.0")
    old = make_wheel(source, "bar", "1.0")
    await run(source, root, 0.0)
    await run(source, root, DAY)
    make_wheel(source, "foo", "2.0")
    make_wheel(source, "foo", "1.0", requires=["bar"])
    old.unlink()
    await run(source, root, 2 * DAY)
    found = feed(root)
    assert texts(found, "updated") == ["1970-01-03T00:00:00Z"] * 2 + ["1970-01-01T00:00:00Z"]
    assert texts(found, "title")[1:] == [
        "1 distribution added, 1 replaced, 1 removed",
        "2 distributions added",
    ]
    newest, first = texts(found, "content")
    assert newest.split("\n") == [
        *("added foo-2.0-py3-none-any.whl", "replaced foo-1.0-py3-none-any.whl"),
        *("removed bar-1.0-py3-none-any.whl", ""),
    ]
    assert "added bar-1.0-py3-none-any.whl" in first
    page = (root / "changes/index.html").read_text()
    assert "1970-01-03" in page and "foo-2.0-py3-none-any.whl" in page
    assert "1970-01-02" not in page


async def test_an_entry_keeps_its_id_and_no_two_are_the_same(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "tree"
    seen: list[str] = []
    for number in range(3):
        make_wheel(source, "foo", str(number))
        await run(source, root, number * DAY)
        feed_id, *ids = texts(feed(root), "id")
        assert ids[1:] == seen
        seen = ids
    assert len({feed_id, *seen}) == 4


async def test_an_export_without_changes_writes_nothing(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "tree"
    make_wheel(source, "foo", "1.0")
    await run(source, root, 0.0)
    before = inodes(root)
    await run(source, root, DAY)
    assert inodes(root) == before


def test_the_log_is_bounded() -> None:
    log = ChangeLog()
    for number in range(MAX_ENTRIES + 5):
        names = {f"foo/foo-{number}.{minor}.tar.gz": "x" for minor in range(MAX_NAMES + 3)}
        log.update(names, number * DAY)
    assert len(log.entries) == MAX_ENTRIES
    newest = log.entries[0]
    assert newest.time == "1970-02-24T00:00:00Z"
    assert (newest.added.count, len(newest.added.first)) == (MAX_NAMES + 3, MAX_NAMES)
    pages = log.pages(Site())
    assert b"and 3 more" in pages["changes/index.html"]
    assert b"and 3 more removed" in pages["changes/feed.xml"]


@pytest.mark.parametrize("data", [b"", b"{", b'{"format": 2}', b'{"entries": [1]}', b"[]"])
async def test_a_damaged_log_is_started_again(tmp_path: Path, data: bytes) -> None:
    source, root = tmp_path / "source", tmp_path / "tree"
    make_wheel(source, "foo", "1.0")
    await run(source, root, 0.0)
    (root / STATE_FOLDER / "changes.json").write_bytes(data)
    await run(source, root, DAY)
    assert texts(feed(root), "updated") == ["1970-01-02T00:00:00Z"] * 2


async def test_a_hostile_title_is_text_in_both(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "tree"
    make_wheel(source, "foo", "1.0")
    title = "<b>&amp; ]]> \x00\x0b\"'</title>"
    await run(source, root, 0.0, Site(title))
    shown = title.replace("\x00", "\ufffd").replace("\x0b", "\ufffd")
    assert texts(feed(root), "title")[0] == f"Changes · {shown}"
    assert texts(feed(root), "name") == [shown]
    assert b"<b>" not in (root / "changes/index.html").read_bytes()


async def test_the_logo_is_in_the_tree_and_on_every_page(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0")
    (tmp_path / "Our.PNG").write_bytes(b"image")
    site = read_logo("Acme", tmp_path / "Our.PNG")
    await export_folder(tmp_path / "source", tmp_path / "tree", ExportOptions(site=site))
    assert (tmp_path / "tree/logo.png").read_bytes() == b"image"
    for path, address in (
        *(("index.html", "logo.png"), ("changes/index.html", "../logo.png")),
        ("project/foo/index.html", "../../logo.png"),
    ):
        page = (tmp_path / "tree" / path).read_text()
        assert f'<img class="logo" src="{address}" alt="">Acme' in page
        assert "img-src data: 'self';" in page
    await export_folder(tmp_path / "source", tmp_path / "tree")
    assert not (tmp_path / "tree/logo.png").exists()
    assert "'self'" not in (tmp_path / "tree/index.html").read_text()


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("logo.html", b"<script>", "not an image"),
        ("logo", b"x", "not an image"),
        ("logo.png", b"", "is empty"),
        ("logo.png", b"x" * (2**20 + 1), "larger than 1 MiB"),
        ("logo.png", None, "cannot be read"),
    ],
)
def test_a_logo_that_is_none_is_refused(
    tmp_path: Path, name: str, data: bytes | None, problem: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigurationError, match=problem):
        read_logo("Acme", tmp_path / name)
