"""Load by wrk: requests per second, and what each costs the server in CPU time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.processes import Broken, Server, clean_environment

CONNECTIONS = 32

_SCRIPT = """
{headers}
function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.status + summary.errors.timeout
  io.write(string.format(
    '\\nRESULT {{"requests": %d, "seconds": %f, "failed": %d}}\\n',
    summary.requests, summary.duration / 1e6, failed))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    rate: float
    """Requests per second."""
    cpu: float
    """The server's CPU time for each, in microseconds."""


def drive(
    server: Server,
    path: str,
    headers: Mapping[str, str],
    *,
    seconds: int,
    connections: int = CONNECTIONS,
) -> Load:
    """Request one path as fast as answers come, over persistent connections."""
    script = _SCRIPT.format(headers=_lua(headers))
    return _run(server, path, script, seconds, connections)


def _run(server: Server, path: str, script: str, seconds: int, connections: int) -> Load:
    file = server.log.with_suffix(".lua")
    file.write_text(script)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    before = server.cpu_seconds()
    done = subprocess.run(
        [*command, "-s", str(file), server.url + path],
        env=clean_environment(file.parent),
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    cpu = server.cpu_seconds() - before
    return _result(server, path, done.stdout + done.stderr, cpu)


def _result(server: Server, path: str, output: str, cpu: float) -> Load:
    _, found, rest = output.partition("RESULT ")
    result = json.loads(rest.splitlines()[0]) if found else {"requests": 0}
    if not result["requests"] or result["failed"]:
        raise Broken(f"{server.name} did not answer all requests for {path}:\n{output}")
    requests = result["requests"]
    rate = requests / result["seconds"]
    return Load(rate, cpu / requests * 1e6)


def _lua(headers: Mapping[str, str]) -> str:
    return "\n".join(f'wrk.headers["{name}"] = [==[{value}]==]' for name, value in headers.items())
