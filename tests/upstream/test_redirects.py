"""When the breaker stops asking, and when it tries again."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import UpstreamError
from proxy.upstream.redirects import Breaker
from tests.support.clock import Clock


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(TimeoutError), breaker.attempt():
            raise TimeoutError


def refused(breaker: Breaker) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught, breaker.attempt():
        raise AssertionError("was let through")
    return caught.value


def succeed(breaker: Breaker) -> None:
    with breaker.attempt():
        pass


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("pypi", clock=clock)


def test_opens_after_five_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, 4)
    succeed(breaker)
    fail(breaker, 5)
    assert refused(breaker).retry_after == 15


def test_what_is_no_failed_connection_does_not_count(breaker: Breaker) -> None:
    for _ in range(9):
        with pytest.raises(ConnectionError), breaker.attempt():
            raise ConnectionResetError  # it was made, and broke over one request
        with pytest.raises(KeyError), breaker.attempt():
            raise KeyError
    succeed(breaker)


def test_one_trial_after_the_pause_then_all_or_none(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.advance(14.5)
    assert refused(breaker).retry_after == 1
    clock.advance(0.5)
    with breaker.attempt():
        refused(breaker)
    succeed(breaker)
    fail(breaker, 5)
    clock.advance(15)
    fail(breaker)
    assert refused(breaker).retry_after == 15


def test_cancelled_trial_leaves_the_next_one_its_turn(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.advance(15)
    with pytest.raises(asyncio.CancelledError), breaker.attempt():
        raise asyncio.CancelledError
    succeed(breaker)
    succeed(breaker)


def test_late_failures_do_not_prolong_the_pause(breaker: Breaker, clock: Clock) -> None:
    under_way = [breaker.attempt() for _ in range(6)]
    for each in under_way:
        each.__enter__()
    for each in under_way[:5]:
        each.__exit__(ConnectionResetError, ConnectionResetError(), None)
    clock.advance(10)
    under_way[5].__exit__(ConnectionResetError, ConnectionResetError(), None)
    clock.advance(5)
    succeed(breaker)
