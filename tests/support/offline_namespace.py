"""``python -m tests.support.offline_namespace PORT CACHE UPSTREAM COMMAND…``

Runs the command beside an offline server, in a network namespace with loopback and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

LIMIT = 60.0


def main(port: str, cache: str, upstream: str, *command: str) -> int:
    serve = [sys.executable, "-m", "proxy", "serve", "--offline", "--port", port]
    serve += ["--cache-dir", cache, "--upstream", upstream]
    with subprocess.Popen(serve, stdout=subprocess.DEVNULL, cwd=Path(cache).parent) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/readyz")
            return subprocess.run(command, check=False).returncode
        finally:
            server.terminate()


def _wait(address: str) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        try:
            with urlopen(address, timeout=LIMIT) as answer:
                answer.read()
            return
        except URLError:
            time.sleep(0.05)
    raise TimeoutError(address)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
