"""The rule that keeps a public project from standing in for a private one."""

from __future__ import annotations

import pytest

from proxy.errors import IndexUnavailable, NoSuchFile, NoSuchProject, UpstreamError
from proxy.indexes.fallthrough import Fallthrough
from proxy.model import ProjectName
from tests.support.fake_index import FakeIndex

CORP = ProjectName("corp-x")
OPEN = ProjectName("open-y")


@pytest.fixture
def private() -> FakeIndex:
    return FakeIndex("private", {"corp-x": ["corp_x-1.0.tar.gz"], "emptied": []})


@pytest.fixture
def public() -> FakeIndex:
    public = {"corp-x": ["corp_x-99.tar.gz"], "open-y": ["open_y-1.tar.gz"], "emptied": ["e-1.zip"]}
    return FakeIndex("public", public)


@pytest.fixture
def index(private: FakeIndex, public: FakeIndex) -> Fallthrough:
    return Fallthrough("main", [private, public])


async def test_a_private_project_is_answered_from_the_private_index_alone(
    index: Fallthrough, public: FakeIndex
) -> None:
    page = await index.page(CORP)
    assert [file.filename for file in page.files] == ["corp_x-1.0.tar.gz"]
    assert public.asked == []


async def test_what_the_first_does_not_have_is_asked_of_the_second(index: Fallthrough) -> None:
    assert (await index.page(OPEN)).source == "public"
    assert (await index.file(OPEN, "open_y-1.tar.gz")).file.filename == "open_y-1.tar.gz"


@pytest.mark.parametrize(
    "error", [IndexUnavailable("private", "unmounted"), UpstreamError("private", "is down")]
)
async def test_an_index_in_trouble_stops_the_search(
    index: Fallthrough, private: FakeIndex, public: FakeIndex, error: Exception
) -> None:
    private.error = error
    for ask in (index.page(OPEN), index.file(OPEN, "open_y-1.tar.gz")):
        with pytest.raises(type(error)):
            await ask
    assert public.asked == []


async def test_a_file_the_owner_lacks_is_not_looked_for_elsewhere(
    index: Fallthrough, public: FakeIndex
) -> None:
    with pytest.raises(NoSuchFile):
        await index.file(CORP, "corp_x-99.tar.gz")
    assert public.asked == []


async def test_a_project_without_files_still_claims_its_name(index: Fallthrough) -> None:
    assert (await index.page(ProjectName("emptied"))).files == ()


async def test_a_project_in_no_index_is_missing(index: Fallthrough) -> None:
    with pytest.raises(NoSuchProject):
        await index.page(ProjectName("nothing"))
    with pytest.raises(NoSuchProject):
        await index.file(ProjectName("nothing"), "nothing-1.tar.gz")


async def test_the_project_list_is_that_of_all(index: Fallthrough) -> None:
    assert await index.projects() == {"corp-x", "emptied", "open-y"}
