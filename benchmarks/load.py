"""Load by wrk: requests per second, and what each costs the server in CPU time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.processes import Broken, Server, clean_environment

CONNECTIONS = 32

_IN_TURN = """
local requests, at = {{}}, -1
init = function(arguments)
  {requests}
end
request = function()
  at = (at + 1) % {number}
  return requests[at]
end
"""
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


def drive_in_turn(
    server: Server,
    path: str,
    clients: Sequence[Mapping[str, str]],
    *,
    seconds: int,
    refused: float = 0.0,
) -> Load:
    """As ``drive``, with the headers of one client after the other. ``refused``: the share of
    requests that are to be answered with an error.
    """
    made = "\n".join(
        f"requests[{at}] = wrk.format(nil, nil, {{{_fields(each)}}})"
        for at, each in enumerate(clients)
    )
    turn = _IN_TURN.format(requests=made, number=len(clients))
    script = _SCRIPT.format(headers=turn)
    return _run(server, path, script, seconds, CONNECTIONS, refused)


def _run(
    server: Server, path: str, script: str, seconds: int, connections: int, refused: float = 0.0
) -> Load:
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
    return _result(server, path, done.stdout + done.stderr, cpu, refused)


def _result(server: Server, path: str, output: str, cpu: float, refused: float) -> Load:
    _, found, rest = output.partition("RESULT ")
    result = json.loads(rest.splitlines()[0]) if found else {"requests": 0}
    share = result["failed"] / result["requests"] if result["requests"] else 1.0
    if abs(share - refused) > refused / 100:
        raise Broken(f"{server.name} did not answer all requests for {path}:\n{output}")
    requests = result["requests"]
    rate = requests / result["seconds"]
    return Load(rate, cpu / requests * 1e6)


def _fields(headers: Mapping[str, str]) -> str:
    return ", ".join(f'["{name}"] = [==[{value}]==]' for name, value in headers.items())


def _lua(headers: Mapping[str, str]) -> str:
    return "\n".join(f'wrk.headers["{name}"] = [==[{value}]==]' for name, value in headers.items())
