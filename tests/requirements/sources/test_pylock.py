from __future__ import annotations

from pathlib import Path

import pytest

from proxy.requirements.model import UnreadableSource
from proxy.requirements.sources import read_source
from proxy.requirements.sources.lock_files import read_pylock
from tests.support.requirement_sources import LINUX, MAC, WINDOWS, choice, document, filenames

BEGIN = 'lock-version = "1.0"\ncreated-by = "tests"\n'
HASHES = 'hashes = { sha256 = "%s" }' % ("ab" * 32)
WHEEL = f'[[packages.wheels]]\nurl = "https://example.com/foo-1.0-py3-none-any.whl"\n{HASHES}\n'


def package(more: str, name: str = "foo") -> str:
    return f'[[packages]]\nname = "{name}"\nversion = "1.0"\n{more}'


def test_real_lock_of_uv_gives_what_its_own_lock_gives(locked_project: Path) -> None:
    for chosen in (choice(), choice(("3.10", "3.12"), (LINUX, MAC, WINDOWS))):
        own = read_source(str(locked_project / "uv.lock"), chosen)
        exported = read_source(str(locked_project / "pylock.toml"), chosen)
        assert filenames(exported) == filenames(own)
        assert {e.filename: e.hashes for e in exported.files} == {
            e.filename: e.hashes for e in own.files
        }


def test_real_lock_of_pip_is_read(locked_project: Path) -> None:
    wants = read_source(str(locked_project / "pylock.pip.toml"), choice())
    assert {each.project for each in wants.files} == {"alpha", "delta"}


def test_all_extras_and_groups_are_taken() -> None:
    text = "".join(
        package(f'marker = "{marker}"\n{WHEEL.replace("foo", name)}', name)
        for name, marker in (
            ("foo", "'cpu' in extras and 'gpu' not in extras"),
            ("bar", "'dev' in dependency_groups"),
            ("baz", "sys_platform == 'win32'"),
        )
    )
    wants = read_pylock(document(BEGIN + text), choice())
    assert {each.project for each in wants.files} == {"foo", "bar"}


@pytest.mark.parametrize(
    ("more", "origin"),
    [
        ('[packages.vcs]\ntype = "git"\nurl = "https://example.com/x"\ncommit-id = "a"\n', "git"),
        (f'[packages.archive]\nurl = "https://example.com/x.zip"\n{HASHES}\n', "an address"),
    ],
)
def test_a_package_from_elsewhere_than_an_index_is_reported(more: str, origin: str) -> None:
    (skipped,) = read_pylock(document(BEGIN + package(more)), choice()).skipped
    assert str(skipped) == f"given: foo: comes from {origin}, not from an index"


def test_what_builds_a_local_directory_is_wanted_too(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/pyproject.toml").write_text('[build-system]\nrequires = ["flit_core"]\n')
    text = BEGIN + package('[packages.directory]\npath = "here"\n')
    (asked,) = read_pylock(document(text, tmp_path), choice()).requirements
    assert asked.text == "flit_core\n"


def test_version_may_be_that_of_the_file() -> None:
    text = BEGIN + f'[[packages]]\nname = "foo"\n{WHEEL}'
    (file,) = read_pylock(document(text), choice()).files
    assert (file.version, file.filename) == ("1.0", "foo-1.0-py3-none-any.whl")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "lock-version"),
        ('lock-version = "2.0"\ncreated-by = "x"\npackages = []\n', "not supported"),
        (BEGIN + package(""), "Exactly one of"),
        (BEGIN + package(WHEEL.replace("foo", "bar")), "not consistent"),
        (BEGIN + package(WHEEL.replace("ab" * 32, "../../x")), "a hash is not"),
    ],
)
def test_broken_lock_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UnreadableSource, match="given") as caught:
        read_pylock(document(text), choice())
    assert problem in str(caught.value)
