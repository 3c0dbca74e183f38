"""What every test has: time in its hands, and no way to a network beyond this machine."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
from typing import Any

import hypothesis
import pytest

from tests.support.clock import Clock


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
# How long an example takes says more of what else the machine does than of the code.
hypothesis.settings.register_profile("waystation", deadline=None)
hypothesis.settings.load_profile("waystation")


@pytest.fixture
def clock() -> Clock:
    return Clock()
