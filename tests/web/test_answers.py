"""Finished pages: rendered once per version and form, within a budget."""

from __future__ import annotations

import asyncio
import threading

import pytest

from proxy.model import File, ProjectName, ProjectPage
from proxy.runtime.gzip import decompress
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

    def names(self, names: object, media: MediaType) -> bytes:
        self.done.append(("list", media))
        return repr(names).encode()

    def answers(self, budget: int = 2**20) -> RenderedPages:
        return RenderedPages(self.page, self.names, budget)


def page(project: ProjectName = FOO, version: str = "1", files: int = 0) -> ProjectPage:
    listed = tuple(File(f"{number}.whl", "https://x/") for number in range(files))
    return ProjectPage(project, listed, source="s", version=version)


@pytest.mark.parametrize(("media", "gzip"), FORMS)
async def test_a_form_is_rendered_once_per_version(media: MediaType, gzip: bool) -> None:
    rendering = Rendering()
    answers = rendering.answers()
    first = await answers.get(page(), media, gzip)
    assert await answers.get(page(), media, gzip) is first
    assert rendering.done == [("1", media)]
    second = await answers.get(page(version="2"), media, gzip)
    assert second.etag != first.etag
    assert [version for version, _ in rendering.done] == ["1", "2"]


async def test_the_same_version_of_another_source_is_another_page() -> None:
    rendering = Rendering()
    answers = rendering.answers()
    await answers.get(page(), MediaType.JSON, False)
    other = ProjectPage(FOO, (), source="other", version="1")
    await answers.get(other, MediaType.JSON, False)
    assert len(rendering.done) == 2


@pytest.mark.parametrize("files", [0, OFFLOAD_FILES])
async def test_a_page_without_a_version_is_rendered_each_time(files: int) -> None:
    rendering = Rendering()
    answers = rendering.answers()
    unversioned = page(version="", files=files)
    asked = (answers.get(unversioned, MediaType.JSON, False) for _ in range(3))
    await asyncio.gather(*asked)
    assert len(rendering.done) == 3
    await answers.close()


async def test_a_large_page_is_rendered_once_for_all_who_ask_and_off_the_loop() -> None:
    rendering = Rendering()
    answers = rendering.answers()
    large = page(files=OFFLOAD_FILES)
    asked = (answers.get(large, MediaType.JSON, True) for _ in range(10))
    found = await asyncio.gather(*asked)
    assert len(rendering.done) == 1
    assert len({id(answer) for answer in found}) == 1
    assert threading.get_ident() not in rendering.threads
    await answers.close()


async def test_the_coded_form_has_the_same_content_and_its_own_tag() -> None:
    answers = Rendering().answers()
    plain = await answers.get(page(), MediaType.JSON, False)
    coded = await answers.get(page(), MediaType.JSON, True)
    assert (plain.encoding, coded.encoding) == (None, "gzip")
    assert decompress(coded.body) == plain.body
    assert plain.etag != coded.etag


async def test_what_is_not_worth_it_is_not_compressed() -> None:
    answers = Rendering(times=1).answers()
    plain = await answers.get(page(), MediaType.JSON, False)
    asked = await answers.get(page(), MediaType.JSON, True)
    assert asked.encoding is None
    assert asked.etag == plain.etag  # the same bytes in the same form


async def test_tags_of_all_forms_differ_even_where_the_bytes_do_not() -> None:
    answers = Rendering().answers()
    tags = {(await answers.get(page(), media, gzip)).etag for media, gzip in FORMS}
    assert len(tags) == len(FORMS)


async def test_the_least_recently_used_go_when_the_budget_is_spent() -> None:
    rendering = Rendering(times=100)
    answers = rendering.answers(budget=1000)  # each page has 600 bytes
    await answers.get(page(FOO), MediaType.JSON, False)
    await answers.get(page(BAR), MediaType.JSON, False)
    await answers.get(page(BAR), MediaType.JSON, False)
    await answers.get(page(FOO), MediaType.JSON, False)
    assert len(rendering.done) == 3


async def test_a_page_larger_than_the_budget_is_still_answered() -> None:
    rendering = Rendering()
    answers = rendering.answers(budget=10)
    large = await answers.get(page(), MediaType.JSON, False)
    assert await answers.get(page(), MediaType.JSON, False) is large


async def test_the_list_is_made_anew_only_when_names_change() -> None:
    rendering = Rendering()
    answers = rendering.answers()
    first = answers.of_list({FOO}, MediaType.JSON, False)
    assert answers.of_list({FOO}, MediaType.JSON, False) is first
    assert answers.of_list({FOO}, MediaType.TEXT_HTML, False).etag != first.etag
    changed = answers.of_list({FOO, BAR}, MediaType.JSON, False)
    assert changed.etag != first.etag
    assert len(rendering.done) == 3


async def test_a_list_that_is_changed_in_place_is_seen() -> None:
    names = {FOO}
    answers = Rendering().answers()
    first = answers.of_list(names, MediaType.JSON, False)
    names.add(BAR)
    assert answers.of_list(names, MediaType.JSON, False).etag != first.etag
