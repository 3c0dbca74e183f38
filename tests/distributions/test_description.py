"""The description in METADATA and PKG-INFO, for human pages."""

from __future__ import annotations

import pytest

from proxy.distributions.core_metadata import Description, describe

FULL = b"""Metadata-Version: 2.4
Name: Foo.Bar
Version: 1.0
Summary: Does
 foo.
Author-email: "Ada, Countess" <ada@example.com>, Bob <bob@example.com>
License-Expression: MIT
Requires-Python: >=3.8
Requires-Dist: bar>=2
Requires-Dist: baz; extra == 'x'
Project-URL: Source, https://example.com/source
Project-URL: Evil, javascript:alert(1)
Project-URL: Quote, https://example.com/"onclick=
Home-page: https://example.com/
Description-Content-Type: text/markdown; charset=UTF-8; variant=GFM

# Foo

Uses *foo* \xe2\x98\x83.
"""


def test_every_field_that_is_shown() -> None:
    assert describe(FULL) == Description(
        name="Foo.Bar",
        summary="Does foo.",
        author="Ada, Countess",
        license="MIT",
        requires_python=">=3.8",
        requires=("bar>=2", "baz; extra == 'x'"),
        links=(("Homepage", "https://example.com/"), ("Source", "https://example.com/source")),
        text="# Foo\n\nUses *foo* ☃.",
        content_type="text/markdown; charset=UTF-8; variant=GFM",
    )


def test_missing_and_unknown_fields_are_empty() -> None:
    assert describe(b"") == Description()
    unknown = b"Name: foo\nSummary: UNKNOWN\nAuthor: UNKNOWN\nLicense: UNKNOWN\n\nUNKNOWN\n"
    assert describe(unknown) == Description(name="foo")


@pytest.mark.parametrize("prefix", [b"        ", b"       |"])
def test_a_description_in_a_field_loses_its_indentation(prefix: bytes) -> None:
    lines = [b"Description: Title", b"=====", b"", b"    code", b"text"]
    folded = lines[0] + b"\n" + b"".join(prefix + line + b"\n" for line in lines[1:])
    assert describe(b"Name: foo\n" + folded).text == "Title\n=====\n\n    code\ntext"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"License: The whole\n        text of it\n", "The whole"),
        (b"License-Expression: MIT\nLicense: other\n", "MIT"),
        (b"Classifier: License :: OSI Approved :: BSD License\n", "BSD License"),
        (b"License: UNKNOWN\nClassifier: License :: Public Domain\n", "Public Domain"),
    ],
)
def test_licences_are_shown_in_short_form(fields: bytes, expected: str) -> None:
    assert describe(b"Name: foo\n" + fields).license == expected


def test_an_address_is_shown_only_where_there_is_no_name() -> None:
    assert describe(b"Author: Ada\nAuthor-email: ada@example.com\n").author == "Ada"
    assert describe(b"Author-email: ada@example.com\n").author == "ada@example.com"
    assert describe(b"Maintainer-email: Bob <b@example.com>\n").author == "Bob"


@pytest.mark.parametrize(
    "metadata",
    [
        b"\xff\xfe\x00Name: foo",
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\npart\n--x--\n",
        b"Name: a\x1b[31mb\nSummary: x\x00y\n\n\x1b[2J\x00text",
        b"Name\n\n" * 1000,
        b"Summary: =?utf-8?b?x?=\n",
        b"Content-Transfer-Encoding: base64\n\n!!!!",
    ],
)
def test_hostile_metadata_are_text_without_control_characters(metadata: bytes) -> None:
    description = describe(metadata)
    shown = description.name + description.summary + description.author + description.text
    assert not {c for c in shown if ord(c) < 32 and c not in "\t\n"}
