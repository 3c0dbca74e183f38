"""Distributions in a tree: hard links, symbolic links and copies, of the right bytes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.export.placing import FileContent, Placement
from proxy.export.tree import Changes, FileAltered, Tree

DATA = b"the bytes of a wheel"
PATH = "files/foo/x/foo-1.0-py3-none-any.whl"


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def source(
    folder: Path, data: bytes = DATA, *, mode: int = 0o644, ours: bool = False
) -> FileContent:
    folder.mkdir(exist_ok=True)
    path = folder / "source"
    path.write_bytes(data)
    path.chmod(mode)
    return FileContent(path, len(data), hashlib.sha256(data).hexdigest(), ours)


def place(root: Path, content: FileContent, how: Placement, *, verify: bool = False) -> Changes:
    with Tree(root, verify=verify) as tree:
        tree.announce([PATH])
        tree.place(PATH, content, how)
        return tree.finish()


@pytest.mark.parametrize("how", Placement)
def test_a_placed_file_has_the_bytes_and_stays_unchanged(tmp_path: Path, how: Placement) -> None:
    content, root = source(tmp_path / "source"), tmp_path / "tree"
    assert place(root, content, how) == Changes(1, 0, 0)
    assert (root / PATH).read_bytes() == DATA
    inode = (root / PATH).lstat().st_ino
    assert place(root, content, how) == Changes(0, 1, 0)
    assert (root / PATH).lstat().st_ino == inode


def test_a_hard_link_is_the_file_itself(tmp_path: Path) -> None:
    content, root = source(tmp_path / "source"), tmp_path / "tree"
    place(root, content, Placement.HARD)
    assert (root / PATH).samefile(content.source)


def test_a_symbolic_link_leads_to_the_file(tmp_path: Path) -> None:
    content, root = source(tmp_path / "source"), tmp_path / "tree"
    place(root, content, Placement.SYMLINK)
    assert (root / PATH).readlink() == content.source


def test_a_copy_is_a_file_of_its_own(tmp_path: Path) -> None:
    content, root = source(tmp_path / "source"), tmp_path / "tree"
    place(root, content, Placement.COPY)
    content.source.write_bytes(b"something else")
    assert (root / PATH).read_bytes() == DATA


def test_across_file_systems_a_hard_link_is_a_copy(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one file system")
    other = Path(tempfile.mkdtemp(dir=memory))
    try:
        content, root = source(other), tmp_path / "tree"
        assert place(root, content, Placement.HARD) == Changes(1, 0, 0)
        assert (root / PATH).read_bytes() == DATA
        assert not (root / PATH).is_symlink()
        assert place(root, content, Placement.HARD) == Changes(0, 1, 0)
    finally:
        shutil.rmtree(other)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (a, b)
        for a in Placement
        for b in Placement
        if a != b and (a, b) != (Placement.COPY, Placement.HARD)
    ],
)
def test_another_way_of_placing_replaces_the_file(
    tmp_path: Path, first: Placement, then: Placement
) -> None:
    content, root = source(tmp_path / "source"), tmp_path / "tree"
    place(root, content, first)
    assert place(root, content, then) == Changes(1, 0, 0)
    assert (root / PATH).read_bytes() == DATA
    assert (root / PATH).is_symlink() == (then is Placement.SYMLINK)
    assert (root / PATH).samefile(content.source) == (then is not Placement.COPY)


@pytest.mark.usefixtures("umask")
def test_a_file_of_the_store_becomes_readable_for_the_web_server(tmp_path: Path) -> None:
    content = source(tmp_path / "blob", mode=0o600, ours=True)
    place(tmp_path / "tree", content, Placement.HARD)
    assert (tmp_path / "tree" / PATH).samefile(content.source)
    assert (tmp_path / "tree" / PATH).stat().st_mode & 0o777 == 0o644


@pytest.mark.usefixtures("umask")
def test_the_permissions_of_other_peoples_files_stay(tmp_path: Path) -> None:
    content = source(tmp_path / "private", mode=0o600)
    place(tmp_path / "tree", content, Placement.HARD)
    assert content.source.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tree" / PATH).stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "tree" / PATH).samefile(content.source)


@pytest.mark.parametrize("how", Placement)
def test_wrong_bytes_never_appear(tmp_path: Path, how: Placement) -> None:
    right, root = source(tmp_path / "source"), tmp_path / "tree"
    right.source.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(FileAltered, match=r"foo-1\.0-py3-none-any\.whl"):
        place(root, right, how)
    assert not (root / PATH).exists()
    assert right.source.exists()


def test_a_file_of_another_length_is_replaced(tmp_path: Path) -> None:
    content, root = source(tmp_path / "source"), tmp_path / "tree"
    place(root, content, Placement.COPY)
    (root / PATH).write_bytes(b"short")
    assert place(root, content, Placement.COPY) == Changes(1, 0, 0)
    assert (root / PATH).read_bytes() == DATA


def test_other_bytes_of_the_same_length_are_found_when_asked_for(tmp_path: Path) -> None:
    content, root = source(tmp_path / "source"), tmp_path / "tree"
    place(root, content, Placement.COPY)
    (root / PATH).write_bytes(DATA[:-1] + b"!")
    assert place(root, content, Placement.COPY) == Changes(0, 1, 0)
    assert place(root, content, Placement.COPY, verify=True) == Changes(1, 0, 0)
    assert (root / PATH).read_bytes() == DATA


def test_a_hard_link_to_a_replaced_file_is_renewed(tmp_path: Path) -> None:
    """Another program may still write to the old inode under its other name."""
    content, root = source(tmp_path / "source"), tmp_path / "tree"
    place(root, content, Placement.HARD)
    content.source.rename(tmp_path / "moved")
    content = source(tmp_path / "source")
    assert place(root, content, Placement.HARD) == Changes(1, 0, 0)
    (tmp_path / "moved").write_bytes(b"x" * len(DATA))
    assert (root / PATH).read_bytes() == DATA
