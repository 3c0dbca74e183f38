"""Every command in the documents is run as written, or says why a test cannot run it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documents import ALONE, ON_BLOCK, PATHS, ROOT, name, steps
from tests.support.running import environment

LIMIT = 600
WRAPPER = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "-")
PLAYED = {"run", "serve", "background"}
WITH_COMMANDS = [path for path in PATHS if any(each.directive in PLAYED for each in steps(path))]
SHELLS = {"sh", "shell", "bash"}
STOPS_READING = re.compile(r"\| *(head|grep -\w*q|grep -m)\b")


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_every_block_of_commands_says_how_it_is_tried(path: Path) -> None:
    for step in steps(path):
        assert step.directive in (ON_BLOCK | {""} if step.text else ALONE), step
        if step.language in SHELLS:
            assert step.directive, f"line {step.line}: no directive says how this is tried"
        if step.directive == "not run":
            assert step.argument, f"line {step.line}: say why"


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=name)
def test_commands_read_all_that_is_piped_to_them(path: Path) -> None:
    """A command that writes to a closed pipe fails, if it writes late enough: use ``sed -n``."""
    for step in steps(path):
        if step.directive in PLAYED:
            assert not STOPS_READING.search(step.text), f"line {step.line}: {step.text}"


@pytest.fixture(scope="module")
def isolation() -> tuple[str, ...]:
    """The prefix that runs a command in a network namespace that has loopback alone."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("unshare and ip are not installed")
    tried = subprocess.run([*WRAPPER, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("no network namespace can be made here")
    return WRAPPER


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize("path", WITH_COMMANDS, ids=name)
def test_the_commands_of_a_document_work_as_written(
    path: Path, isolation: tuple[str, ...], tmp_path: Path
) -> None:
    wanted = {each.argument for each in steps(path) if each.directive == "needs"}
    tools = [f"{each}={_install(tmp_path / each.partition('[')[0], each)}" for each in wanted]
    done = subprocess.run(
        [*isolation, sys.executable, "-m", "tests.docs.player", path, tmp_path / "world", *tools],
        cwd=ROOT,
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{name(path)}, {done.stdout}\n{done.stderr}"


def _install(folder: Path, tool: str) -> Path:
    """The folder with the tool's commands."""
    uv = Path(sys.executable).parent / "uv"
    commands: tuple[list[str | Path], ...] = (
        [uv, "venv", "-q", folder],
        [uv, "pip", "install", "-q", "--python", folder / "bin" / "python", tool],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
        if done.returncode:
            pytest.skip(f"{tool} could not be installed: {done.stderr.strip()[-200:]}")
    return folder / "bin"
