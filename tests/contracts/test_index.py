"""The contract of ``Index``, run over every class of indexes, fakes of tests included."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from proxy.composition.routed_rules import open_routed
from proxy.config import PageTarget, RoutedTable, RuleTable
from proxy.errors import Denied, NoSuchFile, NoSuchProject, ProxyError
from proxy.export.file_list import FileListIndex
from proxy.indexes import Fallthrough, Guarded, Index, Merged, Route, Routed
from proxy.model import METADATA, PROVENANCE, Moment, ProjectName, ProjectPage
from proxy.policies import project_pattern
from proxy.publish import PastIndex, Selection, Upkeep
from proxy.publish.objects.object_index import MAX_ABSENCE_AGE
from proxy.requirements import RecordingIndex
from proxy.simple import json_pieces
from proxy.warm.keep.run import RevalidatingIndex
from tests.support.clock import Clock
from tests.support.content import read_blob, sha256
from tests.support.directories import opened
from tests.support.distributions import make_sdist, make_wheel, wheel_metadata
from tests.support.fake_index import FakeIndex
from tests.support.mirror_site import DEMO, MirrorSite
from tests.support.object_packages import replica
from tests.support.policies import FakePolicy
from tests.support.publishing import ANA, publish, publishing
from tests.support.upstream import Fault, Upstream

OTHER, ABSENT = ProjectName("other"), ProjectName("absent")
WHEEL, SDIST = "demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"


@dataclass(frozen=True)
class Subject:
    """An index that has the project demo: a wheel with its metadata, and an sdist."""

    index: Index
    fail: Callable[[], object] | None
    """Makes every request fail that is not answered from memory; None: no request can fail."""
    serves_files: bool = True


OpenSubject = Callable[[MirrorSite], AbstractAsyncContextManager[Subject]]


@asynccontextmanager
async def fake(site: MirrorSite) -> AsyncIterator[Subject]:
    index = FakeIndex("fake")
    wheel, sdist = distributions(site)
    metadata = wheel_metadata(wheel)
    index.add(
        DEMO,
        WHEEL,
        wheel.read_bytes(),
        metadata={"sha256": sha256(metadata)},
        provenance="https://example.com/provenance",
    )
    index.add_sibling(DEMO, WHEEL + METADATA, metadata)
    index.add_sibling(DEMO, WHEEL + PROVENANCE, b"{}")
    index.add(DEMO, SDIST, sdist.read_bytes())
    yield Subject(index, lambda: setattr(index, "error", ProxyError("out of order")))


@asynccontextmanager
async def local(site: MirrorSite) -> AsyncIterator[Subject]:
    root = distributions(site)[0].parent
    async with opened(root) as index:
        yield Subject(index, lambda: shutil.rmtree(root))


@asynccontextmanager
async def objects(site: MirrorSite) -> AsyncIterator[Subject]:
    clock = Clock()
    async with replica(MemoryStore(), site.root, monotonic=clock) as publisher:
        for path, beside in zip(distributions(site), ({PROVENANCE: b"{}"}, {}), strict=True):
            await publish(publisher, path, beside=beside)

        def fail() -> None:
            publisher.log.calls.leave_alone("it is away")
            clock.advance(MAX_ABSENCE_AGE + 1)

        yield Subject(publisher.index, fail)


@asynccontextmanager
async def local_archive(site: MirrorSite) -> AsyncIterator[Subject]:
    root = Path(shutil.make_archive(str(site.root / "all"), "zip", distributions(site)[0].parent))
    async with opened(root) as index:
        yield Subject(index, root.unlink)


@asynccontextmanager
async def local_directories(site: MirrorSite) -> AsyncIterator[Subject]:
    wheel, sdist = distributions(site)
    other = site.root / "other"
    other.mkdir()
    sdist.rename(other / sdist.name)
    async with opened(wheel.parent) as first, opened(other) as second:
        yield Subject(Merged("private", [first, second]), lambda: shutil.rmtree(other))


@asynccontextmanager
async def past(site: MirrorSite) -> AsyncIterator[Subject]:
    """The wheel is listed still, the sdist is deleted and kept."""
    async with publishing(site.root / "packages", clock=site.clock) as publisher:
        wheel, sdist = distributions(site)
        await publish(publisher, wheel, beside={PROVENANCE: b"{}"})
        await publish(publisher, sdist)
        site.clock.advance(1)
        moment = Moment(site.clock())
        await Upkeep(publisher).delete(Selection(DEMO, filename=SDIST), ANA)
        index = PastIndex(publisher, moment)
        yield Subject(index, lambda: publisher.root.rename(site.root / "elsewhere"))


@asynccontextmanager
async def mirror(site: MirrorSite, **settings: bool) -> AsyncIterator[Subject]:
    wheel, sdist = distributions(site)
    site.upstream.add(wheel, provenance={"version": 1})
    site.upstream.add(sdist)
    async with site.open(**settings) as it:
        yield Subject(it.mirror, lambda: site.upstream.fault("", Fault(status=503)))


@asynccontextmanager
async def offline_mirror(site: MirrorSite) -> AsyncIterator[Subject]:
    async with mirror(site) as filled:
        for file in (await filled.index.page(DEMO)).files:
            for suffix in ("", *promised(file.metadata, METADATA), *promised(file.provenance)):
                artifact = await filled.index.file(DEMO, file.filename + suffix)
                await read_blob(artifact.blob)
    async with site.open(offline=True) as it:
        yield Subject(it.mirror, None)


def promised(said: object, suffix: str = PROVENANCE) -> tuple[str, ...]:
    return (suffix,) if said else ()


@asynccontextmanager
async def page_files(site: MirrorSite) -> AsyncIterator[Subject]:
    wheel, sdist = distributions(site)
    site.upstream.add(wheel, provenance={"version": 1})
    site.upstream.add(sdist)
    async with mirror(site) as listed:
        page = await listed.index.page(DEMO)
    folder = site.root / "pages"
    folder.mkdir()
    document = b"".join(json_pieces(page, lambda _, files: [file.url for file in files]))
    (folder / f"{DEMO}.json").write_bytes(document)
    rule = RuleTable(projects=["*"], to=PageTarget(page=folder / "{name}.json"))
    hosts = [site.upstream.origin.partition("://")[2]]
    table = RoutedTable(kind="routed", rules=[rule], file_hosts=hosts)
    async with site.surroundings() as around, open_routed("main", table, {}, around) as index:
        yield Subject(index, lambda: folder.joinpath("other.json").mkdir())


@asynccontextmanager
async def listing(site: MirrorSite) -> AsyncIterator[Subject]:
    async with mirror(site) as listed:
        files = (await listed.index.page(DEMO)).files
    yield Subject(FileListIndex((DEMO, "1.0", file) for file in files), None, serves_files=False)


def around(wrap: Callable[[Index, Clock], Index]) -> OpenSubject:
    """An index around a mirror."""

    @asynccontextmanager
    async def open_wrapped(site: MirrorSite) -> AsyncIterator[Subject]:
        async with mirror(site) as subject:
            yield Subject(wrap(subject.index, site.clock), subject.fail)

    return open_wrapped


def distributions(site: MirrorSite) -> tuple[Path, Path]:
    folder = site.root / "distributions"
    return make_wheel(folder, DEMO, "1.0"), make_sdist(folder, DEMO, "1.0")


SUBJECTS: Mapping[str, OpenSubject] = {
    "FakeIndex": fake,
    "LocalDirectory": local,
    "LocalDirectory, archive": local_archive,
    "Merged, directories": local_directories,
    "ObjectIndex": objects,
    "PastIndex": past,
    "Mirror": mirror,
    "Mirror, offline": offline_mirror,
    "Fallthrough": around(lambda index, _: Fallthrough("main", [FakeIndex("private"), index])),
    "Fallthrough, merging": around(
        lambda index, _: Fallthrough("main", [FakeIndex("private"), index], lambda project: True)
    ),
    "Merged": around(lambda index, _: Merged("main", [index, FakeIndex("private")])),
    "Merged, of two that have it": around(lambda index, _: Merged("main", [index, index])),
    "Routed": around(lambda index, _: Routed("main", [Route(project_pattern(["*"]), index, "*")])),
    "PageFiles": page_files,
    "Guarded": around(lambda index, _: Guarded(index, [FakePolicy(lambda file: False)])),
    "RecordingIndex": around(lambda index, _: RecordingIndex(index)),
    "RevalidatingIndex": around(
        lambda index, clock: RevalidatingIndex(index, clock(), max_requests=4)
    ),
    "Listing": listing,
}


@pytest.fixture
async def site(tmp_path: Path, clock: Clock) -> AsyncIterator[MirrorSite]:
    async with Upstream() as upstream:
        yield MirrorSite(tmp_path, upstream, clock)


@pytest.fixture(params=SUBJECTS)
async def subject(request: pytest.FixtureRequest, site: MirrorSite) -> AsyncIterator[Subject]:
    async with SUBJECTS[request.param](site) as opened_subject:
        yield opened_subject


@pytest.fixture
def index(subject: Subject) -> Index:
    return subject.index


@pytest.fixture
def serving(subject: Subject) -> Index:
    """An index that serves its files."""
    if not subject.serves_files:
        pytest.skip("lists files, and serves none")
    return subject.index


async def test_an_explanation_has_the_page_that_is_shown(index: Index) -> None:
    page = await index.page(DEMO)
    found = await index.explain(DEMO)
    assert found.result == "answers"
    assert found.page
    assert found.page.files == page.files
    assert found.page.version == page.version
    assert found.listed


async def test_an_explanation_of_an_unknown_project_has_no_page(index: Index) -> None:
    found = await index.explain(ABSENT)
    assert found.page is None
    assert found.result in ("absent", "unknown")


async def test_a_page_lists_the_files_and_says_where_it_is_from(index: Index) -> None:
    page = await index.page(DEMO)
    assert {file.filename for file in page.files} == {WHEEL, SDIST}
    assert page.project == DEMO
    assert page.versions in ((), ("1.0",))
    assert page.source or index.name == "names"
    async with asyncio.timeout(20):  # a mirror lists what it has stored, in the background
        while DEMO not in await index.projects():
            await asyncio.sleep(0.01)


async def test_pages_of_one_version_have_one_content(index: Index) -> None:
    first, second = await index.page(DEMO), await index.page(DEMO)
    assert first.version == second.version
    assert first.files == second.files


async def test_every_listed_file_is_served_by_its_name_and_by_its_digest(serving: Index) -> None:
    for file in (await serving.page(DEMO)).files:
        for digest in (None, file.address_digest):
            artifact = await serving.file(DEMO, file.filename, digest)
            data = await read_blob(artifact.blob)
            assert sha256(data) == file.sha256 == artifact.file.sha256
            assert len(data) == file.size == artifact.file.size


async def test_the_promised_siblings_of_every_listed_file_are_served(
    serving: Index,
) -> None:
    seen = 0
    for file in (await serving.page(DEMO)).files:
        if file.metadata:
            seen += 1
            data = await read_blob((await get(serving, file.filename + METADATA)).blob)
            assert data.startswith(b"Metadata-Version:")
            assert file.metadata is True or sha256(data) == file.metadata["sha256"]
        if file.provenance:
            data = await read_blob((await get(serving, file.filename + PROVENANCE)).blob)
            assert data.startswith(b"{")
    assert seen


async def get(index: Index, filename: str):  # type: ignore[no-untyped-def]
    """Under the address that the page lists."""
    owner = filename.removesuffix(METADATA).removesuffix(PROVENANCE)
    digest = (await index.page(DEMO)).file(owner).address_digest
    return await index.file(DEMO, filename, digest)


async def test_a_sibling_that_no_page_promises_is_absent(index: Index) -> None:
    for suffix in (METADATA, PROVENANCE):
        with pytest.raises(NoSuchFile):
            await index.file(DEMO, SDIST + suffix)


async def test_a_project_that_is_not_there_is_absent_with_all_its_files(subject: Subject) -> None:
    with pytest.raises(NoSuchProject):
        await subject.index.page(ABSENT)
    absent = NoSuchProject if subject.serves_files else NoSuchFile
    with pytest.raises(absent):
        await subject.index.file(ABSENT, "absent-1.0.tar.gz")


async def test_a_file_that_the_page_does_not_list_is_absent(index: Index) -> None:
    with pytest.raises(NoSuchFile):
        await index.file(DEMO, "demo-9.tar.gz")


async def test_other_bytes_under_the_name_of_a_file_are_absent(index: Index) -> None:
    for name in (WHEEL, WHEEL + METADATA):
        with pytest.raises(NoSuchFile):
            await index.file(DEMO, name, "0" * 64)


async def test_a_check_gets_the_page_that_lists_the_file(serving: Index) -> None:
    seen: list[ProjectPage] = []

    async def note(page: ProjectPage) -> None:
        seen.append(page)

    for name in (WHEEL, SDIST, WHEEL + METADATA):
        seen.clear()
        await serving.file(DEMO, name, None, note)
        assert seen
        assert all(page.project == DEMO and page.file(name) for page in seen)


async def test_an_error_of_the_check_is_the_answer(serving: Index) -> None:
    async def refuse(page: ProjectPage) -> None:
        raise Denied(page.project, "refused by a test")

    for name in (WHEEL, SDIST, WHEEL + METADATA):
        with pytest.raises(Denied, match="refused by a test"):
            await serving.file(DEMO, name, None, refuse)


async def test_a_page_was_checked_after_the_instant_that_is_asked_for(
    index: Index, clock: Clock
) -> None:
    await index.page(DEMO)
    clock.advance(5)
    page = await index.page(DEMO, clock())
    assert page.checked is None or page.checked >= clock()


async def test_a_page_says_how_long_it_may_be_answered(index: Index, clock: Clock) -> None:
    page = await index.page(DEMO)
    assert page.not_after is None
    if page.fresh_until is not None:
        assert clock() < page.fresh_until
        assert page.checked is not None


async def test_a_failure_is_never_taken_for_absence(subject: Subject) -> None:
    """A fallthrough asks the next index only if the project is certainly absent."""
    if subject.fail is None:
        pytest.skip("needs nothing that could fail")
    subject.fail()
    with pytest.raises(ProxyError) as of_page:
        await subject.index.page(OTHER)
    with pytest.raises(ProxyError) as of_file:
        await subject.index.file(OTHER, "other-1.0.tar.gz")
    assert not isinstance(of_page.value, NoSuchProject)
    assert not isinstance(of_file.value, NoSuchProject)
