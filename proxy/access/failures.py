"""Limits of failed attempts, by address and by user name, in bounded memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from proxy.runtime import BoundedDict

MAX_FAILURES = 10
"""Wrong credentials of an address, or for a user name, in ``WINDOW``; then checks are refused."""
WINDOW = 60.0
"""Seconds."""
MAX_COUNTED = 20_000
"""Addresses and user names whose failures are counted."""


class FailureLimits:
    """Counts wrong credentials. Do not count requests without credentials.

    An empty address is not limited.

    An attacker who tries the password of a user must not lock that user out: an address from
    which a user name has succeeded is not limited by the failures of other addresses.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._failures: BoundedDict[tuple[str, str], tuple[float, int]] = BoundedDict(MAX_COUNTED)
        """By kind and value: when the window began, and the failures in it."""
        self._known: BoundedDict[tuple[str, str], None] = BoundedDict(MAX_COUNTED)
        """Pairs of address and user name that have succeeded."""

    def wait(self, address: str, user: str) -> int | None:
        """Seconds until credentials are checked again; None: they are checked now."""
        place = network(address)
        keys = [("address", place)] if address else []
        if user and (place, user) not in self._known:
            keys.append(("user", user))
        return max(filter(None, map(self._left, keys)), default=None)

    def failed(self, address: str, user: str) -> None:
        now = self._clock()
        place = [("address", network(address))] if address else []
        for key in [*place, *([("user", user)] if user else [])]:
            started, count = self._failures.get(key, (now, 0))
            if not started <= now < started + WINDOW:
                started, count = now, 0
            self._failures[key] = started, count + 1

    def succeeded(self, address: str, user: str) -> None:
        place = network(address)
        self._failures.pop(("address", place), None)
        if user:
            self._failures.pop(("user", user), None)
            self._known[place, user] = None

    def _left(self, key: tuple[str, str]) -> int | None:
        started, count = self._failures.get(key, (0.0, 0))
        left = started + WINDOW - self._clock()
        return max(1, math.ceil(left)) if count >= MAX_FAILURES and 0 < left <= WINDOW else None


def network(address: str) -> str:
    """The address; of IPv6 its /64, which one client has as a whole."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(found)
