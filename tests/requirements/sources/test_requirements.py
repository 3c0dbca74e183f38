from __future__ import annotations

from pathlib import Path

import pytest

from proxy.model import normalize
from proxy.requirements.model import (
    PinnedVersion,
    ResolverInput,
    SourceRequirements,
    UnreadableSource,
)
from proxy.requirements.sources import read_source
from proxy.requirements.sources.requirements_txt import read_requirements
from tests.support.distributions import make_sdist, make_wheel
from tests.support.requirement_sources import LINUX, WINDOWS, choice, document

A, B = "sha256:" + "a1" * 32, "sha256:" + "b2" * 32


def read(text: str, folder: Path | None = None, **environ: str) -> SourceRequirements:
    return read_requirements(document(text, folder), choice(), environ)


def asked(wants: SourceRequirements) -> ResolverInput:
    (one,) = wants.requirements
    return one


def test_requirements_are_handed_to_the_resolver_in_clean_form() -> None:
    wants = read("Requests [socks] >= 2 # x\nfoo ; python_version < '3.9'\n--no-binary a,b\n--pre")
    assert asked(wants) == ResolverInput(
        "given",
        'Requests[socks]>=2\nfoo; python_version < "3.9"\n--no-binary a\n--no-binary b\n',
        prereleases=True,
    )


def test_includes_and_constraints_start_from_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/base.txt").write_text("base\n-c ../limits.txt\n-r more.txt\n")
    (tmp_path / "sub/more.txt").write_text("more\n")
    (tmp_path / "limits.txt").write_text("base<2\n")
    found = asked(read("top\n-r sub/base.txt\n", tmp_path))
    assert (found.text, found.constraints) == ("top\nbase\nmore\n", "base<2\n")


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n-r b.txt\n")
    (tmp_path / "b.txt").write_text("b\n-r a.txt\n")
    assert sorted(asked(read("-r a.txt", tmp_path)).text.split()) == ["a", "b"]


def test_error_in_an_included_file_names_that_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n=b\n")
    with pytest.raises(UnreadableSource, match=r"a\.txt, line 2: not a requirement"):
        read("-r a.txt", tmp_path)


def test_file_with_every_line_pinned_and_hashed_is_a_lock() -> None:
    chosen = choice(platforms=(LINUX, WINDOWS))
    text = f"--require-hashes\nFoo==1.0 --hash={A} --hash={B}\n"
    text += f"bar==2 ; sys_platform == 'win32' --hash={A.upper()}\n"
    text += f"baz==2 ; python_version < '3' --hash={A}\n"
    wants = read_requirements(document(text), chosen, {})
    linux, windows = chosen.targets
    assert wants == SourceRequirements(
        versions=(
            PinnedVersion(normalize("foo"), "1.0", frozenset({A, B}), (linux, windows)),
            PinnedVersion(normalize("bar"), "2", frozenset({A}), (windows,)),
        )
    )


def test_real_export_with_hashes_is_a_lock(locked_project: Path) -> None:
    locked = read_source(str(locked_project / "uv.lock"), choice())
    exported = read_source(str(locked_project / "hashed.txt"), choice())
    assert exported.requirements == ()
    pinned = {each.project: each for each in exported.versions}
    assert pinned.keys() == {each.project for each in locked.files}
    assert all(pinned[each.project].allows(each.hashes) for each in locked.files)


@pytest.mark.parametrize("line", ["bar", "bar==1", f"bar==1.* --hash={A}", f"bar>=1 --hash={A}"])
def test_one_line_without_pin_or_digest_makes_it_work_for_a_resolver(line: str) -> None:
    wants = read(f"foo==1 --hash={A}\n{line}\n")
    assert wants.versions == ()
    assert asked(wants).text == f"foo==1 --hash={A}\n{line}\n"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("foo @ https://me:secret@example.com/foo-1.0.zip", "foo"),
        ("foo[x] @ git+https://me:secret@example.com/foo", "foo"),
        ("git+https://me:secret@example.com/foo#egg=foo", "line 1"),
        ("-e git+https://me:secret@example.com/foo#egg=foo", "line 1"),
        ("https://me:secret@example.com/foo-1.0.zip", "line 1"),
        ("-r https://me:secret@example.com/more.txt", "line 1"),
    ],
)
def test_a_requirement_with_an_address_is_reported_and_left_out(line: str, what: str) -> None:
    wants = read(f"{line}\nbar")
    (skipped,) = wants.skipped
    assert skipped.what == what
    assert "address" in skipped.reason
    assert asked(wants).text == "bar\n"
    assert "secret" not in repr(wants)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://me:secret@example.com/simple",
        "-i https://me:secret@example.com/simple",
        "--extra-index-url=https://me:secret@example.com/simple",
        "--find-links ./wheels",
        "--no-index",
        "--trusted-host example.com",
    ],
)
def test_other_indexes_are_not_followed_and_that_is_noted(line: str) -> None:
    wants = read(f"bar\n{line}")
    (note,) = wants.notes
    assert note.startswith("given, line 2: an index or a location of files")
    assert asked(wants).text == "bar\n"
    assert "secret" not in repr(wants)


@pytest.mark.parametrize(
    "line",
    [
        "-e {}",
        "{}",
        "-e {}[x]",
        "{}[x] ; python_version > '3'",
        "file:{}",
        "p[x] @ file:{}",
        "p@file:{}",
    ],
)
def test_local_project_is_read_by_the_resolver_and_its_build_is_prepared(
    line: str, tmp_path: Path
) -> None:
    folder = tmp_path / "proj"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[build-system]\nrequires = ["flit_core"]\n')
    own, build = read(line.format(folder)).requirements
    extras = "[x]" if "[x]" in line else ""
    marker = " ; python_version > '3'" if ";" in line else ""
    assert own.text == f"{folder.as_uri()}{extras}{marker}\n"
    assert build.text == "flit_core\n"


def test_local_project_lies_where_the_command_is_given_whatever_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "deep" / "proj"
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[build-system]\nrequires = ["flit_core"]\n')
    own, build = read("-e ./deep/proj", Path("deep")).requirements
    assert (own.text, build.text) == (f"{folder.as_uri()}\n", "flit_core\n")


def test_local_file_is_reported_and_a_missing_path_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "foo.egg").touch()
    (skipped,) = read(f"{tmp_path}/foo.egg").skipped
    assert "local file" in skipped.reason
    for line in (f"{tmp_path}/none", "./none", "none.whl", "-e none/x", "x\0/y", "/" + "x" * 5000):
        with pytest.raises(UnreadableSource, match="line 1: a local path that does not exist"):
            read(line)


@pytest.mark.parametrize("line", ["{}", "{}[x]", "foo @ {}", "foo[x] @ {}", "{}#sha256=00"])
def test_a_local_distribution_is_read_by_the_resolver(line: str, tmp_path: Path) -> None:
    extras = "[x]" if "[x]" in line else ""
    wheel = make_wheel(tmp_path / "a folder", "foo", "1.0")
    (own,) = read(line.format(wheel.as_uri())).requirements
    assert own.text == f"{wheel.as_uri()}{extras}\n"
    sdist = make_sdist(tmp_path, "foo", "1.0")
    own = read(line.format(sdist.as_uri())).requirements[0]
    assert own.text == f"{sdist.as_uri()}{extras}\n"


def test_includes_and_sources_may_be_file_addresses(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "b.txt").write_text("b\n")
    (folder / "c.txt").write_text("b<2\n")
    text = f"-r {(folder / 'b.txt').as_uri()}\n-c file://localhost{folder}/c.txt\n"
    found = asked(read(text.replace(" folder", "%20folder")))
    assert (found.text, found.constraints) == ("b\n", "b<2\n")
    assert asked(read_source((folder / "b.txt").as_uri(), choice())).text == "b\n"


def test_what_pip_ignores_beside_a_requirement_is_ignored(tmp_path: Path) -> None:
    assert asked(read("a -r none.txt -c none.txt", tmp_path)).text == "a\n"


@pytest.mark.parametrize(
    ("options", "prereleases", "notes"),
    [
        ("--pre", True, 0),
        ("--all-releases :all:", True, 0),
        ("--all-releases=:none:", False, 0),
        ("--only-final :all:", False, 0),
        ("--all-releases a,b", False, 1),
        ("--no-require-hashes", False, 0),
        ("--unheard-of=x", False, 1),
    ],
)
def test_options_of_the_newest_pip(options: str, prereleases: bool, notes: int) -> None:
    wants = read(f"a\n{options}")
    assert (asked(wants).text, asked(wants).prereleases) == ("a\n", prereleases)
    assert len(wants.notes) == notes


def test_a_guessed_encoding_is_noted() -> None:
    wants = read_requirements(document(b"a # f\xfcr\n"), choice(), {})
    assert asked(wants).text == "a\n"
    assert "not UTF-8" in wants.notes[0]


def test_variables_count_everywhere(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("foo==${VERSION}\n")
    assert asked(read("-r ${NAME}.txt", tmp_path, NAME="a", VERSION="3")).text == "foo==3\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\n\n=b", "line 3: not a requirement"),
        ("a b", "line 1: not a requirement"),
        ("a==1 --hash=x", "line 1: a hash is not"),
        ("-r none.txt", "cannot be read: No such file"),
        ("-r a\0b.txt", "cannot be read: not a usable path"),
    ],
)
def test_broken_file_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource) as caught:
        read(text, tmp_path)
    assert problem in str(caught.value)


def test_options_that_matter_to_installing_are_noted() -> None:
    wants = read("a --config-settings=x=y\n--prefer-binary\n--use-feature z")
    assert len(wants.notes) == 3
    assert asked(wants).text == "a\n"


def test_long_chain_of_includes_is_refused(tmp_path: Path) -> None:
    for number in range(210):
        (tmp_path / f"{number}.txt").write_text(f"-r {number + 1}.txt\n")
    with pytest.raises(UnreadableSource, match=r"199\.txt, line 1: includes more than 200 files"):
        read("-r 0.txt", tmp_path)


def test_constraint_with_an_address_is_reported(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("foo @ https://example.com/foo.zip\nbar<3\n")
    wants = read("bar\n-c c.txt", tmp_path)
    assert asked(wants).constraints == "bar<3\n"
    assert [each.what for each in wants.skipped] == ["foo"]
