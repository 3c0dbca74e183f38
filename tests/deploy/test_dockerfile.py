"""The shipped Dockerfile: built by buildah without a daemon, started, and requested.

Debian has no package of its base image. The test replaces it by a file system with Debian's own
Python, which mmdebstrap makes from the mirrors of this machine's apt; this machine's pip fetches
the wheels of the dependencies. compose.yaml is not run: it needs a daemon.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fork_server import ROOT

BASE = "docker.io/library/python:3.13-slim"
FOUND = all(shutil.which(each) for each in ("buildah", "mmdebstrap", "apt-config"))
PACKAGES = "python3,python3-pip,ca-certificates"
BASE_DOCKERFILE = """
FROM scratch
ADD base.tar /
RUN ln -sf python3 /usr/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not FOUND or os.geteuid() != 0,
        reason="building an image here needs root, buildah and mmdebstrap",
    ),
]


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=ROOT, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


class Buildah:
    """The program with its storage in a folder, where each layer is a plain copy."""

    def __init__(self, folder: Path) -> None:
        self._given = (
            *("buildah", "--root", str(folder / "root"), "--runroot", str(folder / "run")),
            *("--storage-driver", "vfs"),
        )

    def command(self, name: str, *arguments: str | Path) -> list[str]:
        isolated = ("--isolation", "chroot") if name in ("bud", "run") else ()
        return [*self._given, name, *isolated, *map(str, arguments)]

    def __call__(self, name: str, *arguments: str | Path) -> str:
        return run(*self.command(name, *arguments))


def _make_base(folder: Path) -> str:
    """A file system with Debian's Python in ``base.tar``; the version of that."""
    release = Path("/etc/os-release").read_text()
    suite = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    assert suite
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    mirrors = [each for each in sources if each.is_file() and "deb" in each.read_text()]
    acquire = re.findall(r"^Acquire::https?::.*(?=;$)", run("apt-config", "dump"), re.MULTILINE)
    run(
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}"),
        *("--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/locale/*"),
        *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
        *(f"--aptopt={each}" for each in acquire),
        *(suite[1], folder / "base.tar", *mirrors),
    )
    with tarfile.open(folder / "base.tar") as base:
        status = base.extractfile("./var/lib/dpkg/status")
        assert status
        found = re.search(rb"Package: python3-minimal\n(?:.+\n)*?Version: ([0-9.]+)", status.read())
    assert found
    return found[1].decode()


def _fetch_wheels(folder: Path, python: str) -> None:
    """Fetch the dependencies of the image, for that Python, and the build system of our wheel."""
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    ours = folder / "ours"
    ours.mkdir()
    run(sys.executable, "-c", build, ours)
    (wheel,) = ours.iterdir()
    run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"),
        *("--python-version", python, "--dest", folder / "wheels"),
        # What Debian's Python 3.11.2 needs besides: pip takes markers to be about its own Python.
        *("hatchling", "async-timeout>=4.0.3", f"{wheel}[warm,sign,export,scale]"),
    )
    for each in (folder / "wheels").glob("waystation-*"):
        each.unlink()


@pytest.fixture
def image(tmp_path: Path) -> Iterator[tuple[Buildah, str]]:
    """The image that the file makes, and a container of it."""
    folder = tmp_path
    buildah = Buildah(folder)
    context = folder / "base"
    context.mkdir()
    _fetch_wheels(folder, _make_base(context))
    (context / "Dockerfile").write_text(BASE_DOCKERFILE)
    buildah("bud", "--tag", BASE, context)
    (context / "base.tar").unlink()
    config = folder / "pip.conf"
    config.write_text("[global]\nno-index = true\nfind-links = /wheels-of-the-test\n")
    buildah(
        *(
            "bud",
            "--format",
            "docker",
            "--pull-never",
            "--tag",
            "waystation",
            "--file",
            ROOT / "deploy" / "Dockerfile",
        ),
        *("--volume", f"{folder / 'wheels'}:/wheels-of-the-test:ro"),
        *("--volume", f"{config}:/etc/pip.conf:ro", ROOT),
    )
    container = buildah("from", "--pull-never", "waystation").strip()
    yield buildah, container
    buildah("rm", "--all")
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _serving(buildah: Buildah, container: str, *flags: str) -> Iterator[str]:
    """The address of a server in the container, as its entry point and user have it."""
    config = json.loads(buildah("inspect", container))["OCIv1"]["config"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = subprocess.Popen(
        buildah.command(
            *("run", container, "--", *config["Entrypoint"], *config["Cmd"]),
            *("--port", str(port), *flags),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert started.stdout
    try:
        lines = []
        for line in started.stdout:
            lines.append(line)
            if line.strip().startswith("uv:"):
                break
        else:
            pytest.fail("".join(lines))
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        started.communicate(timeout=60)


def _asked(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as answer:
        return str(answer.read().decode())


def test_the_image_serves_as_a_user_without_rights_and_has_the_extras(
    image: tuple[Buildah, str],
) -> None:
    """One test, so the workers of pytest build one image."""
    buildah, container = image
    _serves(buildah, container)
    _has_all(buildah, container)


def _serves(buildah: Buildah, container: str) -> None:
    assert buildah("run", container, "--", "id", "-u").strip() == "10001"
    with _serving(buildah, container, "--offline") as address:
        assert _asked(f"{address}/readyz") == "ready\n"
        assert f"--index-url {address}/simple/ NAME" in _asked(address)
        config = json.loads(buildah("inspect", container))["Docker"]["config"]
        port = address.rpartition(":")[2]
        health = [each.replace("8080", port) for each in config["Healthcheck"]["Test"][1:]]
        buildah("run", container, "--", *health)


def _has_all(buildah: Buildah, container: str) -> None:
    extras = "import cryptography, readme_renderer, rich, uv; print(uv.find_uv_bin())"
    assert buildah("run", container, "--", "python", "-c", extras).strip().endswith("/uv")
    example = (ROOT / "settings.example.toml").read_text()
    assert buildah("run", container, "--", "waystation", "settings") == example
    checked = buildah("run", container, "--", "waystation", "check", "--no-network")
    assert "  cache /cache: ok" in checked.splitlines()
