"""An import that cannot continue reports the reason, and does not prevent the next import."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.bundle.bundle_selection import read_base
from proxy.bundle.errors import BaseMissing
from tests.support.bundle_fixtures import Near, create, fill, offline, run, seen, stock, take
from tests.support.distributions import make_wheel
from tests.support.mounts import mounted, read_only
from tests.support.running import waystation
from tests.support.upstream import Upstream
from tests.support.upstream_process import ROOT

FIRST = 0
"""Writes into the cache before the kill; the staged import is complete by then."""


def die(far: Path, near: Near, bundle: Path, writes: int = FIRST) -> None:
    command = [sys.executable, "-m", "tests.support.kill_at_write"]
    arguments = [str(far), near.upstream, str(bundle), str(writes)]
    done = subprocess.run([*command, *arguments], cwd=ROOT, timeout=60, check=False)
    assert done.returncode < 0


def of(near: Near, cache: Path) -> tuple[str | Path, ...]:
    return "--cache-dir", cache, "--upstream", near.upstream


def test_files_completed_before_the_failure_are_reported(near: Near, tmp_path: Path) -> None:
    die(tmp_path, near, near.bundle)
    done = run("import", near.bundle, *of(near, tmp_path)).stdout
    assert f"an interrupted import was completed first: sha256:{near.created.digest}\n" in done
    assert "finished" not in run("import", near.bundle, *of(near, tmp_path)).stdout


def test_the_json_report_has_files_completed_before_the_failure(near: Near, tmp_path: Path) -> None:
    die(tmp_path, near, near.bundle)
    report = json.loads(run("import", near.bundle, "--json", *of(near, tmp_path)).stdout)
    assert report["completed"] == [near.created.digest]
    assert report["files"]["new"] == [] and len(report["files"]["same"]) == 6


async def test_a_delta_whose_base_was_purged_blocks_no_other(tmp_path: Path) -> None:
    """The delta was complete and checked before the cache lost its base."""
    cache, far = tmp_path / "near", tmp_path / "far"
    async with Upstream() as upstream:
        upstream.cache_control = "max-age=0"
        stock(upstream, tmp_path / "dists")
        await fill(cache, upstream, "alpha", "beta", "gamma")
        full = await create(cache, upstream.url, tmp_path / "full")
        upstream.add(make_wheel(tmp_path / "dists", "beta", "2.0"))
        await fill(cache, upstream, "beta")
    base = read_base(tmp_path / "full")
    await create(cache, upstream.url, tmp_path / "delta", base=base)
    await take(far, upstream.url, tmp_path / "full")
    near = Near(cache, upstream.url, tmp_path / "delta", full, {})
    die(far, near, near.bundle)
    purged = ("cache", "purge", "--all", *of(near, far))
    (await waystation(*purged, cwd=tmp_path)).succeeded()
    with pytest.raises(BaseMissing):
        await take(far, upstream.url, tmp_path / "delta")
    await take(far, upstream.url, tmp_path / "full")
    await take(far, upstream.url, tmp_path / "delta")
    assert await seen(far) == await seen(cache)


@pytest.mark.parametrize("room", [60, 100, 200, 300, 350])
async def test_an_import_reports_a_full_disk_and_completes_when_there_is_room(
    near: Near, tmp_path: Path, room: int
) -> None:
    """``room`` in kilobytes: too little for records, for staged files, or for both."""
    with mounted(tmp_path / "disk", f"size={room}k") as disk:
        done = run("import", near.bundle, *of(near, disk), status=1)
        assert (
            "No space left on device" in done.stderr or "not all of the bundle is in" in done.stderr
        )
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        found = await offline(disk, near.upstream)
        assert found.items() <= near.served.items()
        run("import", near.bundle, *of(near, disk))
        assert await offline(disk, near.upstream) == near.served


async def test_a_cache_that_can_only_be_read_is_enough_to_make_a_bundle(
    near: Near, tmp_path: Path
) -> None:
    cache = tmp_path / "near"
    shutil.copytree(near.cache, cache, ignore=shutil.ignore_patterns("spool"))
    with read_only(cache):
        await create(cache, near.upstream, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == near.data


def test_a_full_spool_is_reported_and_leaves_no_bundle(near: Near, tmp_path: Path) -> None:
    cache, out = tmp_path / "near", tmp_path / "out"
    shutil.copytree(near.cache, cache)
    out.mkdir()
    with mounted(cache / "spool", "size=4k,nr_inodes=4") as spool:
        (spool / "full").write_bytes(bytes(4096))
        done = run("create", out / "b", "--all", *of(near, cache), status=1)
    assert "no room for temporary files: No space left on device" in done.stderr
    assert list(out.iterdir()) == []
