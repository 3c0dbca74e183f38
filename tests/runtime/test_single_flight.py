"""One piece of work per key."""

from __future__ import annotations

import asyncio

from proxy.runtime import SingleFlight


async def nothing() -> None:
    return


async def test_concurrent_callers_share_one_call() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    gate = asyncio.Event()
    runs = 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        await gate.wait()
        return runs

    asking = [asyncio.create_task(flights.do("a", work)) for _ in range(5)]
    await asyncio.sleep(0)
    assert flights.is_running("a")
    gate.set()
    assert await asyncio.gather(*asking) == [1] * 5
    assert not flights.is_running("a")


async def test_what_has_ended_is_not_under_way_any_more() -> None:
    """Not even before the loop runs its callbacks: a caller that waits for its end would hang."""
    flights: SingleFlight[str, None] = SingleFlight()

    async def look() -> tuple[bool, bool, bool]:
        former = ended.done(), flights.is_running("a")
        return *former, flights.start("a", nothing) is ended

    ended = flights.start("a", nothing)
    assert await asyncio.create_task(look()) == (True, False, False)  # runs right after it
    await flights.do("a", nothing)
    await flights.close()
