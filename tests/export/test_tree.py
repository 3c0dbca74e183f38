"""A tree on the disk: which files are written and removed, and which trees are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from proxy.errors import ConfigurationError
from proxy.export.tree import PART_FOLDER, Changes, ForeignFile, Tree
from tests.support.exports import content, inodes


def fill(root: Path, files: dict[str, bytes]) -> Changes:
    with Tree(root) as tree:
        tree.announce(files)
        for path, data in files.items():
            tree.write(path, data)
        return tree.finish()


def test_the_folder_is_made_and_has_the_written_files(tmp_path: Path) -> None:
    files = {"index.html": b"1", "simple/foo/index.html": b"2"}
    assert fill(tmp_path / "a" / "tree", files) == Changes(written=2, unchanged=0, removed=0)
    assert content(tmp_path / "a" / "tree") == files


def test_only_what_differs_is_written_again(tmp_path: Path) -> None:
    fill(tmp_path, {"a": b"1", "b/c": b"2", "b/d": b"3"})
    before = inodes(tmp_path)
    assert fill(tmp_path, {"a": b"1", "b/c": b"!", "b/d": b"3"}) == Changes(1, 2, 0)
    after = inodes(tmp_path)
    assert {path for path in before if before[path] != after[path]} == {"b/c"}
    assert (tmp_path / "b/c").read_bytes() == b"!"


def test_removed_files_go_with_their_empty_folders(tmp_path: Path) -> None:
    fill(tmp_path, {"a": b"1", "b/c/d": b"2", "b/e": b"3"})
    assert fill(tmp_path, {"a": b"1", "b/e": b"3"}) == Changes(0, 2, 1)
    assert not (tmp_path / "b/c").exists()
    assert fill(tmp_path, {"a": b"1"}) == Changes(0, 1, 1)
    assert not (tmp_path / "b").exists()


def test_files_that_were_changed_or_removed_are_restored(tmp_path: Path) -> None:
    fill(tmp_path, {"a": b"1", "b": b"2", "c": b"3"})
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").unlink()
    (tmp_path / "c").unlink()
    (tmp_path / "elsewhere").write_bytes(b"3")
    (tmp_path / "c").symlink_to(tmp_path / "elsewhere")
    assert fill(tmp_path, {"a": b"1", "b": b"2", "c": b"3"}) == Changes(3, 0, 0)
    assert not (tmp_path / "c").is_symlink()


def test_files_of_others_stay(tmp_path: Path) -> None:
    fill(tmp_path, {"a": b"1", "b/c": b"2"})
    (tmp_path / "robots.txt").write_bytes(b"mine")
    (tmp_path / "b" / "mine").write_bytes(b"mine")
    fill(tmp_path, {"a": b"1"})
    assert content(tmp_path) == {"a": b"1", "b/mine": b"mine", "robots.txt": b"mine"}


@pytest.mark.parametrize("path", ["index.html", "simple"])
def test_obstacles_are_refused_before_anything_is_written(tmp_path: Path, path: str) -> None:
    fill(tmp_path, {"a": b"1"})
    (tmp_path / path).write_bytes(b"mine")
    with pytest.raises(ForeignFile, match=path):
        fill(tmp_path, {"a": b"2", "index.html": b"2", "simple/index.html": b"2"})
    assert content(tmp_path) == {"a": b"1", path: b"mine"}


def test_a_link_in_the_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "tree", tmp_path / "outside"
    outside.mkdir()
    (outside / "index.html").write_bytes(b"mine")
    fill(root, {"a": b"1", "simple/index.html": b"2"})
    (root / "simple/index.html").unlink()
    (root / "simple").rmdir()
    (root / "simple").symlink_to(outside)
    with pytest.raises(ForeignFile, match="simple"):
        fill(root, {"a": b"1", "simple/index.html": b"3"})
    fill(root, {"a": b"1"})  # our file there is gone, and no other is removed
    assert (outside / "index.html").read_bytes() == b"mine"
    assert (root / "simple").is_symlink()


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="not empty"):
        fill(tmp_path, {"a": b"1"})
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="not a directory"):
        fill(tmp_path / "mine", {})


@pytest.mark.parametrize(
    "paths", [["../victim"], ["a/../../victim"], ["/victim"], [".waystation/lock"], [""], 1]
)
def test_a_list_that_leads_out_of_the_tree_is_refused(tmp_path: Path, paths: object) -> None:
    root = tmp_path / "tree"
    (tmp_path / "victim").write_bytes(b"mine")
    fill(root, {"a": b"1"})
    (root / ".waystation/manifest.json").write_text(json.dumps({"format": 1, "paths": paths}))
    with pytest.raises(ConfigurationError, match="the manifest of the tree, is invalid"):
        fill(root, {"a": b"1"})
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert (root / "a").exists()


def test_a_list_of_another_format_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"a": b"1"})
    (tmp_path / ".waystation/manifest.json").write_text('{"format": 2, "paths": []}')
    with pytest.raises(ConfigurationError, match="the manifest of the tree, is invalid"):
        fill(tmp_path, {"a": b"1"})


def test_a_run_that_was_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    fill(tmp_path, {"a": b"1", "old": b"1"})
    with Tree(tmp_path) as tree:
        tree.announce(["a", "new", "never"])
        tree.write("new", b"2")
    (tmp_path / PART_FOLDER).write_bytes(b"half")
    assert fill(tmp_path, {"a": b"1", "b": b"2"}) == Changes(written=1, unchanged=1, removed=2)
    assert content(tmp_path) == {"a": b"1", "b": b"2"}
    assert not (tmp_path / PART_FOLDER).exists()


def test_two_exports_to_one_tree_do_not_run_at_once(tmp_path: Path) -> None:
    with Tree(tmp_path) as first:
        first.announce(["a"])
        with pytest.raises(ConfigurationError, match="another process"):
            fill(tmp_path, {"b": b"1"})
        first.write("a", b"1")
        first.finish()
    fill(tmp_path, {"b": b"1"})
    assert content(tmp_path) == {"b": b"1"}


def test_files_are_readable_as_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        fill(tmp_path, {"a/b": b"1"})
    finally:
        os.umask(before)
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """An open file keeps its bytes, as the new file has another inode."""
    fill(tmp_path, {"a": b"1" * 100})
    with (tmp_path / "a").open("rb") as reader:
        fill(tmp_path, {"a": b"2" * 10})
        assert reader.read() == b"1" * 100
