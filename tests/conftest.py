"""Fixtures of all tests: a clock, and no way to a network beyond this machine."""

from __future__ import annotations

import gc
import ipaddress
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from tests.support.clock import Clock
from tests.support.redis_server import RedisServer, redis_program, valkey_program
from tests.support.running import PATH
from tests.support.seaweedfs import BUCKET, ObjectServer, object_server


def _only_loopback(event: str, args: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not isinstance(args[1], tuple):
        return
    try:
        allowed = ipaddress.ip_address(args[1][0].partition("%")[0]).is_loopback
    except ValueError:
        allowed = args[1][0] == "localhost"
    if not allowed:
        raise PermissionError(f"a test tried to connect to {args[1][0]}")


sys.addaudithook(_only_loopback)
gc.disable()  # what collecting makes stays; see pytest_collection_finish
# A shell starts background processes with Ctrl-C ignored, which processes of tests would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
socket.setdefaulttimeout(60)
os.environ["PATH"] = PATH
# No deadlines, of examples or of making them: such a time says more of the machine's load than of
# the code.
hypothesis.settings.register_profile(
    "default",
    deadline=None,
    max_examples=30,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
_default = hypothesis.settings.get_profile("default")
hypothesis.settings.register_profile("ci", _default, max_examples=100, derandomize=True)
hypothesis.settings.register_profile("thorough", _default, max_examples=2_000)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slow tests first, the longest before all, so that others run beside them."""

    def order(item: pytest.Item) -> tuple[bool, float]:
        limit = item.get_closest_marker("timeout")
        return item.get_closest_marker("slow") is None, -limit.args[0] if limit else 0.0

    items.sort(key=order)


def pytest_collection_finish() -> None:
    """Thousands of tests are no garbage: no later collection, of which tests ask for hundreds,
    has to look through them.
    """
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto`` is one worker more than processors, as many tests wait for other processes."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One for all tests that neither stop nor fill it."""
    with RedisServer(redis_program()) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    with RedisServer(valkey_program()) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Of an empty database."""
    redis_server.ask("FLUSHALL")
    return redis_server.url


@pytest.fixture
def valkey_url(valkey_server: RedisServer) -> str:
    """Of an empty database."""
    valkey_server.ask("FLUSHALL")
    return valkey_server.url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def shared_object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """The object store of all tests that do not stop it; each takes a prefix of its own."""
    with object_server(tmp_path_factory.mktemp("object-server")) as server:
        yield server


@pytest.fixture
def bucket(shared_object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty part of an object store, whose variables are set."""
    for name, value in shared_object_server.variables.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{secrets.token_hex(8)}"
