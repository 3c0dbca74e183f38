"""The project and version in file names, and names that are refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.utils import parse_wheel_filename

from proxy.distributions.filenames import (
    DistributionKind,
    kind_of,
    parse_filename,
    safe_filename,
    same_version,
    split_readings,
    version_for,
)
from proxy.model import ProjectName, normalize


@pytest.mark.parametrize(
    ("filename", "kind"),
    [
        ("foo-1.0-py3-none-any.whl", DistributionKind.WHEEL),
        ("foo-1.0.tar.gz", DistributionKind.SDIST),
        ("foo-1.0.zip", DistributionKind.SDIST),
        ("foo-1.0.tar.bz2", DistributionKind.LEGACY),
        ("foo-1.0.tgz", DistributionKind.LEGACY),
        ("foo-1.0.tar", DistributionKind.LEGACY),
        ("foo-1.0.egg", DistributionKind.LEGACY),
        ("foo-1.0.win32.exe", DistributionKind.LEGACY),
        ("foo-1.0.TAR.GZ", None),
        ("foo-1.0-py3-none-any.WHL", None),
        ("foo-1.0-py3-none-any.whl.metadata", None),
        ("foo-1.0.tar.gz.part", None),
        ("foo-1.0.tar.gz.asc", None),
        ("foo-1.0.html", None),
        ("README", None),
        ("", None),
    ],
)
def test_the_extension_gives_the_kind(filename: str, kind: DistributionKind | None) -> None:
    assert kind_of(filename) == kind


@pytest.mark.parametrize(
    ("filename", "identity"),
    [
        ("Foo.Bar-1.0-py3-none-any.whl", ("foo-bar", "1.0", True)),
        ("foo_bar-1.0-1-cp311-cp311-win_amd64.whl", ("foo-bar", "1.0", True)),
        ("foo-1.0+l.1-py3-none-any.whl", ("foo", "1.0+l.1", True)),
        ("foo-1.0.0RC1-py3-none-any.whl", ("foo", "1.0.0rc1", True)),
        ("foo-1.0.tar.gz", ("foo", "1.0", True)),
        ("foo_bar-1.0.tar.gz", ("foo-bar", "1.0", True)),
        ("foo-bar-1.0.zip", ("foo-bar", "1.0", False)),
        ("foo-1.0-1.tar.gz", ("foo-1-0", "1", False)),
        ("foo-2004d.tar.gz", ("foo", "2004d", False)),
        ("foo-1.0dev-r123.tar.gz", ("foo", "1.0dev-r123", False)),
        ("foo-1.0.linux-x86_64.tar.gz", ("foo", "1.0.linux-x86_64", False)),
        ("foo-bar-1.0.tar.bz2", ("foo-bar", "1.0", False)),
        ("foo-1.0.tgz", ("foo", "1.0", False)),
        ("foo_bar-1.0-py2.7.egg", ("foo-bar", "1.0", True)),
        ("foo_bar-1.0_2-py2.7-linux_x86_64.egg", ("foo-bar", "1.0.post2", True)),
        ("foo-bar-1.0.win-amd64-py2.7.exe", ("foo-bar", "1.0", True)),
        ("foo-1.0.win32.msi", ("foo", "1.0", True)),
    ],
)
def test_names_that_can_be_read(filename: str, identity: tuple[str, str, bool]) -> None:
    assert parse_filename(filename) == identity


@pytest.mark.parametrize(
    "filename",
    [
        "foo__bar-1.0-py3-none-any.whl",
        "foo-bar-1.0-py3-none-any.whl",
        "foo-1.0_local-py3-none-any.whl",
        "foo-1.0-x86-py3-none-any.whl",
        "foo-1.0-py3-none-any-v3.whl",
        "foo-1.0-1-py3-none-any-v3.whl",
        "foo-1.0-py3-none-any.WHL",
        "foo-1.0-py3-none-any.whl ",
        "foo-1.0-py3-none-any.whl\n",
        "fóo-1.0-py3-none-any.whl",
        "foo-1.٠.tar.gz",
        "foo--1.0.tar.gz",
        "../foo-1.0.tar.gz",
        "/foo-1.0.tar.gz",
        "a/foo-1.0-py3-none-any.whl",
        "a\\foo-1.0-py3-none-any.whl",
        "..-1.0.tar.gz",
        ".foo-1.0.tar.gz",
        "~foo-1.0.tar.gz",
        "-foo-1.0.tar.gz",
        "_foo-1.0.tar.gz",
        "foo- 1.0.tar.gz",
        "foo-1.0\0.tar.gz",
        "c:foo-1.0.tar.gz",
        "con.foo-1.0.tar.gz",
        "FOO-1.0.TAR.GZ",
        "foo.tar.gz",
        "foo-.tar.gz",
        "foo-bar.tar.gz",
        "-1.0.tar.gz",
        ".whl",
        ".tar.gz",
        "foo.egg",
        "foo-1.0.exe",
        "python3-foo_1.0-1_all.deb",
        "foo-1.0-1.noarch.rpm",
        "f" * 250 + "-1.0.tar.gz",
    ],
)
def test_names_that_are_refused(filename: str) -> None:
    assert parse_filename(filename) is None


def test_a_name_with_several_dashes_has_several_readings() -> None:
    assert list(split_readings("foo-bar-1.0-1.tar.gz")) == [
        ("foo", "bar-1.0-1"),
        ("foo-bar", "1.0-1"),
        ("foo-bar-1-0", "1"),
    ]


def test_the_rest_of_a_name_is_the_version_of_the_project_it_spells() -> None:
    assert version_for("Foo_Bar-1.0-1.tar.gz", ProjectName("foo-bar")) == "1.0-1"
    assert version_for("foobar-1.0.tar.gz", ProjectName("foo-bar")) is None
    assert version_for("foo-.tar.gz", ProjectName("foo")) is None


def test_versions_are_compared_by_meaning_where_they_have_one() -> None:
    assert same_version("1.0-1", "1.0.post1")
    assert same_version("2004d", "2004d")
    assert not same_version("2004d", "2004")
    assert not same_version("1" * 5000, "1"), "Python refuses to convert that many digits"


PARTS = st.text("aZ09_.+!-", max_size=5)


@given(st.tuples(PARTS, PARTS, st.sampled_from(["py3-none-any", "py2.py3-none-any", "x-y", "-"])))
@example(("foo", "1.00", "py3-none-any"))
@example(("foo_", "1", "py3-none-any"))
@example(("foo", "1.2.0", "cp312-cp312-manylinux_2_28_x86_64.manylinux2014_x86_64"))
def test_plain_wheels_are_read_as_all_others(parts: tuple[str, str, str]) -> None:
    filename = f"{'-'.join(parts)}.whl"
    if not safe_filename(filename):
        return
    try:
        name, version, _, _ = parse_wheel_filename(filename)
        expected = normalize(name), str(version), True
    except ValueError:
        assert parse_filename(filename) is None
    else:
        assert parse_filename(filename) == expected
