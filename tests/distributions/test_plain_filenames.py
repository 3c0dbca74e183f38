"""The project and kind that file names give, and which names are accepted."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

from proxy.distributions.filenames import (
    belongs_to,
    is_plain_filename,
    plain_filename_pattern,
    safe_filename,
    version_of,
)
from proxy.model import normalize


@pytest.mark.parametrize("spelling", ["Zope.Interface", "zope_interface", "ZOPE-._-interface"])
def test_all_variants_of_a_name_are_one_name(spelling: str) -> None:
    assert normalize(spelling) == "zope-interface"


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a/b", "a\n", "fóo", "..", "a\0", "ſ"])
def test_texts_that_are_no_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a project name"):
        normalize(name)


@pytest.mark.parametrize(
    "name",
    [
        "foo-1.0-py3-none-any.whl",
        "foo-1.0+cu118-cp311-cp311-linux_x86_64.whl",
        "foo-1!2.0.tar.gz",
        "a",
        "foo 1.0.exe",
        "console-1.0.tar.gz",
        "nullable.zip",
        "com10.zip",
        "fóo-1.0.tar.gz",
        "_foo-1.0.tar.gz",
        "x" * 255,
    ],
)
def test_safe_names(name: str) -> None:
    assert safe_filename(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../foo-1.0.tar.gz",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\x7f",
        "a\x85",
        "a:b",
        "c:foo-1.0.tar.gz",
        ".foo-1.0.tar.gz",
        "-foo-1.0.tar.gz",
        "~foo-1.0.tar.gz",
        "foo-1.0.",
        "foo-1.0 ",
        "foo-1.0.tar.gz\n",
        "con",
        "NUL.tar.gz",
        "nul.x-1.0.zip",
        "aux .zip",
        "Com1.whl",
        "lpt9",
        "com¹.zip",
        "CONIN$",
        "x" * 256,
        "ó" * 128,
        "fo\u0301o-1.0.tar.gz",
        "foo\u202egz.rat",
        "foo\ud800",
    ],
)
def test_unsafe_names(name: str) -> None:
    assert not safe_filename(name)


MINE = [
    ("foo", "foo-1.0-py3-none-any.whl"),
    ("foo", "FOO-1.0-py3-none-any.whl"),
    ("foo", "foo-1.0.tar.gz"),
    ("foo", "foo-1.0.zip"),
    ("foo", "foo-1.0-1.tar.gz"),
    ("foo", "foo-1.0-beta-2.zip"),
    ("foo", "foo-1.0-py2.7.egg"),
    ("foo", "foo-1.0.win32-py2.7.exe"),
    ("foo", "foo-1.0.win32.msi"),
    ("foo", "foo-1.0-1.noarch.rpm"),
    ("foo", "foo-2004d.tar.gz"),
    ("foo", "foo-1.0dev-r123.tar.gz"),
    ("foo", "foo-1.0.linux-x86_64.tar.gz"),
    ("foo", "foo-1.0.tar.bz2"),
    ("foo", "foo-1.0_local-py3-none-any.whl"),
    ("foo", "foo-1.0-py3-none-any-v3.whl"),
    ("foo", "foo-1.0-1-py3-none-any-v3.whl"),
    ("foo", "foo-1.0-variants.json"),
    ("foo-bar", "foo-bar-1.0.tar.gz"),
    ("foo-bar", "foo_bar-1.0.tar.gz"),
    ("foo-bar", "Foo.Bar-1.0-py3-none-any.whl"),
    ("foo-bar", "foo__bar-1.0-py3-none-any.whl"),
    ("foo-bar", "foo-bar-1.0-py3-none-any.whl"),
    ("foo-bar", "Foo._-bar-1.0.zip"),
    ("foo-2bar", "foo-2bar-1.0.tar.gz"),
    ("foo-1", "foo-1-2.tar.gz"),
    ("2to3", "2to3-1.0.tar.gz"),
]

NOT_MINE = [
    ("aaa", "bbb-1.0-py3-none-any.whl"),
    ("foo", "foo-bar-1.0.tar.gz"),
    ("foo", "foo_bar-1.0-py3-none-any.whl"),
    ("foo", "foo_bar-1.0.tar.gz"),
    ("foo", "foo-2bar-1.0.tar.gz"),
    ("foo", "foobar-1.0.tar.gz"),
    ("foo", "foo"),
    ("foo", "foo.tar.gz"),
    ("foo", "fo\N{LATIN SMALL LETTER O WITH ACUTE}-1.0.tar.gz"),
    ("foo", "../foo-1.0.tar.gz"),
    ("foo", "a-foo-1.0.tar.gz"),
    ("foo-bar", "foo-1.0.tar.gz"),
    ("foo-2", "foo-2-1.0-py3-none-any.whl"),
    ("sky", "\N{LATIN SMALL LETTER LONG S}ky-1.0.tar.gz"),
    ("sky", "s\N{KELVIN SIGN}y-1.0-py3-none-any.whl"),
]


@pytest.mark.parametrize(("project", "filename"), MINE)
def test_files_of_the_project_are_kept(project: str, filename: str) -> None:
    assert belongs_to(filename, normalize(project))


@pytest.mark.parametrize(("project", "filename"), NOT_MINE)
def test_files_of_other_projects_are_not(project: str, filename: str) -> None:
    assert not belongs_to(filename, normalize(project))


@pytest.mark.parametrize(
    ("project", "filename", "version"),
    [
        ("foo", "foo-1.0-py3-none-any.whl", "1.0"),
        ("foo", "foo-1.0+CU.118-1-py3-none-any.whl", "1.0+cu.118"),
        ("foo", "foo-1.0-py3-none-any-v3.whl", "1.0"),
        ("foo", "foo-1.0-1.tar.gz", "1.0.post1"),
        ("foo", "foo-v1.0RC1.zip", "1.0rc1"),
        ("foo", "foo-1.0.tar.bz2", "1.0"),
        ("foo-bar", "foo-bar-1!2.tar.gz", "1!2"),
        ("foo", "foo-2004d.tar.gz", None),
        ("foo", "foo-1.0.linux-x86_64.tar.gz", None),
        ("foo", "foo-1.0-py2.7.egg", None),
        ("foo", "foo-1.0.whl", None),
        ("foo", "foo-bar-1.0-py3-none-any.whl", None),
        ("foo", "bar-1.0.tar.gz", None),
    ],
)
def test_the_version_in_the_name(project: str, filename: str, version: str | None) -> None:
    assert version_of(filename, normalize(project)) == version


PIECES = st.sampled_from(
    ["foo", "Foo", "bar", "2bar", "1.0", "2", "py3", "none", "any", "x86_64", "-", "-", "_", "."]
)
ENDS = st.sampled_from([".whl", ".tar.gz", ".zip", ".egg", ".WHL", ""])
NAMES = st.builds(lambda parts, end: "".join(parts) + end, st.lists(PIECES, max_size=12), ENDS)
PROJECTS = st.sampled_from(["foo", "foo-bar", "foo-2", "foo-2bar", "nul-x"]).map(normalize)


@given(NAMES | st.text(max_size=12), PROJECTS)
@example("nul.x-1.0.zip", "nul-x")
@example("nul_x-1.0.zip", "nul-x")
def test_ordinary_names_are_safe_and_belong(filename: str, project: str) -> None:
    name = normalize(project)
    if re.fullmatch(plain_filename_pattern(name), filename):
        assert safe_filename(filename)
        assert belongs_to(filename, name)


@given(NAMES | st.text(max_size=12), PROJECTS)
@example("nul.x-1.0.zip", "nul-x")
@example("foo-1.0.zip\n", "foo")
@example("\u017foo-1.0.zip", "soo")
@example("foo.bar-1.0-1.tar.gz", "foo-bar")
def test_a_name_is_ordinary_whichever_way_that_is_found(filename: str, project: str) -> None:
    name = normalize(project)
    assert is_plain_filename(filename, name) == bool(
        re.fullmatch(plain_filename_pattern(name), filename)
    )


@given(NAMES, PROJECTS)
@example("--1.0.tar.gz", "foo")  # to packaging, "-" is a name
def test_packaging_has_the_first_word(filename: str, project: str) -> None:
    name = normalize(project)
    try:
        if filename.endswith(".whl"):
            found, version, *_ = parse_wheel_filename(filename)
        else:
            found, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return
    if str(found) == name:
        assert belongs_to(filename, name)
        assert version_of(filename, name) == str(version)
    elif filename.endswith(".whl"):
        assert not belongs_to(filename, name)


@pytest.mark.parametrize("length", [*range(240, 258)])
def test_ordinary_names_are_short_enough_however_long_the_project(length: int) -> None:
    project = normalize("x" * length)
    for rest in range(12):
        filename = f"{project}-{'1' * rest}.zip"
        if re.fullmatch(plain_filename_pattern(project), filename) or is_plain_filename(
            filename, project
        ):
            assert safe_filename(filename)
