"""Policies are asked before the index behind, and about every file."""

from __future__ import annotations

import pytest

from proxy.errors import Denied, NoSuchProject
from proxy.indexes.guarded import Guarded
from proxy.model import File, ProjectName
from proxy.policies.names import Reserved
from tests.support.fake_index import FakeIndex


class NoSdists:
    judges_files = True

    def admit(self, project: ProjectName) -> None:
        if project == "banned":
            raise Denied(project, "malware")

    def allows(self, project: ProjectName, file: File) -> bool:
        return file.filename.endswith(".whl")


FILES = {"open": ["open-1-py3-none-any.whl", "open-1.tar.gz"], "acme-x": [], "banned": []}


@pytest.fixture
def behind() -> FakeIndex:
    return FakeIndex("public", FILES)


@pytest.fixture
def index(behind: FakeIndex) -> Guarded:
    return Guarded(behind, [Reserved(["acme-*"]), NoSdists()])


async def test_p58_a_reserved_name_is_never_mentioned_to_the_index_behind(
    index: Guarded, behind: FakeIndex
) -> None:
    for ask in (index.page(ProjectName("acme-x")), index.file(ProjectName("acme-x"), "a-1.zip")):
        with pytest.raises(NoSuchProject, match="reserved"):
            await ask
    with pytest.raises(Denied):
        await index.page(ProjectName("banned"))
    assert behind.asked == []


async def test_what_is_kept_off_the_page_cannot_be_had_by_its_address(index: Guarded) -> None:
    page = await index.page(ProjectName("open"))
    assert [file.filename for file in page.files] == ["open-1-py3-none-any.whl"]
    with pytest.raises(Denied):
        await index.file(ProjectName("open"), "open-1.tar.gz")
    artifact = await index.file(ProjectName("open"), "open-1-py3-none-any.whl")
    assert artifact.blob.size


async def test_a_narrowed_page_is_another_version(index: Guarded, behind: FakeIndex) -> None:
    whole = await behind.page(ProjectName("open"))
    assert (await index.page(ProjectName("open"))).version != whole.version


async def test_the_project_list_leaves_out_what_is_not_admitted(index: Guarded) -> None:
    assert await index.projects() == {"open"}
