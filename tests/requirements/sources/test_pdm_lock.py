from __future__ import annotations

from pathlib import Path

import pytest

from proxy.requirements.model import UnreadableSource
from proxy.requirements.sources.pdm_lock import read_pdm_lock
from tests.support.requirement_sources import choice, document, filenames

A, B = "a1" * 32, "b2" * 32
END = '[metadata]\nlock_version = "4.5.0"\ncontent_hash = "sha256:0"\n'

NEW = f"""
{END}
[[package]]
name = "foo"
version = "1.0"
requires_python = ">=3.8"
summary = ""
groups = ["default"]
marker = "sys_platform == 'linux'"
files = [
    {{file = "foo-1.0-py3-none-any.whl", hash = "sha256:{A}"}},
    {{file = "foo-1.0-cp311-cp311-win_amd64.whl", hash = "sha256:{A}"}},
]

[[package]]
name = "foo"
version = "1.0"
extras = ["more"]
marker = "sys_platform == 'linux'"
dependencies = ["foo==1.0", "bar"]
files = [{{file = "foo-1.0-py3-none-any.whl", hash = "sha256:{A}"}}]

[[package]]
name = "bar"
version = "2"
marker = "sys_platform == 'win32'"
files = [{{url = "https://example.com/bar-2-py3-none-any.whl", hash = "sha256:{B}"}}]
"""

OLD = f"""
[[package]]
name = "foo"
version = "1.0"
[metadata]
lock_version = "4.0"
[metadata.files]
"Foo 1.0" = [{{url = "https://me:secret@example.com/foo-1.0.tar.gz", hash = "sha256:{A}"}}]
"""


def test_new_form_has_files_beside_each_version_each_taken_once() -> None:
    wants = read_pdm_lock(document(NEW), choice())
    assert [each.filename for each in wants.files] == ["foo-1.0-py3-none-any.whl"]


def test_file_may_be_given_by_address() -> None:
    wants = read_pdm_lock(document(NEW), choice(platforms=("windows",)))
    (file,) = wants.files
    assert file.filename == "bar-2-py3-none-any.whl"
    assert file.url_hint == "https://example.com/bar-2-py3-none-any.whl"


def test_old_form_has_files_by_project_and_version() -> None:
    (file,) = read_pdm_lock(document(OLD), choice()).files
    assert (file.filename, file.hashes) == ("foo-1.0.tar.gz", {"sha256": A})
    assert file.url_hint == "https://example.com/foo-1.0.tar.gz"


@pytest.mark.parametrize(
    ("line", "origin"),
    [
        ('git = "https://me:secret@example.com/x"', "git"),
        ('url = "https://me:secret@example.com/x.zip"', "an address"),
        ('path = "./x-1.0.tar.gz"', "a local file"),
    ],
)
def test_a_package_from_elsewhere_than_an_index_is_reported(line: str, origin: str) -> None:
    text = f'{END}[[package]]\nname = "foo"\nversion = "1"\n{line}\n'
    (skipped,) = read_pdm_lock(document(text), choice()).skipped
    assert str(skipped) == f"given: foo: comes from {origin}, not from an index"


def test_what_builds_a_local_directory_is_wanted_too(tmp_path: Path) -> None:
    text = f'{END}[[package]]\nname = "foo"\nversion = "1"\npath = "./here"\n'
    (tmp_path / "here").mkdir()
    wants = read_pdm_lock(document(text, tmp_path), choice())
    assert [each.text for each in wants.requirements] == ["setuptools>=40.8.0\n"]
    assert filenames(wants) == set()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "metadata"),
        (OLD.replace('lock_version = "4.0"', ""), "lock_version"),
        (NEW.replace("hash", "hsh"), "hash"),
        (OLD.replace('"1.0"', "1.0"), "$.package[0].version"),
        (OLD.replace("foo-1.0.tar.gz", ".hidden"), "not a filename of the project"),
    ],
)
def test_broken_lock_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UnreadableSource, match="given") as caught:
        read_pdm_lock(document(text), choice())
    assert problem in str(caught.value)


@pytest.mark.parametrize(("strategy", "certain"), [("inherit_metadata", True), ("x", False)])
def test_version_without_a_fitting_file_is_missing_only_if_it_is_surely_needed(
    strategy: str, certain: bool
) -> None:
    text = END.replace("[metadata]", f'[metadata]\nstrategy = ["{strategy}"]')
    text += '[[package]]\nname = "foo"\nversion = "1"\n'
    text += f'files = [{{file = "foo-1-cp312-cp312-win_amd64.whl", hash = "{"sha256:" + A}"}}]\n'
    wants = read_pdm_lock(document(text), choice())
    assert (len(wants.skipped), len(wants.notes)) == ((1, 0) if certain else (0, 1))


def test_version_without_any_file_is_missing() -> None:
    (skipped,) = read_pdm_lock(
        document(END + '[[package]]\nname = "foo"\nversion = "1"\n'), choice()
    ).skipped
    assert skipped.what == "foo 1"
