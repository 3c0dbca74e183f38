"""Files by version."""

from __future__ import annotations

import pytest

from proxy.model import File, ProjectName
from proxy.releases.grouping import group_by_release, newest_release
from tests.support.exports import FOO


def files(*names: str, yanked: bool = False) -> list[File]:
    return [File(name, f"file:///{name}", yanked=yanked) for name in names]


def test_the_newest_comes_first_and_wheels_before_sdists() -> None:
    names = ["foo-1.9.tar.gz", "foo-1.10.tar.gz", "foo-1.10-py3-none-any.whl", "foo-x.y.tar.gz"]
    found = group_by_release(FOO, files(*names))
    assert [(each.version, [file.filename for file in each.files]) for each in found] == [
        ("1.10", [names[2], names[1]]),
        ("1.9", [names[0]]),
        ("", [names[3]]),
    ]


def test_every_file_is_in_one() -> None:
    names = ["foo-1.0-py2.7.egg", "foo-1.0.win32.exe", "foo-1.0.tar.Z", "foo-1.0-1.noarch.rpm"]
    found = group_by_release(FOO, files(*names))
    assert sorted(file.filename for each in found for file in each.files) == sorted(names)


@pytest.mark.parametrize(
    ("kept", "yanked", "expected"),
    [
        (["1.0", "2.0"], [], "2.0"),
        (["1.0", "2.0rc1"], [], "1.0"),
        (["1.0"], ["2.0"], "1.0"),
        (["2.0rc1"], ["1.0"], "2.0rc1"),
        (["1.0rc1", "1.0rc2"], [], "1.0rc2"),
        ([], ["1.0", "2.0"], "2.0"),
    ],
)
def test_the_newest_release_is_the_one_that_installers_choose(
    kept: list[str], yanked: list[str], expected: str
) -> None:
    listed = files(*(f"foo-{version}.tar.gz" for version in kept))
    listed += files(*(f"foo-{version}.tar.gz" for version in yanked), yanked=True)
    assert newest_release(group_by_release(FOO, listed)).version == expected


def test_an_sdist_of_another_reading_is_in_the_right_release() -> None:
    (found,) = group_by_release(ProjectName("foo-2"), files("foo-2-1.0.tar.gz"))
    assert found.version == "1.0"
