"""A local directory on systems that give little: few watches, vanishing mounts, many files."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.errors import IndexUnavailable, NoSuchProject
from proxy.events import PageChanged
from proxy.model import ProjectName
from tests.support.directories import BAR, FOO, HeardChanges, names, opened, reads_of
from tests.support.distributions import make_wheel
from tests.support.mounts import mounted
from tests.support.records import CountedRecords

W1, W2 = "foo-1.0-py3-none-any.whl", "foo-2.0-py3-none-any.whl"

_FEW_WATCHES = """
import asyncio, pathlib, sys
from tests.support.directories import FOO, names, opened
from tests.support.distributions import make_wheel

async def main():
    root = pathlib.Path(sys.argv[1])
    async with opened(root) as directory:
        for number in range(8):
            make_wheel(root / f"folder{number}", "foo", f"{number}.0")
            assert len(await names(directory)) == number + 1
            make_wheel(root / f"folder{number}", "foo", f"{number}.1")
            (root / f"folder{number}" / f"foo-{number}.1-py3-none-any.whl").unlink()
            assert len(await names(directory)) == number + 1
            print(number, (await directory.page(FOO)).fresh_until)

asyncio.run(main())
"""


def test_when_watches_run_out_each_request_looks_by_itself(tmp_path: Path) -> None:
    command = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    command += ['echo 4 > /proc/sys/user/max_inotify_watches && exec "$@"', "sh"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip("limiting the watches of one process is not allowed here")
    command += [sys.executable, "-c", _FEW_WATCHES, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fresh_until = ["None"] * 3 + ["0.0"] * 5  # the root and three folders can be watched
    assert done.stdout.split() == [
        word for pair in enumerate(fresh_until) for word in map(str, pair)
    ]
    assert done.stderr.count("the system allows no more watches") == 1


async def test_without_descriptors_nothing_is_certain_and_later_each_request_looks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_wheel(tmp_path, "foo", "1.0")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with opened(tmp_path) as directory:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            (tmp_path / "other").mkdir()  # a new folder cannot be listed: no descriptor is left
            with pytest.raises(IndexUnavailable):
                await directory.page(BAR)
            assert "inotify is not available" not in caplog.text
            with pytest.raises(IndexUnavailable):  # and now not even be watched
                await directory.page(BAR)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await names(directory) == [W1]
        make_wheel(tmp_path, "foo", "2.0")
        assert await names(directory) == [W1, W2]
    assert caplog.text.count("inotify is not available") == 1


async def test_an_unmounted_root_is_an_error_and_no_absence(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with mounted(root, "size=1m"):
        make_wheel(root, "foo", "1.0")
        heard = HeardChanges()
        async with opened(root, heard=heard, rescan=0.05) as directory:
            assert await names(directory) == [W1]
            subprocess.run(["umount", str(root)], check=True)
            for project in (FOO, BAR):
                with pytest.raises(IndexUnavailable):
                    await directory.page(project)
            with mounted(root, "size=1m"):
                make_wheel(root, "foo", "2.0")
                assert await names(directory) == [W2]
                subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(root)], check=True)


async def test_a_root_that_is_mounted_later_is_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    heard = HeardChanges()
    async with opened(root, heard=heard, rescan=0.05) as directory:
        with pytest.raises(NoSuchProject):
            await directory.page(FOO)
        heard.clear()
        with mounted(root, "size=1m"):
            make_wheel(root, "foo", "1.0")
            await heard.until(lambda: PageChanged(None) in heard)
            assert await names(directory) == [W1]


async def test_opening_with_known_files_reads_one_record_and_no_file(tmp_path: Path) -> None:
    root, records = tmp_path / "root", CountedRecords()
    first = make_wheel(root, "p0", "1.0")
    for number in range(1, 1000):
        (root / f"p{number % 50}-1.{number}-py3-none-any.whl").hardlink_to(first)
    async with opened(root, records) as directory:
        for project in range(50):
            await directory.page(ProjectName(f"p{project}"))
    assert records.writes < 100
    assert f"local/{root}" in records.content
    records.reads = 0
    reads = reads_of(root)
    async with opened(root, records) as directory:
        assert records.reads == 1
        assert len(await names(directory, ProjectName("p7"))) == 20
    assert reads == []
