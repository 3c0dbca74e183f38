"""Unfinished files of ended processes are removed; those of living processes stay."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from proxy.runtime.file_io import open_spool, remove_abandoned
from tests.support.upstream_process import ROOT

HOLD = """
import sys
from pathlib import Path
from proxy.runtime.file_io import open_spool
open_spool(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_file_without_a_writer_is_removed(tmp_path: Path) -> None:
    spool = tmp_path / "made" / "here"
    fd, path = open_spool(spool)
    assert path.parent == spool
    assert spool.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert remove_abandoned(spool) == 0
    os.close(fd)
    assert remove_abandoned(spool) == 1
    assert list(spool.iterdir()) == []


def test_the_files_of_a_living_process_stay_and_those_of_a_killed_one_go(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        assert remove_abandoned(tmp_path) == 0
        process.kill()
    assert remove_abandoned(tmp_path) == 1


def test_a_file_of_a_dead_process_is_removed_though_its_number_is_in_use(tmp_path: Path) -> None:
    fd, path = open_spool(tmp_path)
    os.close(fd)
    assert path.name.startswith(f"{os.getpid()}-")
    assert remove_abandoned(tmp_path) == 1


def test_foreign_files_links_and_pipes_stay(tmp_path: Path) -> None:
    (tmp_path / "upload.tmp").touch()
    (tmp_path / "link.part").symlink_to("upload.tmp")
    (tmp_path / "folder.part").mkdir()
    assert remove_abandoned(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_a_missing_folder_has_no_leftovers(tmp_path: Path) -> None:
    assert remove_abandoned(tmp_path / "none") == 0


def test_a_spool_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        open_spool(tmp_path / "file")


def test_a_file_just_opened_is_never_taken_for_a_leftover(tmp_path: Path) -> None:
    stop = threading.Event()

    def clean() -> None:
        while not stop.is_set():
            remove_abandoned(tmp_path)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for _ in range(2000):
            fd, path = open_spool(tmp_path)
            assert path.exists()
            path.unlink()
            os.close(fd)
    finally:
        stop.set()
        cleaner.join()
