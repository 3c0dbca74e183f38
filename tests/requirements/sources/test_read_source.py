"""Which reader an argument gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.requirements.model import UnreadableSource
from proxy.requirements.sources import read_source
from proxy.requirements.sources.document import MAX_DOCUMENT
from tests.support.requirement_sources import choice, filenames


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "pylock.pip.toml"])
def test_lock_is_known_by_its_name_and_by_what_is_in_it(
    name: str, locked_project: Path, tmp_path: Path
) -> None:
    renamed = tmp_path / "renamed.lock"
    renamed.write_bytes((locked_project / name).read_bytes())
    own = read_source(str(locked_project / name), choice())
    assert own.files
    assert filenames(read_source(str(renamed), choice())) == filenames(own)


@pytest.mark.parametrize("key", ["content-hash", "lock_version"])
def test_locks_of_poetry_and_pdm_are_known_by_what_is_in_them(key: str, tmp_path: Path) -> None:
    lock = tmp_path / "other.lock"
    lock.write_text(
        f'[metadata]\n{key} = "1"\n[[package]]\nname = "foo"\nversion = "1"\n'
        f'files = [{{file = "foo-1.tar.gz", hash = "sha256:{"a" * 64}"}}]\n'
    )
    assert filenames(read_source(str(lock), choice())) == {"foo-1.tar.gz"}


@pytest.mark.parametrize("name", ["pyproject.toml", "."])
def test_extras_and_groups_of_a_project_are_chosen(name: str, locked_project: Path) -> None:
    wants = read_source(f"{locked_project}/{name}", choice(), extras=["more"], groups=())
    assert wants.requirements[-1].text.endswith("epsilon\nzeta\n")


@pytest.mark.parametrize("argument", ["none.txt", "none.toml", "uv.lock", "./none", "a/b", "x.log"])
def test_missing_file_is_an_error_and_not_a_name(argument: str) -> None:
    with pytest.raises(UnreadableSource, match="cannot be read: No such file"):
        read_source(argument, choice())


def printed(code: str, folder: Path, given: bytes = b"") -> bytes:
    """What a Python prints that works in the folder."""
    begin = (
        "from proxy.requirements import read_source\n"
        "from tests.support.requirement_sources import choice\n"
    )
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", begin + code]
    done = subprocess.run(
        command, cwd=folder, env=environ, input=given, capture_output=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_name_stays_a_name_where_a_directory_has_it(tmp_path: Path) -> None:
    (tmp_path / "requests").mkdir()
    code = "print(read_source('requests', choice()).requirements[0].text)"
    assert printed(code, tmp_path) == b"requests"


def test_a_directory_that_is_a_project_is_meant_and_not_its_name(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    text = '[project]\nname = "acme"\ndependencies = ["beta"]\n'
    (tmp_path / "acme" / "pyproject.toml").write_text(text)
    code = "print([each.text for each in read_source('acme', choice()).requirements])"
    found = printed(code, tmp_path)
    assert b"beta" in found
    assert b"'acme'" not in found


def test_dash_is_a_requirements_file_on_standard_input(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("more\n")
    code = "print(read_source('-', choice(), environ={'X': '1'}).requirements[0].text)"
    assert printed(code, tmp_path, b"foo==${X}\n-r more.txt") == b"foo==1\nmore"


def test_unknown_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("a = 1")
    with pytest.raises(UnreadableSource, match="not a pyproject"):
        read_source(str(tmp_path / "x.toml"), choice())


def test_source_of_unreasonable_size_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "uv.lock").open("wb") as file:
        file.truncate(MAX_DOCUMENT + 1)
    with pytest.raises(UnreadableSource, match="longer than"):
        read_source(str(tmp_path / "uv.lock"), choice())


def test_log_is_known_by_its_suffix_and_a_project_by_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"path": "/simple/foo/"}\n')
    assert len(read_source(str(tmp_path / "a.jsonl"), choice()).requests) == 1
    (tmp_path / "a.toml").write_text('[build-system]\nrequires = ["flit_core"]\n')
    assert len(read_source(str(tmp_path / "a.toml"), choice()).requirements) == 1


@pytest.mark.parametrize("argument", ["a\0b", "x" * 5000 + "!"])
def test_argument_that_is_no_path_at_all_is_refused(argument: str) -> None:
    with pytest.raises(UnreadableSource):
        read_source(argument, choice())
