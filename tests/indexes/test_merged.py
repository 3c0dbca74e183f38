"""Pages of several indexes united: nothing is lost, and an error of one is an error."""

from __future__ import annotations

import msgspec
import pytest

from proxy.errors import NoSuchFile, NoSuchProject, UpstreamTimeout
from proxy.indexes import Fallthrough, Guarded, Merged
from proxy.model import METADATA, ProjectName, ProjectPage, ProjectStatus
from proxy.policies import Policy
from tests.support.content import read_blob
from tests.support.fake_index import FakeIndex
from tests.support.judging import policies_of
from tests.support.policies import FakePolicy

NUMPY, OTHER = ProjectName("numpy"), ProjectName("other")
OURS, THEIRS, BOTH = "numpy-1.0.tar.gz", "numpy-2.0.tar.gz", "numpy-1.5-py3-none-any.whl"


class MergedPair:
    def __init__(self) -> None:
        self.ours, self.theirs = FakeIndex("ours"), FakeIndex("theirs")
        for index, own in ((self.ours, OURS), (self.theirs, THEIRS)):
            index.add(NUMPY, own, own.encode())
            index.add(NUMPY, BOTH, index.name.encode(), metadata=True)
            index.add_sibling(NUMPY, BOTH + METADATA, index.name.encode())
        self.merged = Merged("main", [self.ours, self.theirs])

    def edit(self, index: FakeIndex, **changes: object) -> None:
        index.pages[NUMPY] = msgspec.structs.replace(index.pages[NUMPY], **changes)

    async def page(self) -> ProjectPage:
        return await self.merged.page(NUMPY)


@pytest.fixture
def members() -> MergedPair:
    return MergedPair()


async def test_the_files_of_all_are_listed_and_of_one_name_the_first(
    members: MergedPair,
) -> None:
    page = await members.page()
    assert {file.filename for file in page.files} == {OURS, THEIRS, BOTH}
    assert page.file(BOTH).sha256 == members.ours.pages[NUMPY].file(BOTH).sha256
    assert page.source == "ours+theirs"


async def test_the_yank_of_the_first_counts(members: MergedPair) -> None:
    first = tuple(
        msgspec.structs.replace(file, yanked="bad") if file.filename == BOTH else file
        for file in members.theirs.pages[NUMPY].files
    )
    members.edit(members.theirs, files=first)
    assert not (await members.page()).file(BOTH).yanked


async def test_bytes_are_those_of_the_index_that_lists_them_first(members: MergedPair) -> None:
    for name, data in ((OURS, OURS), (THEIRS, THEIRS), (BOTH, "ours")):
        digest = (await members.page()).file(name).address_digest
        for wanted in (None, digest):
            artifact = await members.merged.file(NUMPY, name, wanted)
            assert await read_blob(artifact.blob) == data.encode()
    sibling = await members.merged.file(NUMPY, BOTH + METADATA)
    assert await read_blob(sibling.blob) == b"ours"


async def test_the_hidden_bytes_of_a_later_index_are_not_served(members: MergedPair) -> None:
    hidden = members.theirs.pages[NUMPY].file(BOTH).address_digest
    with pytest.raises(NoSuchFile):
        await members.merged.file(NUMPY, BOTH, hidden)
    with pytest.raises(NoSuchFile):
        await members.merged.file(NUMPY, "numpy-9.tar.gz")


@pytest.mark.parametrize("down", ["ours", "theirs"])
async def test_an_error_of_one_is_an_error_of_all(members: MergedPair, down: str) -> None:
    index: FakeIndex = getattr(members, down)
    index.error = UpstreamTimeout(down, "out of order")
    with pytest.raises(UpstreamTimeout):
        await members.page()
    for name in (OURS, THEIRS, BOTH):
        with pytest.raises(UpstreamTimeout):
            await members.merged.file(NUMPY, name)


async def test_what_one_lacks_the_other_has_alone(members: MergedPair) -> None:
    del members.ours.pages[NUMPY]
    assert (await members.page()).source == "theirs"
    del members.theirs.pages[NUMPY]
    with pytest.raises(NoSuchProject):
        await members.page()
    with pytest.raises(NoSuchProject):
        await members.merged.file(NUMPY, OURS)


async def test_times_are_the_earliest_and_the_first_status_counts(members: MergedPair) -> None:
    members.edit(members.ours, fresh_until=50.0, stale_until=90.0, checked=10.0, not_after=70.0)
    members.edit(
        members.theirs,
        **{"fresh_until": 60.0, "stale_until": 80.0, "checked": 20.0, "not_after": None},
        status=ProjectStatus("archived"),
    )
    page = await members.page()
    assert (page.fresh_until, page.stale_until, page.checked) == (50.0, 80.0, 10.0)
    assert page.not_after == 70.0
    assert page.status == ProjectStatus("archived")
    members.edit(members.ours, fresh_until=None, checked=None)  # a directory
    assert ((await members.page()).fresh_until, (await members.page()).stale_until) == (60.0, 80.0)


async def test_a_change_of_either_is_another_version(members: MergedPair) -> None:
    versions = {(await members.page()).version}
    for index in (members.ours, members.theirs):
        members.edit(index, version=f"another of {index.name}")
        versions.add((await members.page()).version)
    assert len(versions) == 3
    members.edit(members.ours, version="")
    assert (await members.page()).version == ""


async def test_only_the_projects_that_are_named_are_merged(members: MergedPair) -> None:
    for index in (members.ours, members.theirs):
        index.add(OTHER, f"other-{len(index.name)}.0.tar.gz", b"x")
    both = [members.ours, members.theirs]
    merging = Fallthrough("main", both, lambda project: project == NUMPY)
    assert (await merging.page(NUMPY)).source == "ours+theirs"
    assert (await merging.page(OTHER)).source == "ours"
    assert await merging.projects() == {NUMPY, OTHER}
    assert await read_blob((await merging.file(NUMPY, THEIRS)).blob) == THEIRS.encode()


async def test_what_policies_say_of_either_is_kept(members: MergedPair) -> None:
    members.edit(members.ours, refused=1, first_seen={BOTH: 1.0, OURS: 2.0})
    members.edit(members.theirs, refused=2, may_change=True, first_seen={BOTH: 3.0, THEIRS: 4.0})
    page = await members.page()
    assert (page.refused, page.may_change) == (3, True)
    assert page.first_seen == {BOTH: 1.0, OURS: 2.0, THEIRS: 4.0}


async def test_a_file_is_explained_by_the_index_whose_file_is_shown(members: MergedPair) -> None:
    """A file that one index hides and another lists is that of the other."""
    rules: dict[str, list[Policy]] = {
        "ours": [FakePolicy(lambda file: True, "first"), FakePolicy(bool, "seen", mode="observe")],
        "theirs": [FakePolicy(lambda file: file.filename == THEIRS, "second")],
    }
    exempt = {"kind": "deny", "versions": {"numpy": "==1.5"}}
    row = {"policy": ["p0"], "project": "numpy", "forever": True, "reason": "approved"}
    rules["theirs"] += policies_of(exempt, exempt=[row])
    indexes = [Guarded(each, rules[each.name]) for each in (members.ours, members.theirs)]
    merged = Merged("main", indexes)
    found, page = await merged.explain(NUMPY), await merged.page(NUMPY)
    assert found.page
    assert [file.filename for file in found.page.files] == [file.filename for file in page.files]
    assert {file.filename for file in page.files} == {BOTH}
    assert found.listed
    assert found.listed.file(BOTH).sha256 == members.theirs.pages[NUMPY].file(BOTH).sha256
    rules_of = {name: [each.rule for each in verdicts] for name, verdicts in found.refusals.items()}
    assert rules_of == {OURS: ["first"], THEIRS: ["second"]}
    assert [each.exemption for each in found.exempted[BOTH]] == ["approved"]
    assert {name: [each.rule for each in its] for name, its in found.observed.items()} == {
        OURS: ["seen"]
    }
    assert found.kinds["p0"] == "deny"


async def test_an_explanation_names_what_is_not_shown(members: MergedPair) -> None:
    found = await members.merged.explain(NUMPY)
    assert found.page
    assert found.page.files == (await members.page()).files
    assert BOTH in found.steps[-1].detail


async def test_the_verdicts_on_a_file_are_those_of_the_index_whose_file_is_shown(
    members: MergedPair,
) -> None:
    hidden = FakePolicy(lambda file: file.filename in {BOTH, OURS})
    merged = Merged("main", [Guarded(members.ours, [hidden]), members.theirs])
    found = await merged.explain(NUMPY)
    assert found.page
    shown = {file.filename for file in found.page.files}
    assert shown == {file.filename for file in (await merged.page(NUMPY)).files} == {THEIRS, BOTH}
    assert found.refusals.keys() == {OURS}
    assert found.kinds.keys() == {"fake"}
    later = Merged("main", [members.ours, Guarded(members.theirs, [hidden])])
    assert not (await later.explain(NUMPY)).refusals
    spared = FakePolicy(lambda file: True, exemption="needed")
    exempted = Merged("main", [Guarded(members.ours, [spared]), members.theirs])
    assert (await exempted.explain(NUMPY)).exempted.keys() == {OURS, BOTH}
