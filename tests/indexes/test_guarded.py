"""Policies are asked before the index that they guard, and about every page."""

from __future__ import annotations

import logging

import msgspec
import pytest

from proxy.errors import Denied, NoSuchFile, NoSuchProject, PolicyFailed
from proxy.indexes import Guarded
from proxy.model import File, ProjectName, ProjectPage
from proxy.policies import NoVerdict, OpenFile, PageView, Reserved
from tests.support.clock import Clock
from tests.support.fake_index import FakeIndex
from tests.support.policies import Cooldown, Exempt, FakePolicy, upload_time

OPEN = ProjectName("open")
WHEEL, SDIST = "open-1-py3-none-any.whl", "open-1.tar.gz"


@pytest.fixture
def public() -> FakeIndex:
    return FakeIndex("public", {"open": [WHEEL, SDIST], "acme-x": [], "banned": []})


def is_sdist(file: File) -> bool:
    return not file.filename.endswith(".whl")


@pytest.fixture
def no_sdists() -> FakePolicy:
    return FakePolicy(is_sdist)


@pytest.fixture
def index(public: FakeIndex, no_sdists: FakePolicy) -> Guarded:
    return Guarded(public, [Reserved(["acme-*"]), no_sdists])


def names(page: ProjectPage) -> list[str]:
    return [file.filename for file in page.files]


async def test_a_name_that_a_policy_does_not_admit_is_never_sent_to_the_index(
    index: Guarded, public: FakeIndex
) -> None:
    for ask in (index.page(ProjectName("acme-x")), index.file(ProjectName("acme-x"), "a-1.zip")):
        with pytest.raises(NoSuchProject, match="reserved"):
            await ask
    with pytest.raises(Denied):
        await index.page(ProjectName("banned"))
    assert public.asked == []


async def test_a_file_that_the_page_hides_is_refused_at_its_address(index: Guarded) -> None:
    assert names(await index.page(OPEN)) == [WHEEL]
    with pytest.raises(Denied, match="Refused by rule fake: refused by a test") as refused:
        await index.file(OPEN, SDIST)
    assert refused.value.rule == "fake"
    artifact = await index.file(OPEN, WHEEL)
    assert artifact.blob.size
    assert artifact.not_after is None


async def test_the_siblings_of_a_listed_file_are_served_and_those_of_a_refused_one_are_not(
    index: Guarded, public: FakeIndex
) -> None:
    for name in ("open-2-py3-none-any.whl", "open-2.tar.gz"):
        public.add("open", name, b"x", metadata=True, provenance="https://example.com/p")
        for suffix in (".metadata", ".provenance"):
            public.add_sibling("open", name + suffix, b"{}")
    for suffix in (".metadata", ".provenance"):
        assert await index.file(OPEN, "open-2-py3-none-any.whl" + suffix)
        with pytest.raises(Denied):
            await index.file(OPEN, "open-2.tar.gz" + suffix)


async def test_a_sibling_that_is_listed_as_a_file_is_judged_as_its_distribution(
    public: FakeIndex,
) -> None:
    public.add("open", f"{WHEEL}.metadata", b"Metadata-Version: 2.1")
    index = Guarded(public, [FakePolicy(lambda file: file.filename == WHEEL)])
    assert names(await index.page(OPEN)) == [SDIST]
    with pytest.raises(Denied):
        await index.file(OPEN, f"{WHEEL}.metadata")
    index = Guarded(public, [FakePolicy(lambda file: file.filename == f"{WHEEL}.metadata")])
    assert names(await index.page(OPEN)) == names(await public.page(OPEN))
    assert await index.file(OPEN, f"{WHEEL}.metadata")


async def test_a_page_with_refused_files_is_another_version_for_each_set_of_verdicts(
    public: FakeIndex,
) -> None:
    versions = {(await public.page(OPEN)).version}
    for policy in (
        FakePolicy(is_sdist),
        FakePolicy(is_sdist, show="yank"),
        FakePolicy(is_sdist, show="yank", reason="another reason"),
        FakePolicy(lambda file: not is_sdist(file)),
    ):
        versions.add((await Guarded(public, [policy]).page(OPEN)).version)
    assert len(versions) == 5


async def test_a_page_that_every_policy_allows_stays_as_it_is(public: FakeIndex) -> None:
    page = await public.page(OPEN)
    assert await Guarded(public, [FakePolicy(lambda file: False)]).page(OPEN) is page


async def test_a_refused_file_may_be_shown_as_yanked_with_the_reason(public: FakeIndex) -> None:
    index = Guarded(public, [FakePolicy(is_sdist, show="yank")])
    assert [file.yanked for file in (await index.page(OPEN)).files] == [
        False,
        "refused by rule fake: refused by a test",
    ]
    with pytest.raises(Denied):
        await index.file(OPEN, SDIST)


async def test_one_policy_that_hides_a_file_is_enough_and_the_first_words_the_reason(
    public: FakeIndex,
) -> None:
    first = FakePolicy(is_sdist, "first", show="yank", reason="of the first")
    index = Guarded(public, [first, FakePolicy(is_sdist, "second", show="hide")])
    assert names(await index.page(OPEN)) == [WHEEL]
    with pytest.raises(Denied, match="of the first"):
        await index.file(OPEN, SDIST)
    judged = await index.judge(await public.page(OPEN))
    assert [verdict.rule for verdict in judged.refusals[SDIST]] == ["first", "second"]


async def test_an_observing_policy_records_its_verdicts_and_changes_nothing(
    public: FakeIndex,
) -> None:
    index = Guarded(public, [FakePolicy(is_sdist, mode="observe")])
    page = await public.page(OPEN)
    assert await index.page(OPEN) is page
    assert await index.file(OPEN, SDIST)
    judged = await index.judge(page)
    assert list(judged.observed) == [SDIST]
    assert judged.refusals == {}


async def test_a_file_that_matures_is_shown_from_that_instant_on(
    public: FakeIndex, clock: Clock
) -> None:
    now = clock()
    public.add("new", "new-1.zip", b"1", uploaded=upload_time(now))
    public.describe("new", fresh_until=now + 3600, stale_until=now + 7200, checked=now)
    index = Guarded(public, [Cooldown(600)], clock)
    page = await index.page(ProjectName("new"))
    assert names(page) == []
    assert (page.fresh_until, page.stale_until, page.not_after) == (now + 600,) * 3
    clock.advance(599)
    assert names(await index.page(ProjectName("new"))) == []
    clock.advance(1)
    page = await index.page(ProjectName("new"))
    assert names(page) == ["new-1.zip"]
    assert (page.fresh_until, page.stale_until, page.not_after) == (now + 3600, now + 7200, None)


async def test_a_file_whose_exemption_ends_is_refused_from_that_instant_on(
    public: FakeIndex, clock: Clock
) -> None:
    end = clock() + 60
    index = Guarded(public, [Exempt(end)], clock)
    assert (await index.page(OPEN)).not_after == end
    assert (await index.file(OPEN, WHEEL)).not_after == end
    clock.advance(60)
    assert names(await index.page(OPEN)) == []
    with pytest.raises(Denied):
        await index.file(OPEN, WHEEL)


async def test_a_local_page_stays_without_a_time_but_for_its_policy(
    public: FakeIndex, clock: Clock
) -> None:
    page = await Guarded(public, [Exempt(clock() + 60)], clock).page(OPEN)
    assert (page.fresh_until, page.not_after) == (None, clock() + 60)


async def test_a_version_of_a_page_is_judged_once(
    index: Guarded, public: FakeIndex, no_sdists: FakePolicy, clock: Clock
) -> None:
    for number in range(3):
        public.pages[OPEN] = msgspec.structs.replace(public.pages[OPEN], fresh_until=float(number))
        assert (await index.page(OPEN)).fresh_until == number
        await index.file(OPEN, WHEEL)
    assert len(no_sdists.judged) == 1
    public.add("open", "open-3.zip", b"3")
    await index.page(OPEN)
    assert len(no_sdists.judged) == 2


class NotedFacts:
    """Facts that note for which pages they were to be collected."""

    def __init__(self) -> None:
        self.prefetched: list[str] = []

    async def load(self, project: ProjectName) -> None:
        pass

    async def prefetch(self, page: ProjectPage, open_file: OpenFile) -> None:
        self.prefetched.append(page.version)

    async def learn(self, page: ProjectPage, file: File, open_file: OpenFile) -> None:
        pass


async def test_facts_are_collected_once_for_each_judgement(public: FakeIndex, clock: Clock) -> None:
    epoch, facts = [0], NotedFacts()
    policy = Exempt(clock() + 100)
    policy.facts = facts
    index = Guarded(public, [policy], clock, lambda: epoch[0])
    for expected, change in enumerate(("nothing", "epoch", "instant"), 1):
        epoch[0] += change == "epoch"
        clock.advance(100 if change == "instant" else 0)
        for _ in range(3):
            await index.page(OPEN)
            await index.explain(OPEN)
        assert len(facts.prefetched) == expected


async def test_a_page_without_a_version_is_judged_each_time(
    index: Guarded, public: FakeIndex, no_sdists: FakePolicy
) -> None:
    public.describe("open", version="")
    for _ in range(2):
        assert names(await index.page(OPEN)) == [WHEEL]
    assert len(no_sdists.judged) == 2


async def test_a_new_epoch_has_pages_judged_again(public: FakeIndex) -> None:
    refused, epoch = {SDIST}, 1
    policy = FakePolicy(lambda file: file.filename in refused)
    index = Guarded(public, [policy], epoch=lambda: epoch)
    first = await index.page(OPEN)
    refused.add(WHEEL)
    assert names(await index.page(OPEN)) == [WHEEL]
    epoch += 1
    assert names(await index.page(OPEN)) == []
    refused.remove(WHEEL)
    epoch += 1
    assert (await index.page(OPEN)).version == first.version  # so that its rendering is kept


@pytest.mark.parametrize("position", [None, 7])
async def test_a_policy_with_a_fault_lets_nothing_pass(
    public: FakeIndex, caplog: pytest.LogCaptureFixture, position: int | None
) -> None:
    class Faulty(FakePolicy):
        def judge(self, view: PageView):  # type: ignore[no-untyped-def]
            if position is None:
                raise RuntimeError("the secret is 42")
            return [(position, self._verdict)]

    index = Guarded(public, [Faulty(is_sdist, "faulty")])
    for ask in (index.page(OPEN), index.file(OPEN, WHEEL)):
        with pytest.raises(PolicyFailed, match="the policy faulty of index public failed") as error:
            await ask
        assert "42" not in str(error.value)
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


async def test_a_file_that_a_policy_cannot_judge_is_one_line_in_the_log(
    public: FakeIndex, caplog: pytest.LogCaptureFixture
) -> None:
    class Unknowing(FakePolicy):
        def judge(self, view: PageView):  # type: ignore[no-untyped-def]
            raise NoVerdict(f"{WHEEL}: there is no 'size'")

    index = Guarded(public, [Unknowing(is_sdist, "small")])
    with pytest.raises(PolicyFailed, match="the policy small of index public failed"):
        await index.page(OPEN)
    (record,) = caplog.records
    assert record.getMessage() == f"the policy small cannot judge {WHEEL}: there is no 'size'"
    assert record.exc_info is None


async def test_guards_of_guards_add_up(public: FakeIndex, clock: Clock) -> None:
    inner = Guarded(public, [FakePolicy(is_sdist), Exempt(clock() + 90)], clock)
    outer_policy = FakePolicy(lambda file: False)
    outer = Guarded(inner, [outer_policy, Exempt(clock() + 60)], clock)
    page = await outer.page(OPEN)
    assert (names(page), page.not_after) == ([WHEEL], clock() + 60)
    assert (await outer.file(OPEN, WHEEL)).not_after == clock() + 60
    with pytest.raises(Denied):
        await outer.file(OPEN, SDIST)
    assert all(names(view.page) == [WHEEL] for view in outer_policy.judged)


async def test_a_file_that_is_not_listed_is_absent_and_not_refused(index: Guarded) -> None:
    with pytest.raises(NoSuchFile):
        await index.file(OPEN, "open-9.tar.gz")


async def test_the_project_list_leaves_out_what_is_not_admitted(index: Guarded) -> None:
    assert await index.projects() == {"open"}


async def test_a_page_of_many_files_is_judged_in_a_thread_and_kept(public: FakeIndex) -> None:
    files = [File(f"many-{n}.zip", "https://x/") for n in range(15_000)]
    public.page_of("many", *files)
    policy = FakePolicy(lambda file: file.filename.endswith("7.zip"))
    index = Guarded(public, [policy])
    for _ in range(2):
        assert len((await index.page(ProjectName("many"))).files) == 13_500
    assert len(policy.judged) == 1
