"""Where the CPU of a cold install goes: a sampled profile of the server, by package.

    pip install py-spy
    python -m benchmarks.cold_profile                  # by package, as Markdown
    python -m benchmarks.cold_profile --functions 40   # and the innermost functions
    python -m benchmarks.cold_profile --source DIR     # of the ``proxy`` in another checkout

py-spy samples the running threads while uv installs the real set through an empty cache. A sample
counts for the package of its innermost frame ("self"), and for each package on its stack ("with
what it calls"). The start is left out. A thread that is ready but has no core counts as running,
so the shares are true only on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import graph, real_set, servers
from benchmarks.installers import install
from benchmarks.plain_index import plain_index
from benchmarks.processes import CORES, Broken, Server

RATE = 400
"""Samples a second."""
SETTLE = 1.0
"""Seconds for the profiler to attach, and for work after the install."""
_FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^()]*?)(?::\d+)?\)$")
Stack = Sequence[tuple[str, str]]
"""Package and function, outermost first."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--functions", type=int, default=0)
    parser.add_argument("--source", type=Path, default=servers.SOURCE)
    options = parser.parse_args()
    servers.SOURCE = options.source.resolve()
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        samples, seconds = _profile(Path(folder), options.rounds)
    _print(samples, seconds, options.functions)


def _profile(work: Path, rounds: int) -> tuple[Counter[Stack], float]:
    """Samples of all installs, and CPU seconds of one without a profiler."""
    samples: Counter[Stack] = Counter()
    seconds = []
    with plain_index(work / "upstream", real_set.wheels(), CORES) as upstream:
        for number in range(rounds):
            for profiled in (False, True):
                folder = work / f"{number}-{profiled}"
                with servers.waystation(folder, upstream.url, cores=CORES) as ours:
                    ours.wait_idle(0.5)
                    if profiled:
                        samples += _sampled(ours, folder / "samples")
                    else:
                        before = ours.cpu_seconds()
                        _install(ours)
                        seconds.append(ours.cpu_seconds() - before)
    return samples, sorted(seconds)[rounds // 2]


def _install(ours: Server) -> None:
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    scratch = Path(tempfile.mkdtemp(dir=base))
    install("uv", f"{ours.url}/simple/", graph.roots(), scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    ours.wait_idle(0.5)


def _sampled(ours: Server, output: Path) -> Counter[Stack]:
    tool = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if tool is None:
        raise Broken("py-spy is not installed")
    command = [tool, "record", "--format", "raw", "--full-filenames", "--nonblocking"]
    command += ["--threads", "--rate", str(RATE), "--output", str(output)]
    command += ["--pid", str(ours.process.pid)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spy:
        time.sleep(SETTLE)
        _install(ours)
        spy.send_signal(signal.SIGINT)
    return Counter(dict(_stacks(output.read_text(errors="replace"))))


def _stacks(raw: str) -> Iterator[tuple[Stack, int]]:
    found: Counter[Stack] = Counter()
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        if not count.isdecimal():
            continue  # py-spy read a name that changed meanwhile
        found[tuple(map(_placed, frames.split(";")))] += int(count)
    yield from found.items()


def _placed(frame: str) -> tuple[str, str]:
    """Package and function; a package of ours with the one below ``proxy``."""
    match = _FRAME.match(frame)
    if match is None:
        return "", frame
    parts = Path(match["file"]).with_suffix("").parts
    for root in ("proxy", "site-packages"):
        if root in parts:
            inner = parts[parts.index(root) + 1 :]
            package = f"proxy.{inner[0]}" if root == "proxy" else inner[0]
            return package, f"{'.'.join(inner)}.{match['function']}"
    return f"python: {_library(parts)}", f"{parts[-1]}.{match['function']}"


def _library(parts: Sequence[str]) -> str:
    """The module or package of the standard library."""
    start = next((i for i, part in enumerate(parts) if part.startswith("python3")), -2)
    return parts[start + 1]


def _print(samples: Counter[Stack], seconds: float, functions: int) -> None:
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    top: Counter[str] = Counter()
    for stack, count in samples.items():
        package, function = stack[-1]
        own[package] += count
        top[function] += count
        within.update(dict.fromkeys((name for name, _ in stack), count))
    total = sum(own.values())
    print(f"{total} samples; {seconds:.2f} s of CPU without a profiler\n")
    print("| package | self | with what it calls |\n| --- | --- | --- |")
    for package, count in own.most_common():
        if count * 200 > total:
            print(f"| {package} | {count / total:.1%} | {within[package] / total:.1%} |")
    for function, count in top.most_common(functions):
        print(f"{count / total:6.1%}  {function}")


if __name__ == "__main__":
    main()
