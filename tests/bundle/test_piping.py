"""Bundles through pipes, and reports for programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.bundle_fixtures import Near, offline, run
from tests.support.distributions import make_wheel
from tests.support.fork_server import ROOT, run_forked

WHEEL = "beta-1.0-py3-none-any.whl"
BUNDLE = (sys.executable, "-m", "proxy", "bundle")


def of(near: Near, cache: Path | None = None) -> tuple[str, ...]:
    return "--cache-dir", str(cache or near.cache), "--upstream", near.upstream


def report(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json", status=status).stdout)
    return found


async def test_create_pipes_a_bundle_into_import(near: Near, tmp_path: Path) -> None:
    far = tmp_path / "far"
    with subprocess.Popen(
        [*BUNDLE, "create", "-", "--all", *of(near)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as making:
        taking = subprocess.run(
            [*BUNDLE, "import", "-", *of(near, far)],
            cwd=ROOT,
            stdin=making.stdout,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert making.stderr
        printed = making.stderr.read().decode()
    assert f"archive    sha256:{near.created.archive_digest}" in printed
    assert "files  6 new" in taking.stdout
    assert await offline(far, near.upstream) == near.served


def test_standard_output_gets_the_bundle_and_nothing_else(near: Near, tmp_path: Path) -> None:
    for more in ((), ("--json",)):
        with (tmp_path / "b").open("wb") as to:
            command = ("bundle", "create", "-", "--all", *more, *of(near))
            assert run_forked(command, os.environ, ROOT, stdout=to).returncode == 0
        assert (tmp_path / "b").read_bytes() == near.data


def test_show_and_verify_read_standard_input(near: Near) -> None:
    for command in ("show", "verify"):
        with near.bundle.open("rb") as stream:
            done = run_forked(("bundle", command, "-", "--json"), os.environ, ROOT, stdin=stream)
        assert json.loads(done.stdout)["manifest"] == near.created.digest


def test_a_closed_pipe_gives_no_traceback(near: Near) -> None:
    command = ("bundle", "create", "-", "--all", *of(near))
    reading, writing = os.pipe()
    os.close(reading)
    done = run_forked(command, os.environ, ROOT, stdout=writing)
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == "waystation: standard output cannot be written: Broken pipe\n"


def test_a_terminal_gets_no_bundle(near: Near) -> None:
    terminal, ours = pty.openpty()
    command = ("bundle", "create", "-", "--all", *of(near))
    done = run_forked(command, os.environ, ROOT, stdout=ours)
    os.close(ours)
    os.close(terminal)
    assert done.returncode == 2
    assert "a bundle is not written to a terminal" in done.stderr


def test_json_reports_have_all_amounts(near: Near, tmp_path: Path) -> None:
    file, created = tmp_path / "b", near.created
    amounts = {
        "manifest": created.digest,
        "base": None,
        "indexes": [near.upstream],
        "projects": 3,
        "pages": 3,
        "files": 6,
        "bytes": created.manifest.total_size,
        "carried": {"documents": 4, "files": 6, "bytes": created.manifest.carried_size},
    }
    archive = {"archive": created.archive_digest}
    whose = {"signer": None, "signature_checked": False}
    made = report("create", file, "--all", *of(near))
    assert made == {**archive, "size": created.size, "left_out": [], **amounts}
    assert report("show", file) == {**whose, **amounts}
    assert report("verify", file) == {**archive, **whose, **amounts}
    taken = report("import", file, *of(near, tmp_path / "far"))
    assert taken["pages"] == {
        "new": ["alpha", "beta", "gamma"],
        **{kind: [] for kind in ("changed", "same", "older")},
    }
    (sha256,) = {f.sha256 for f in created.manifest.files if f.filename == WHEEL}
    wheel = {"project": "beta", "filename": WHEEL, "sha256": sha256}
    assert wheel in taken["files"]["new"]
    assert taken["files"]["same"] == taken["files"]["conflicting"] == taken["completed"] == []
    again = report("import", file, *of(near, tmp_path / "far"))
    assert (len(again["files"]["same"]), again["pages"]["same"]) == (6, ["alpha", "beta", "gamma"])


def test_left_out_private_files_are_reported(near: Near, tmp_path: Path) -> None:
    make_wheel(tmp_path / "private", "mine", "1.0")
    packages = ("--packages", tmp_path / "private")
    done = run("create", tmp_path / "b", "--all", *packages, *of(near))
    assert f"private, not in the bundle: the directory {tmp_path}/private\n" in done.stderr
    assert (tmp_path / "b").read_bytes() == near.data
    assert "private" not in run("create", tmp_path / "b", "--all", *of(near)).stderr
