"""Starts and ends the fake index as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class UpstreamProcess(NamedTuple):
    url: str
    files_url: str
    process: subprocess.Popen[str]


@contextmanager
def run_upstream_process(
    folder: Path, *, latency_ms: float = 0.0, bandwidth: float = 0.0
) -> Iterator[UpstreamProcess]:
    """Serve the distributions in ``folder``; ``bandwidth`` in bytes per second and answer.

    What it was asked so far is at ``/-/requests``, as a JSON list of method and path.
    """
    command = [sys.executable, "-m", "tests.support.upstream", "--dir", str(folder)]
    command += ["--latency-ms", str(latency_ms), "--bandwidth", str(bandwidth)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout
            yield UpstreamProcess(**json.loads(process.stdout.readline()), process=process)
        finally:
            process.terminate()
            process.wait(10)
