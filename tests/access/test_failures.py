"""Limits of failed attempts."""

from __future__ import annotations

import pytest

from proxy.access import FailureLimits
from proxy.access.failures import MAX_COUNTED, MAX_FAILURES, WINDOW, network
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> FailureLimits:
    return FailureLimits(clock)


def test_an_address_waits_until_its_window_ends(limits: FailureLimits, clock: Clock) -> None:
    for number in range(MAX_FAILURES):
        assert limits.wait("192.0.2.1", "") is None
        limits.failed("192.0.2.1", f"user {number}")
    assert limits.wait("192.0.2.1", "") == 60
    assert limits.wait("192.0.2.2", "") is None
    clock.advance(WINDOW - 0.5)
    assert limits.wait("192.0.2.1", "") == 1
    clock.advance(0.5)
    assert limits.wait("192.0.2.1", "") is None


def test_a_user_name_is_limited_over_all_addresses(limits: FailureLimits) -> None:
    limits.succeeded("198.51.100.7", "alice")
    for number in range(MAX_FAILURES):
        limits.failed(f"192.0.2.{number}", "alice")
    assert limits.wait("192.0.2.200", "alice") is not None
    assert limits.wait("192.0.2.200", "bob") is None
    # An attacker cannot lock alice out where she has logged in.
    assert limits.wait("198.51.100.7", "alice") is None


def test_success_clears(limits: FailureLimits) -> None:
    for _ in range(MAX_FAILURES):
        limits.failed("192.0.2.1", "alice")
    limits.succeeded("192.0.2.1", "alice")
    assert limits.wait("192.0.2.1", "alice") is None


def test_a_clock_that_was_set_back_limits_no_address_for_long(
    limits: FailureLimits, clock: Clock
) -> None:
    for _ in range(MAX_FAILURES):
        limits.failed("192.0.2.1", "")
    clock.advance(-86400)
    assert limits.wait("192.0.2.1", "") is None


def test_memory_is_bounded(limits: FailureLimits) -> None:
    for number in range(MAX_COUNTED + 100):
        limits.failed("", f"user {number}")
    assert len(limits._failures) == MAX_COUNTED


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("-", "-"),
    ],
)
def test_an_address_of_ipv6_counts_as_its_network(address: str, counted: str) -> None:
    assert network(address) == counted
