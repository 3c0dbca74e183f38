"""How the servers are started: nginx with static files, ours, and the fake upstream."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.clients import get, get_json
from benchmarks.measures import OURS
from benchmarks.processes import LOAD_CORE, SERVER_CORE, Server, free_port, running

SOURCE = Path(__file__).parents[1]

_NGINX = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log;
events {{ worker_connections 1024; }}
http {{
  {files}
  sendfile on;
  tcp_nopush on;
  gzip_static on;
  gzip_vary on;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  types {{ }}
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    root {root};
    location /simple/ {{
      default_type application/vnd.pypi.simple.v1+json;
      index index.json;
    }}
    location /html/ {{ default_type "text/html; charset=utf-8"; }}
  }}
}}
"""
"""As the Debian package sets it, with one worker and without a limit of requests a connection."""

TUNED = "nginx, tuned"
_TUNED = """access_log off;
  open_file_cache max=100000 inactive=1h;
  open_file_cache_valid 1h;"""
"""Without a log, and with open files kept: what nginx can do if only speed counts."""


@contextlib.contextmanager
def nginx(
    folder: Path, root: Path, cores: Sequence[int] = (SERVER_CORE,), tuned: bool = False
) -> Iterator[Server]:
    """One worker that serves the files below ``root``, with an access log unless ``tuned``."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    (root / "ready").write_text("yes")
    user = "user root;" if os.getuid() == 0 else ""
    files = _TUNED if tuned else f"access_log {folder}/nginx-access.log;"
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, root=root, port=port, user=user, files=files))
    command: list[str | Path] = ["nginx", "-p", folder]
    command += ["-e", folder / "nginx-start.log", "-c", config]
    name = TUNED if tuned else "nginx"
    with running(name, command, port=port, folder=folder, ready="/ready", cores=cores) as server:
        yield server


@contextlib.contextmanager
def waystation(
    folder: Path,
    upstream: str,
    *,
    packages: Path | None = None,
    settings: Mapping[str, str] | None = None,
    ready: str = "/readyz",
    cores: Sequence[int] = (SERVER_CORE,),
    config: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """One process, with an access log; its cache is ``folder / "cache"`` and stays.

    ``config``: a file of settings with indexes, instead of ``upstream`` and ``packages``.
    ``settings``: by their names in the settings file. ``variables``: of the environment.
    ``upstream``: the root of its address. ``ready``: the path whose first good answer is waited
    for.
    """
    port = free_port()
    local = packages or folder / "packages"
    local.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "proxy", "serve", "--host", "127.0.0.1", "--port", str(port)]
    if config:
        command += ["--config", str(config)]
    else:
        command += ["--upstream", f"{upstream}/simple/", "--packages", str(local)]
    command += ["--cache-dir", str(folder / "cache")]
    environment = {f"WAYSTATION_{key.upper()}": value for key, value in (settings or {}).items()}
    environment |= {**(variables or {}), "PYTHONPATH": str(SOURCE)}
    with running(
        OURS,
        command,
        port=port,
        folder=folder,
        environment=environment,
        ready=ready,
        cores=cores,
    ) as server:
        yield server


class FakeUpstream:
    """The fake upstream, seen from here."""

    def __init__(self, server: Server) -> None:
        self.url = server.url

    def pace(self, latency: float = 0.0, rate: float = 0.0) -> None:
        """Seconds an answer; bytes per second a stream, 0 for no limit."""
        get(f"{self.url}/-/pace?latency={latency}&rate={rate}")

    def counts(self) -> Counter[str]:
        """The counts since the start: requests, pages, metadata, files, bytes, ..."""
        return Counter({key: int(str(n)) for key, n in get_json(f"{self.url}/-/counts").items()})

    def asked(self) -> set[str]:
        """The names of the requested wheels."""
        return set(get_json(f"{self.url}/-/asked"))

    def wait_quiet(self, quiet: float, patience: float = 30.0) -> Counter[str]:
        """The counts, after ``rest`` seconds without a request."""
        deadline = time.monotonic() + patience
        last = self.counts()
        while time.monotonic() < deadline:
            time.sleep(quiet)
            now = self.counts()
            if now == last:
                break
            last = now
        return last


@contextlib.contextmanager
def fake_upstream(
    folder: Path, wheels: Path | None = None, cores: Sequence[int] = (LOAD_CORE,)
) -> Iterator[FakeUpstream]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.fake_upstream", "--port", str(port)]
    command += ["--wheels", str(wheels)] if wheels else []
    environment = {"PYTHONPATH": str(SOURCE)}
    with running(
        "fake upstream",
        command,
        port=port,
        folder=folder,
        environment=environment,
        ready="/-/counts",
        cores=cores,
    ) as server:
        yield FakeUpstream(server)
