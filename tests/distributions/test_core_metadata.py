"""The fields of METADATA and PKG-INFO that are accepted."""

from __future__ import annotations

import logging

import pytest

from proxy.distributions.archive_limits import UnusableArchive
from proxy.distributions.core_metadata import (
    Description,
    describe,
    parse_metadata,
    requires_python_of,
)
from proxy.model import ProjectName

FOO = ProjectName("foo-bar")


def _metadata(*lines: str, version: str = "2.1") -> bytes:
    head = (f"Metadata-Version: {version}", "Name: Foo.Bar", "Version: 1.0")
    return "\n".join([*head, *lines, "", "Requires-Python: <3 (this is the description)"]).encode()


def test_the_value_is_passed_on_as_written() -> None:
    metadata = _metadata("Requires-Python: >=2.7, !=3.0.*")
    assert requires_python_of(metadata, FOO, "1.0.0") == ">=2.7, !=3.0.*"


def test_a_folded_value_becomes_one_line() -> None:
    assert (
        parse_metadata(_metadata("Requires-Python: >=3.8,", "  <4")).requires_python == ">=3.8, <4"
    )


@pytest.mark.parametrize("value", [">=3.6.*", "3.6", "banana", ">=3\x01", ">=3\udcff"])
def test_a_value_that_is_no_specifier_set_is_left_out(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    raw = _metadata("Requires-Python: @").replace(b"@", value.encode("utf-8", "surrogateescape"))
    assert parse_metadata(raw).requires_python is None


def test_absent_metadata_gives_none() -> None:
    assert parse_metadata(_metadata()).requires_python is None
    assert parse_metadata(_metadata("Requires-Python:")).requires_python is None


@pytest.mark.parametrize(
    ("project", "version"), [(ProjectName("foo"), "1.0"), (FOO, "1.1"), (FOO, "x")]
)
def test_metadata_of_another_distribution_are_unusable(project: ProjectName, version: str) -> None:
    with pytest.raises(UnusableArchive, match=r"it is foo-bar 1\.0"):
        requires_python_of(_metadata(), project, version)


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"\xff\xfe\x00",
        b"Name: foo-bar\n",
        b"Version: 1.0\n",
        b"Name: foo\nName: bar\nVersion: 1\n",
        b"Name: foo\nVersion: 1\nVersion: 2\n",
        b"Name: ../foo\nVersion: 1\n",
        "Name: fóo\nVersion: 1\n".encode(),
    ],
)
def test_without_one_name_and_one_version_they_are_unusable(metadata: bytes) -> None:
    with pytest.raises(UnusableArchive):
        parse_metadata(metadata)


@pytest.mark.parametrize(
    "fields",
    [
        "".join(f"Field-{number}: x\n" for number in range(1_000)),
        "".join(f"{number:b}: x\n".replace("0", "n").replace("1", "N") for number in range(1_000)),
        "Field-1: x\r" * 30_000,
        ": x\n" * 30_000,
    ],
    ids=["names", "variants of a name", "fields", "fields without a name"],
)
def test_more_fields_than_any_distribution_has_are_not_read(fields: str) -> None:
    """The parser's time grows with the fields times the variants of their names."""
    metadata = f"Name: foo\nVersion: 1\n{fields}".encode()
    with pytest.raises(UnusableArchive, match="too many fields"):
        parse_metadata(metadata)
    assert describe(metadata) == Description()


def test_fields_are_not_the_parts_of_a_mail() -> None:
    parts = "".join(
        f"Content-Type: multipart/mixed; boundary={n}\nno field\n--{n}\n" for n in range(500)
    )
    found = parse_metadata(f"Name: foo\nVersion: 1\n{parts}".encode())
    assert (found.project, found.version) == ("foo", "1")


@pytest.mark.parametrize(
    ("version", "lines", "found"),
    [
        ("2.1", [], None),
        ("2.2", [], ">=3.8"),
        ("2.10", [], ">=3.8"),
        ("3.0", [], ">=3.8"),
        ("2.4", ["Dynamic: Requires-Dist"], ">=3.8"),
        ("2.4", ["Dynamic: requires-python"], None),
        ("x", [], None),
    ],
)
def test_an_sdist_gives_only_static_fields(
    version: str, lines: list[str], found: str | None
) -> None:
    metadata = _metadata("Requires-Python: >=3.8", *lines, version=version)
    assert requires_python_of(metadata, FOO, "1.0", sdist=True) == found


def test_an_sdist_without_a_metadata_version_is_still_identified() -> None:
    assert parse_metadata(b"Name: foo\nVersion: 1\nRequires-Python: >=3\n", sdist=True) == (
        "foo",
        "1",
        None,
    )
