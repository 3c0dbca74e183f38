from __future__ import annotations

from pathlib import Path

import pytest

from proxy.storage.purge_log import EVERYTHING, PurgeLog


def test_each_reader_is_told_once_of_what_is_purged_from_now_on(tmp_path: Path) -> None:
    file = tmp_path / "purged"
    before = PurgeLog(file)
    before.append(["a"])
    after = PurgeLog(file)
    before.append(["b", "c"])
    PurgeLog(file).append([EVERYTHING])
    assert before.read_new() == ["a", "b", "c", EVERYTHING]
    assert after.read_new() == ["b", "c", EVERYTHING]
    assert before.read_new() == after.read_new() == []


def test_half_a_line_is_left_for_later(tmp_path: Path) -> None:
    file = tmp_path / "purged"
    purges = PurgeLog(file)
    file.write_bytes(b"one\ntw")
    assert purges.read_new() == ["one"]
    assert purges.read_new() == []
    file.write_bytes(b"one\ntwo\n")
    assert purges.read_new() == ["two"]


def test_a_folder_that_somebody_emptied_is_no_trouble(tmp_path: Path) -> None:
    file = tmp_path / "purged"
    purges = PurgeLog(file)
    purges.append(["something"])
    assert purges.read_new() == ["something"]
    file.unlink()
    assert purges.read_new() == []
    purges.append(["other"])
    assert purges.read_new() == ["other"]


def test_what_cannot_be_noted_is_an_error(tmp_path: Path) -> None:
    purges = PurgeLog(tmp_path / "missing" / "purged")
    assert purges.read_new() == []
    with pytest.raises(OSError):
        purges.append(["a"])
