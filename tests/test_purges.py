from __future__ import annotations

from pathlib import Path

import pytest

from proxy.purges import EVERYTHING, Purges


def test_each_reader_is_told_once_of_what_is_purged_from_now_on(tmp_path: Path) -> None:
    file = tmp_path / "purged"
    before = Purges(file)
    before.note(["a"])
    after = Purges(file)
    before.note(["b", "c"])
    Purges(file).note([EVERYTHING])
    assert before.news() == ["a", "b", "c", EVERYTHING]
    assert after.news() == ["b", "c", EVERYTHING]
    assert before.news() == after.news() == []


def test_half_a_line_is_left_for_later(tmp_path: Path) -> None:
    file = tmp_path / "purged"
    purges = Purges(file)
    file.write_bytes(b"one\ntw")
    assert purges.news() == ["one"]
    assert purges.news() == []
    file.write_bytes(b"one\ntwo\n")
    assert purges.news() == ["two"]


def test_a_folder_that_somebody_emptied_is_no_trouble(tmp_path: Path) -> None:
    file = tmp_path / "purged"
    purges = Purges(file)
    purges.note(["something"])
    assert purges.news() == ["something"]
    file.unlink()
    assert purges.news() == []
    purges.note(["other"])
    assert purges.news() == ["other"]


def test_what_cannot_be_noted_is_an_error(tmp_path: Path) -> None:
    purges = Purges(tmp_path / "missing" / "purged")
    assert purges.news() == []
    with pytest.raises(OSError):
        purges.note(["a"])
