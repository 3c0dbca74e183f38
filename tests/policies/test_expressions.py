"""Rule ``expression``: conditions in CEL, their facts, their errors, and when they change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.model import File, ProjectPage, ProjectStatus, normalize
from proxy.policies import Condition, Expression, NoVerdict, PageView, parse_names
from tests.support.advisories import osv
from tests.support.rule_views import NOW, advisories_of, refused_by, view_of

DAY = 86400.0
CP311 = "aaa-2.0-cp311.cp312-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"


def at(age: float) -> str:
    return datetime.fromtimestamp(NOW - age, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def page(now: float = NOW) -> PageView:
    files = (
        File(
            "aaa-1.0.tar.gz",
            "",
            {"sha256": "1" * 64},
            size=2_000_000,
            uploaded=at(30 * DAY),
            yanked="broken",
        ),
        File(
            CP311,
            "",
            size=1000,
            uploaded=at(2 * DAY),
            requires_python=">=3.9",
            provenance="https://example.com/p",
        ),
        File("aaa-3.0rc1-py3-none-any.whl", ""),
    )
    found = ProjectPage(normalize("aaa"), files, status=ProjectStatus("archived"))
    return PageView(found, now, parse_names(found))


def rule(source: str, **options: Any) -> Expression:
    return Expression(Condition(source), **options)


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("true", "1.0 2.0 3.0rc1"),
        ("false", ""),
        ('project.name == "aaa"', "1.0 2.0 3.0rc1"),
        ('project.status == "archived" && project.files == 3', "1.0 2.0 3.0rc1"),
        ("release.prerelease", "3.0rc1"),
        ('release.version == "1.0" || file.version == "2.0"', "1.0 2.0"),
        ("release.files == 1", "1.0 2.0 3.0rc1"),
        ('file.kind == "sdist"', "1.0"),
        ('file.name.endsWith(".whl")', "2.0 3.0rc1"),
        ("has(file.size) && file.size > 1000000", "1.0"),
        ('has(file.age) && file.age < duration("72h")', "2.0"),
        ('has(release.age) && release.age >= duration("72h")', "1.0"),
        ("!has(file.uploaded)", "3.0rc1"),
        ('has(file.uploaded) && file.uploaded > timestamp("2027-01-01T00:00:00Z")', "2.0"),
        ('file.yanked && file.yank_reason == "broken"', "1.0"),
        ('file.requires_python == ""', "1.0 3.0rc1"),
        ('"cp312-cp311-manylinux2014_x86_64" in file.tags', "2.0"),
        ('"cp311" in file.pythons && "cp311" in file.abis', "2.0"),
        ('file.platforms.exists(each, each.startsWith("manylinux"))', "2.0"),
        ("file.tags == []", "1.0"),
        (f'file.sha256 == "{"1" * 64}"', "1.0"),
        ("file.provenance", "2.0"),
        ('file.licence == "MIT"', "2.0"),
        ("release.severity >= 9.0 && file.severity >= 9.0", "1.0"),
        ('"CVE-1" in release.advisories', "1.0"),
        ("release.malware", "2.0"),
        ('file["size"] == 1000 || true', "1.0 2.0 3.0rc1"),
        ('file.name.matches("^aaa-[0-9]") && !("x" in file.tags)', "1.0 2.0 3.0rc1"),
    ],
)
def test_facts(source: str, refused: str) -> None:
    known = advisories_of(
        osv(
            "GHSA-1",
            versions=["1.0"],
            aliases=["CVE-1"],
            database_specific={"severity": "CRITICAL"},
        ),
        osv("MAL-1", versions=["2.0"]),
    )
    licence_of = {CP311: "MIT"}.get
    found = rule(source, about=known.about, licences_of=lambda project: licence_of)
    assert refused_by(found, page()).keys() == set(refused.split())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("file.(", "Syntax error"),
        ("", "rror"),
        ("file.siez > 3", "file.siez is unknown; file has "),
        ("true || release.aeg > 3", "release.aeg is unknown"),
        ("fiel.size > 3", "'fiel'"),
        ("file.size", "the value is of type int"),
        ("file.age < 3", "No such overload"),
        ('file.size > "3"', "No such overload"),
        ("file.size / 0 == 1", "division by zero"),
        ('file.nmae == "x"', "file.nmae is unknown"),
        ('file.name.lower() == "x"', "lower"),
        # The library would skip these parts for the file that is tried.
        ('file.kind == "egg" && file.size > "3"', 'file.size > "3": No such overload'),
        ("true || (file.yanked && !(file.age < 3))", "file.age < 3: No such overload"),
        ('true ? true : file.name.lower() == "x"', "lower"),
        ("false && file.size", "file.size is a number, and not true or false"),
        ('file.size == "3"', 'compares two types: file.size is a number and "3" is a text'),
        ('true || file.age != "72h"', 'file.age is a duration and "72h" is a text'),
    ],
)
def test_an_expression_is_checked_as_it_is_compiled(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Condition(source)


@pytest.mark.parametrize(
    "source",
    [
        'file.name == "file.siez and release.aeg"',
        "true // file.siez is no fact, 'nor is this a text",
        r"""file.name.matches(r"\.whl") || file.name == '''a"b && file.siez'''""",
        'size(file.tags) > 3 && file.tags[3] == "x"',
        "has(file.size) ? file.size > 3 : true",
        "file.size == 1000.0 || file.size != 3u",
        "size(file.tags) == 0 && 10 / size(file.yank_reason) > 1 || file.yank_reason != null",
        '[file.kind].exists(each, each == "sdist" || each.startsWith("w")) && {"a": true}["a"]',
        "!(!(false || ((file.yanked))))",
        "project == project || file.tags == []",
    ],
)
def test_what_is_right_is_accepted(source: str) -> None:
    Condition(source)


def test_an_absent_fact_is_no_verdict_and_names_the_file() -> None:
    with pytest.raises(NoVerdict, match=r"there is no 'size' in 'file.size > 10'") as error:
        list(rule("file.size > 10").judge(page()))
    assert str(error.value).startswith("aaa-")


def test_the_reason_shows_the_expression_in_one_short_line() -> None:
    (reason,) = set(refused_by(rule("true ||\n   " + "false || " * 30 + "false"), page()).values())
    assert reason.startswith("true is: true || false ||")
    assert len(reason) <= 110


@pytest.mark.parametrize(
    ("source", "age"),
    [
        ('has(file.age) && file.age < duration("72h")', 3 * DAY),
        ('has(file.age) && file.age <= duration("72h")', 3 * DAY),
        ('has(file.age) && duration("72h") > file.age', 3 * DAY),
        ('has(release.age) && release.age < duration("48h30m")', 2 * DAY + 1800),
        ("has(file.age) && file.age < duration('259200s')", 3 * DAY),
        ('has(file.age) && (file.age < duration("1h") || file.age < duration("72h"))', 3 * DAY),
    ],
)
def test_a_comparison_of_an_age_ends_at_its_instant(source: str, age: float) -> None:
    """The file of 2.0 is two days old."""
    found = {each.files[0]: each for each in rule(source).judge(page())}
    assert found[1].refuses
    end = found[1].until
    assert end is not None
    matures = NOW - 2 * DAY + age
    assert end == pytest.approx(matures, abs=1e-3)
    assert "2.0" in refused_by(rule(source), page(end - 0.01))
    assert "2.0" not in refused_by(rule(source), page(end + 0.01))


@pytest.mark.parametrize("source", ["file.size > 3 || true", "release.prerelease", "true"])
def test_an_expression_without_age_never_changes_by_itself(source: str) -> None:
    assert {each.until for each in rule(source).judge(page())} <= {None}


@pytest.mark.parametrize(
    "source",
    [
        'has(file.age) && file.age + duration("1h") < duration("72h")',
        'has(file.age) && duration("1h") + file.age < duration("72h")',
        'has(file.age) && file.age < duration("36h") + duration("36h")',
        "has(file.age) && file.age.getHours() < 72",
        'has(file.age) && file["age"] < duration("72h")',
        """file.name != "file.age < duration('1h')" && has(file.age) && file.age != file.age""",
        'has(file.age) && [file.age].exists(each, each < duration("72h"))',
    ],
)
def test_any_other_use_of_an_age_is_judged_again_each_minute(source: str) -> None:
    found = list(rule(source).judge(page()))
    assert {each.until for each in found} == {NOW + 60}


def test_pages_that_are_judged_at_the_same_time_keep_their_facts_apart() -> None:
    found = rule('project.name == "aaa" && file.size > 5')
    versions = [f"{number}.0" for number in range(1000)]
    sizes = {each: {"size": 10} for each in versions}
    views = [view_of(*versions, project=project, files=sizes) for project in ("aaa", "bbb")]
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda view: len(refused_by(found, view)), views * 10))
    assert results == [1000, 0] * 10


def test_a_private_file_of_a_merged_release_has_no_advisories() -> None:
    """Whichever is listed first: the facts of one file are not those of the next."""
    known = advisories_of(osv("MAL-1", versions=["1.0"]))
    private = File("aaa-1.0.tar.gz", "file:///packages/aaa-1.0.tar.gz")
    public = File("aaa-1.0-py3-none-any.whl", "https://files.example.com/aaa")
    for files in ((private, public), (public, private)):
        merged = ProjectPage(normalize("aaa"), files)
        view = PageView(merged, NOW, parse_names(merged))
        for source in ("release.malware", 'release.malware && file.kind == "wheel"'):
            (finding,) = rule(source, about=known.about).judge(view)
            assert [files[at] for at in finding.files] == [public]
