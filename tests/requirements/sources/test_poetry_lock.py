from __future__ import annotations

from pathlib import Path

import pytest

from proxy.model import normalize
from proxy.requirements.model import PinnedVersion, UnreadableSource
from proxy.requirements.sources.poetry_lock import read_poetry_lock
from tests.support.requirement_sources import choice, document, filenames

A, B = "a1" * 32, "b2" * 32

NEW = f"""
[[package]]
name = "foo"
version = "1.0"
optional = false
python-versions = ">=3.8"
groups = ["main", "dev"]
markers = MARKERS
files = [
    {{file = "foo-1.0-py3-none-any.whl", hash = "sha256:{A}"}},
    {{file = "foo-1.0-cp312-cp312-win_amd64.whl", hash = "sha256:{A}"}},
    {{file = "foo-1.0.tar.gz", hash = "sha256:{B}"}},
]

[metadata]
lock-version = "2.1"
python-versions = ">=3.10"
content-hash = "0"
"""

OLD = f"""
[[package]]
name = "foo"
version = "1.0.0"
category = "main"

[[package]]
name = "foo"
version = "2.0.0"
category = "main"

[metadata]
lock-version = "1.1"
content-hash = "0"

[metadata.files]
Foo = [
    {{file = "foo-1.0.0.tar.gz", hash = "sha256:{A}"}},
    {{file = "foo-2.0.0.tar.gz", hash = "sha256:{B}"}},
]
"""


@pytest.mark.parametrize(
    ("markers", "needed"),
    [
        ('"python_version >= \\"3.10\\""', True),
        ('"sys_platform == \\"win32\\""', False),
        ('{main = "sys_platform == \\"win32\\"", dev = "python_version > \\"3\\""}', True),
        ('{main = "sys_platform == \\"win32\\"", dev = "python_version < \\"3\\""}', False),
    ],
)
def test_new_form_has_files_beside_each_version(markers: str, needed: bool) -> None:
    wants = read_poetry_lock(document(NEW.replace("MARKERS", markers)), choice())
    expected = {"foo-1.0-py3-none-any.whl", "foo-1.0.tar.gz"} if needed else set()
    assert filenames(wants) == expected


def test_old_form_has_files_of_all_versions_in_one_list() -> None:
    wants = read_poetry_lock(document(OLD), choice())
    assert [(each.version, each.filename, each.hashes) for each in wants.files] == [
        ("1.0.0", "foo-1.0.0.tar.gz", {"sha256": A}),
        ("2.0.0", "foo-2.0.0.tar.gz", {"sha256": B}),
    ]


def test_oldest_form_has_digests_without_names() -> None:
    text = '[[package]]\nname = "foo"\nversion = "1.0"\n[metadata]\ncontent-hash = "0"\n'
    text += f'[metadata.hashes]\nfoo = ["{A}", "{B}"]\n'
    chosen = choice()
    (version,) = read_poetry_lock(document(text), chosen).versions
    known = frozenset({f"sha256:{A}", f"sha256:{B}"})
    assert version == PinnedVersion(normalize("foo"), "1.0", known, chosen.targets)


@pytest.mark.parametrize("kind", ["git", "url", "file"])
def test_a_package_from_elsewhere_than_an_index_is_reported(kind: str) -> None:
    source = f'[package.source]\ntype = "{kind}"\nurl = "https://me:secret@example.com/x"\n'
    text = f'[[package]]\nname = "foo"\nversion = "1"\n{source}[metadata]\ncontent-hash = "0"\n'
    (skipped,) = read_poetry_lock(document(text), choice()).skipped
    assert str(skipped) == f"given: foo: comes from {kind}, not from an index"


def test_another_index_is_an_index() -> None:
    source = '[package.source]\ntype = "legacy"\nurl = "https://example.com"\nreference = "x"\n'
    text = OLD.replace('category = "main"\n', 'category = "main"\n' + source)
    assert len(read_poetry_lock(document(text), choice()).files) == 2


def test_local_directory_is_built_by_setuptools_unless_it_says_otherwise(tmp_path: Path) -> None:
    source = '[package.source]\ntype = "directory"\nurl = "there"\n'
    text = f'[[package]]\nname = "foo"\nversion = "1"\n{source}[metadata]\ncontent-hash = "0"\n'
    (asked,) = read_poetry_lock(document(text, tmp_path), choice()).requirements
    assert asked.text == "setuptools>=40.8.0\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "metadata"),
        (NEW.replace("MARKERS", "3"), "$.package[0].markers"),
        (NEW.replace("MARKERS", '"x"'), "not an environment marker"),
        (OLD.replace(A, "zz"), "a hash is not"),
        (OLD.replace('version = "1.0.0"', 'version = "x"'), "not a version"),
        (OLD.replace("foo-1.0.0.tar.gz", "/etc/passwd"), "not a filename of the project"),
    ],
)
def test_broken_lock_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UnreadableSource, match="given") as caught:
        read_poetry_lock(document(text), choice())
    assert problem in str(caught.value)


@pytest.mark.parametrize(("form", "certain"), [("2.1", True), ("2.0", False), ("1.1", False)])
def test_version_without_a_fitting_file_is_missing_only_if_it_is_surely_needed(
    form: str, certain: bool
) -> None:
    text = NEW.replace("markers = MARKERS\n", "").replace('"2.1"', f'"{form}"')
    wants = read_poetry_lock(document(text.replace("py3-none-any", "py2-none-any")), choice())
    assert (wants.skipped, wants.notes) == ((), ())
    text = text.replace("py3-none-any", "py2-none-any").replace("foo-1.0.tar.gz", "foo-1.0.exe")
    wants = read_poetry_lock(document(text), choice())
    assert (len(wants.skipped), len(wants.notes)) == ((1, 0) if certain else (0, 1))
