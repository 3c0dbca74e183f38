"""Rendered pages: once per version and form, within a budget."""

from __future__ import annotations

import asyncio
import threading

import pytest

from proxy.indexes import LongList
from proxy.model import File, ProjectName, ProjectPage
from proxy.runtime import decompress
from proxy.simple.negotiate import MediaType
from proxy.web.rendered_pages import OFFLOAD_FILES, RenderedPages

FOO, BAR = ProjectName("foo"), ProjectName("bar")
FORMS = [(media, gzip) for media in MediaType for gzip in (True, False)]


class Rendering:
    """Renders a page as its version, repeated; counts."""

    def __init__(self, times: int = 1000) -> None:
        self.times = times
        self.done: list[tuple[str, MediaType]] = []
        self.threads: set[int] = set()

    def page(self, page: ProjectPage, media: MediaType) -> list[bytes]:
        self.threads.add(threading.get_ident())
        self.done.append((page.version, media))
        return [f"{page.project} {page.version} ".encode()] * self.times

    def names(self, names: object, media: MediaType, _: bool) -> list[bytes]:
        self.done.append(("list", media))
        return [repr(names).encode()]

    def cache(self, budget: int = 2**20) -> RenderedPages:
        return RenderedPages(self.page, self.names, budget)


def page(project: ProjectName = FOO, version: str = "1", files: int = 0) -> ProjectPage:
    listed = tuple(File(f"{number}.whl", "https://x/") for number in range(files))
    return ProjectPage(project, listed, source="s", version=version)


@pytest.mark.parametrize(("media", "gzip"), FORMS)
async def test_a_form_is_rendered_once_per_version(media: MediaType, gzip: bool) -> None:
    rendering = Rendering()
    rendered = rendering.cache()
    first = await rendered.of_page("main", page(), media, gzip)
    assert await rendered.of_page("main", page(), media, gzip) is first
    assert rendering.done == [("1", media)]
    second = await rendered.of_page("main", page(version="2"), media, gzip)
    assert second.etag != first.etag
    assert [version for version, _ in rendering.done] == ["1", "2"]


async def test_the_same_version_of_another_source_is_another_page() -> None:
    rendering = Rendering()
    rendered = rendering.cache()
    await rendered.of_page("main", page(), MediaType.JSON, False)
    other = ProjectPage(FOO, (), source="other", version="1")
    await rendered.of_page("main", other, MediaType.JSON, False)
    assert len(rendering.done) == 2


@pytest.mark.parametrize("files", [0, OFFLOAD_FILES])
async def test_a_page_without_a_version_is_rendered_each_time(files: int) -> None:
    rendering = Rendering()
    rendered = rendering.cache()
    unversioned = page(version="", files=files)
    asked = (rendered.of_page("main", unversioned, MediaType.JSON, False) for _ in range(3))
    await asyncio.gather(*asked)
    assert len(rendering.done) == 3
    await rendered.close()


async def test_a_large_page_is_rendered_once_for_concurrent_requests_and_off_the_loop() -> None:
    rendering = Rendering()
    rendered = rendering.cache()
    large = page(files=OFFLOAD_FILES)
    asked = (rendered.of_page("main", large, MediaType.JSON, True) for _ in range(10))
    found = await asyncio.gather(*asked)
    assert len(rendering.done) == 1
    assert len({id(answer) for answer in found}) == 1
    assert threading.get_ident() not in rendering.threads
    await rendered.close()


async def test_the_coded_form_has_the_same_content_and_its_own_tag() -> None:
    rendered = Rendering().cache()
    plain = await rendered.of_page("main", page(), MediaType.JSON, False)
    coded = await rendered.of_page("main", page(), MediaType.JSON, True)
    assert (plain.encoding, coded.encoding) == (None, "gzip")
    assert decompress(coded.body) == plain.body
    assert plain.etag != coded.etag


async def test_what_is_not_worth_it_is_not_compressed() -> None:
    rendered = Rendering(times=1).cache()
    plain = await rendered.of_page("main", page(), MediaType.JSON, False)
    asked = await rendered.of_page("main", page(), MediaType.JSON, True)
    assert asked.encoding is None
    assert asked.etag == plain.etag  # the same bytes in the same form


async def test_tags_of_all_forms_differ_even_where_the_bytes_do_not() -> None:
    rendered = Rendering().cache()
    tags = {(await rendered.of_page("main", page(), media, gzip)).etag for media, gzip in FORMS}
    assert len(tags) == len(FORMS)


async def test_the_least_recently_used_go_when_the_budget_is_spent() -> None:
    rendering = Rendering(times=100)
    rendered = rendering.cache(budget=1000)  # each page has 600 bytes
    await rendered.of_page("main", page(FOO), MediaType.JSON, False)
    await rendered.of_page("main", page(BAR), MediaType.JSON, False)
    await rendered.of_page("main", page(BAR), MediaType.JSON, False)
    await rendered.of_page("main", page(FOO), MediaType.JSON, False)
    assert len(rendering.done) == 3


async def test_a_page_larger_than_the_budget_is_still_answered() -> None:
    rendering = Rendering()
    rendered = rendering.cache(budget=10)
    large = await rendered.of_page("main", page(), MediaType.JSON, False)
    assert await rendered.of_page("main", page(), MediaType.JSON, False) is large


async def test_the_list_is_rendered_again_only_when_names_change() -> None:
    rendering = Rendering()
    rendered = rendering.cache()
    first = rendered.of_list("main", {FOO}, MediaType.JSON, False)
    assert rendered.of_list("main", {FOO}, MediaType.JSON, False) is first
    assert rendered.of_list("main", {FOO}, MediaType.TEXT_HTML, False).etag != first.etag
    changed = rendered.of_list("main", {FOO, BAR}, MediaType.JSON, False)
    assert changed.etag != first.etag
    assert len(rendering.done) == 3


async def test_a_list_that_is_changed_in_place_is_seen() -> None:
    names = {FOO}
    rendered = Rendering().cache()
    first = rendered.of_list("main", names, MediaType.JSON, False)
    names.add(BAR)
    assert rendered.of_list("main", names, MediaType.JSON, False).etag != first.etag


async def test_pages_and_lists_of_two_indexes_are_kept_apart() -> None:
    rendering = Rendering()
    rendered = rendering.cache()
    for _ in range(3):
        for index in ("main", "team"):
            await rendered.of_page(index, page(version=index), MediaType.JSON, False)
            rendered.of_list(index, {ProjectName(index)}, MediaType.JSON, False)
    assert len(rendering.done) == 4


async def test_a_long_list_for_one_principal_is_rendered_in_a_worker() -> None:
    """It may have a million names: the loop has other clients meanwhile."""
    threads = set()

    def is_visible(project: ProjectName) -> bool:
        threads.add(threading.current_thread())
        return project == FOO

    names = LongList([({FOO, BAR}, lambda project: True)]).only(is_visible)
    rendered = RenderedPages(lambda *page: (), lambda names, *form: ["".join(names).encode()])
    page = await rendered.render_long_list(names, MediaType.JSON)
    assert page.body == FOO.encode()
    assert threads and threading.main_thread() not in threads
