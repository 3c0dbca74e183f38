"""The shipped unit, as far as it can be judged without a running systemd.

systemd-analyze verifies it and rates its exposure. All system calls that strace saw the server make
are in its filter. It was not run under systemd.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.fork_server import ROOT

UNIT = ROOT / "deploy" / "waystation.service"
ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze here")


def analyze(*arguments: str | Path) -> str:
    assert ANALYZE
    done = subprocess.run(
        [ANALYZE, *map(str, arguments)], check=False, capture_output=True, text=True, timeout=60
    )
    return done.stdout + done.stderr


def test_the_unit_has_no_fault(tmp_path: Path) -> None:
    program = tmp_path / "waystation"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = UNIT.read_text()
    assert "/opt/waystation/bin/waystation" in text
    unit = tmp_path / "waystation.service"
    unit.write_text(text.replace("/opt/waystation/bin/waystation", str(program)))
    output = [line for line in analyze("verify", unit).splitlines() if "waystation" in line]
    assert output == []


def test_the_unit_leaves_little_exposed() -> None:
    output = analyze("security", "--offline=true", "--no-pager", UNIT)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", output)
    assert found, output
    assert float(found[1]) <= 1.5
