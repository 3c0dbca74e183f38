"""The projects and files of an index that are exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import NoSuchProject
from proxy.export.selection import NotCached, select
from proxy.model import ProjectName, ProjectPage
from tests.support.exports import BAR, FOO
from tests.support.fake_index import FakeIndex


class BusyIndex(FakeIndex):
    """A server replaces the page of foo during the first look-up."""

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        if project == FOO and FOO not in self.asked:
            self.asked.append(FOO)
            raise NoSuchProject(FOO, "offline, and its page is not stored")
        return await super().page(project, checked_after)


def index(kind: type[FakeIndex] = FakeIndex) -> FakeIndex:
    return kind("fake", {"foo": ["foo-1.0.tar.gz"], "bar": ["bar-1.0.tar.gz", "readme.txt"]})


async def test_a_page_that_is_just_being_replaced_does_not_take_its_project_away(
    tmp_path: Path,
) -> None:
    found = await select(index(BusyIndex), None, tmp_path, cached_only=False)
    assert [each.page.project for each in found] == [BAR, FOO]


async def test_only_distributions_are_exported(tmp_path: Path) -> None:
    (bar, _) = await select(index(), None, tmp_path, cached_only=False)
    assert [each.file.filename for each in bar.files] == ["bar-1.0.tar.gz"]


async def test_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotCached, match=r"baz, foo/foo-2\.0\.tar\.gz; "):
        await select(
            index(),
            {ProjectName("baz"): None, FOO: {"foo-2.0.tar.gz"}},
            tmp_path,
            cached_only=False,
        )
