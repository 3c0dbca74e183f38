"""Each reason for which somebody does not see a version, with the sentence that names it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.distributions import parse_targets
from proxy.errors import PrivateNameWithheld
from proxy.explain import Question, Report, explain, hints
from proxy.indexes import Fallthrough, Guarded, Index
from proxy.model import File, ProjectName, ProjectStatus
from proxy.policies import Policy, Reserved, Withheld
from tests.support.clock import Clock
from tests.support.directories import opened
from tests.support.distributions import make_wheel
from tests.support.fake_index import FakeIndex
from tests.support.mirror_site import MirrorSite
from tests.support.policies import Cooldown, FakePolicy, upload_time
from tests.support.upstream import Upstream

DEMO = ProjectName("demo")
(TARGET,) = parse_targets(["3.12"], ["manylinux_2_28_x86_64"])
NOW = 1_700_000_000.0


def wheel(version: str, tags: str = "py3-none-any") -> str:
    return f"demo-{version}-{tags}.whl"


@pytest.fixture
def stock() -> FakeIndex:
    index = FakeIndex("world")
    for version in ("1.0", "1.1"):
        index.add("demo", wheel(version), version.encode(), uploaded=upload_time(NOW - 10**6))
    return index


def withhold(project: ProjectName) -> None:
    raise PrivateNameWithheld(project)


async def asked(index: Index, wanted: str = "", now: float = NOW) -> tuple[Report, str]:
    report = await explain(index, Question(DEMO, wanted, TARGET), now)
    return report, "\n".join(hints(report))


def guarded(index: Index, *policies: Policy) -> Guarded:
    return Guarded(index, policies, lambda: NOW)


async def test_no_index_has_the_project(stock: FakeIndex) -> None:
    index = Fallthrough("main", [FakeIndex("private"), FakeIndex("world")])
    report, text = await asked(index)
    assert text == "main has no project demo"
    assert [(step.index, step.result) for step in report.route] == [
        ("main", None),
        ("private", "absent"),
        ("world", "absent"),
    ]


async def test_the_name_is_reserved(stock: FakeIndex) -> None:
    index = Fallthrough("main", [FakeIndex("private"), guarded(stock, Reserved(["dem*"]))])
    _, text = await asked(index)
    assert "main has no project demo" in text
    assert "world is not asked for it by rule reserved: the name is reserved for private" in text
    assert stock.asked == []


async def test_a_local_project_hides_the_one_upstream(tmp_path: Path, stock: FakeIndex) -> None:
    root = tmp_path / "packages"
    make_wheel(root, "demo", "0.1")
    async with opened(root) as private:
        report, text = await asked(Fallthrough("main", [private, stock]), "1.1")
    assert "is a local index and has the project, so no other index is asked" in text
    assert "has no demo 1.1; the newest it shows is 0.1" in text
    assert report.page
    assert report.page.state == "local"


async def test_the_private_directory_is_not_served(stock: FakeIndex) -> None:
    _, text = await asked(guarded(stock, Withheld(withhold)))
    assert "world cannot answer now: demo is a private name of a directory" in text


async def test_the_index_cannot_be_read(tmp_path: Path) -> None:
    root = tmp_path / "packages"
    root.mkdir()
    async with opened(root) as private:
        root.rmdir()
        _, text = await asked(private)
    assert "cannot answer now" in text


async def test_the_page_is_not_in_the_cache_and_upstream_is_not_asked(
    tmp_path: Path, clock: Clock
) -> None:
    async with Upstream() as upstream:
        site = MirrorSite(tmp_path, upstream, clock)
        upstream.add(make_wheel(site.root / "made", "demo", "1.0"))
        async with site.open() as it:
            _, text = await asked(it.mirror)
            assert "no page is in the cache" in text
            assert upstream.count("/simple/demo/") == 0
            await it.mirror.page(DEMO)
            report, _ = await asked(it.mirror, now=clock())
            assert report.page
            assert (report.page.state, report.files[0].held) == ("fresh", False)
            clock.advance(10**6)
            report, text = await asked(it.mirror, now=clock())
            assert report.page
            assert report.page.state == "expired"
            assert "the next request revalidates it" in text
            assert upstream.count("/simple/demo/") == 1


async def test_a_rule_refuses_a_file(stock: FakeIndex) -> None:
    stock.add("demo", wheel("2.0"), b"new", uploaded=upload_time(NOW - 10))
    report, text = await asked(guarded(stock, Cooldown(100)), "2.0")
    assert f"rule cooldown refuses {wheel('2.0')}: it is too new" in text
    (file,) = report.files
    assert (file.shown, file.look) == (False, "hidden")
    assert report.page
    assert report.page.changes_at == file.verdicts[0].until
    assert list(report.would_install.values()) == [wheel("1.1")]


async def test_a_rule_shows_a_file_as_yanked_or_only_observes(stock: FakeIndex) -> None:
    policies = [
        FakePolicy(lambda file: "1.0" in file.filename, "deny", show="yank"),
        FakePolicy(lambda file: "1.1" in file.filename, "trial", mode="observe"),
    ]
    report, text = await asked(guarded(stock, *policies))
    looks = {file.version: (file.look, file.shown) for file in report.files}
    assert looks == {"1.0": ("yanked", True), "1.1": ("listed", True)}
    assert f"rule deny refuses {wheel('1.0')}: refused by a test" in text
    assert f"rule trial would refuse {wheel('1.1')}: refused by a test" in text


async def test_the_project_is_denied_as_a_whole(stock: FakeIndex) -> None:
    report = await explain(guarded(stock, FakePolicy(bool)), Question(ProjectName("banned")), NOW)
    assert hints(report) == ["world refuses banned by rule fake: malware"]


async def test_a_file_does_not_fit_the_python_or_the_platform(stock: FakeIndex) -> None:
    stock.add("demo", wheel("3.0", "cp313-cp313-win_amd64"), b"other")
    stock.add("demo", wheel("4.0"), b"newer", requires_python=">=3.13")
    report, text = await asked(stock, "3.0")
    assert "does not fit the Python and platform that are asked about" in text
    _, text = await asked(stock, "4.0")
    assert "(it needs Python >=3.13)" in text
    assert list(report.would_install.values()) == [wheel("1.1")]


async def test_a_version_is_yanked(stock: FakeIndex) -> None:
    stock.add("demo", wheel("5.0"), b"bad", yanked="broken")
    _, text = await asked(stock, "5.0")
    assert f"{wheel('5.0')} is yanked by its index: broken" in text


async def test_the_index_does_not_list_the_version(stock: FakeIndex) -> None:
    stock.describe("demo", checked=NOW, fresh_until=NOW + 60)
    _, text = await asked(stock, "9.9")
    assert "the page of world, last checked at 2023-11-14T22:13:20Z, has no demo 9.9" in text
    assert "the newest it shows is 1.1" in text


async def test_the_project_has_a_status(stock: FakeIndex) -> None:
    stock.describe("demo", status=ProjectStatus("archived", "done"))
    report, text = await asked(stock)
    assert "world says that demo is archived" in text
    assert report.page
    assert report.page.status_reason == "done"


async def test_what_is_shown_may_be_unseen_by_a_client(stock: FakeIndex) -> None:
    stock.describe("demo", checked=NOW, fresh_until=NOW + 60)
    _, text = await asked(stock, "1.1")
    assert "pip may reuse its page until 2023-11-14T22:14:20Z" in text
    assert "exclude-newer" in text


FILES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(-50, 50), st.booleans()),
    max_size=8,
    unique_by=lambda each: each[0],
)


@given(FILES, st.sets(st.integers(0, 30)), st.integers(0, 100), st.integers(-60, 200))
async def test_shown_is_what_the_page_lists(
    files: Sequence[tuple[int, int, bool]], denied: set[int], age: int, now: int
) -> None:
    stock = FakeIndex("world")
    stock.page_of("demo")
    for number, uploaded, yanked in files:
        stock.add(
            "demo", wheel(f"{number}"), b"", uploaded=upload_time(NOW + uploaded), yanked=yanked
        )
    refused = {wheel(f"{number}") for number in denied}

    def refuses(file: File) -> bool:
        return file.filename in refused

    index = Guarded(stock, [FakePolicy(refuses, show="yank"), Cooldown(age)], lambda: NOW + now)
    report, _ = await asked(index, now=NOW + now)
    page = await index.page(DEMO)
    assert {each.filename for each in report.files if each.shown} == {
        each.filename for each in page.files
    }
    assert {each.filename for each in report.files} == {wheel(f"{each[0]}") for each in files}
    assert {each.filename for each in report.files if each.look == "yanked"} == {
        each.filename for each in page.files if each.yanked
    }


async def test_the_report_has_no_address_of_upstream_and_no_path(
    tmp_path: Path, clock: Clock
) -> None:
    async with Upstream() as upstream:
        site = MirrorSite(tmp_path, upstream, clock)
        upstream.add(make_wheel(site.root / "made", "demo", "1.0"))
        async with site.open() as it:
            await it.mirror.page(DEMO)
            report, text = await asked(it.mirror, now=clock())
    said = msgspec.json.encode(report).decode() + text
    assert "demo-1.0-py3-none-any.whl" in said
    for secret in (str(tmp_path), upstream.url, "127.0.0.1"):
        assert secret not in said
