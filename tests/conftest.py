"""What every test has: time in its hands, and no way to a network beyond this machine."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
from typing import Any

import hypothesis
import pytest

from tests.support.clock import Clock
from tests.support.running import PATH


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
# A shell starts what runs behind it with Ctrl-C ignored, and so would be what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
socket.setdefaulttimeout(60)
os.environ["PATH"] = PATH
# No deadline: the time of an example says more of the machine's load than of the code.
hypothesis.settings.register_profile("default", deadline=None, max_examples=30)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slow tests first, the longest before all, so that others run beside them."""

    def order(item: pytest.Item) -> tuple[bool, float]:
        limit = item.get_closest_marker("timeout")
        return item.get_closest_marker("slow") is None, -limit.args[0] if limit else 0.0

    items.sort(key=order)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto`` is one worker more than processors, as many tests wait for other processes."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture
def clock() -> Clock:
    return Clock()
