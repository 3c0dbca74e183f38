from __future__ import annotations

from pathlib import Path

import pytest

from proxy.storage.purge_log import FilePurgeLog


def test_half_a_line_is_left_for_later(tmp_path: Path) -> None:
    file = tmp_path / "purged"
    purges = FilePurgeLog(file)
    file.write_bytes(b"one\ntw")
    assert purges.read_new() == ["one"]
    assert purges.read_new() == []
    file.write_bytes(b"one\ntwo\n")
    assert purges.read_new() == ["two"]


async def test_a_folder_that_somebody_emptied_is_no_trouble(tmp_path: Path) -> None:
    file = tmp_path / "purged"
    purges = FilePurgeLog(file)
    await purges.append(["something"])
    assert purges.read_new() == ["something"]
    file.unlink()
    assert purges.read_new() == []
    await purges.append(["other"])
    assert purges.read_new() == ["other"]


async def test_what_cannot_be_noted_is_an_error(tmp_path: Path) -> None:
    purges = FilePurgeLog(tmp_path / "missing" / "purged")
    assert purges.read_new() == []
    with pytest.raises(OSError):
        await purges.append(["a"])
