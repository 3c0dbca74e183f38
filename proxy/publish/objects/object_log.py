"""The log of steps in an object store: read as others add to it, and added to by creating objects.

A change is made exactly when the object of its step exists. What this process knows is the fold
of all steps up to a number; it looks for the next one every half second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence, Set
from contextlib import suppress

from proxy.errors import IndexUnavailable, StoreUnavailable
from proxy.model import ProjectName
from proxy.publish.objects.folded import Folded
from proxy.publish.objects.steps import (
    CHANGES,
    SEGMENTS,
    ChangeStep,
    decode_segment,
    decode_step,
    encode_segment,
    encode_step,
    key_of,
    number_in,
    segment_key,
    segment_of,
)
from proxy.runtime import end_tasks, in_thread
from proxy.scale import ObjectCalls

log = logging.getLogger(__name__)

LOOK_INTERVAL = 0.5
"""Seconds between looks for steps of other processes."""
LOOK_TIMEOUT = 1.0
"""Seconds that a reader waits for a look, if the last one is longer ago than this."""
FIRST_LOOK = 5.0
"""Seconds that a start waits until all steps are read; reading continues in the background."""
_PARALLEL_READS = 32

AnnounceProjects = Callable[[Set[ProjectName]], None]


class ObjectLog:
    """The steps of one index. While it is open, a task follows those of other processes."""

    def __init__(
        self, name: str, calls: ObjectCalls, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``name``: of the index, for log lines. ``clock``: seconds that only rise."""
        self.state = Folded()
        self.calls = calls
        self.is_loaded = False
        """Whether all steps were read once; until then nothing is certain."""
        self.looked = -float("inf")
        """When it was last certain that there is no further step, by ``clock``."""
        self.clock = clock
        self._name = name
        self._announce: AnnounceProjects = lambda projects: None
        self._reading = asyncio.Lock()
        self._trouble = ""
        self._segments = 0
        self._task: asyncio.Task[None] | None = None

    async def open(self, announce: AnnounceProjects) -> None:
        """Read all steps. A store that does not answer is no error.

        ``announce`` gets the projects of steps after they were read.
        """
        self._announce = announce
        looked = asyncio.Event()
        self._task = asyncio.create_task(self._follow(looked))
        with suppress(TimeoutError):
            await asyncio.wait_for(looked.wait(), FIRST_LOOK)

    async def close(self) -> None:
        if self._task:
            await end_tasks(self._task)

    async def look(self) -> None:
        """Make sure that the steps of the last second are known, if the store answers in time."""
        if self._trouble or self.clock() - self.looked < LOOK_TIMEOUT:
            return
        reading = asyncio.ensure_future(self.catch_up())
        reading.add_done_callback(_ignore)
        if not (await asyncio.wait({reading}, timeout=LOOK_TIMEOUT))[0]:
            self._note("the object store is slow")  # one reader waits for it, and no other

    async def catch_up(self) -> None:
        """Read all steps up to now. Raises ``StoreUnavailable``, and ``IndexUnavailable`` for a
        log that is damaged."""
        async with self._reading:
            began = self.clock()
            try:
                if not self.is_loaded:
                    await self._load()
                while step := await self._read(self.state.number + 1):
                    self._take([step])
            except ValueError as error:
                reason = f"the log of its changes cannot be read: {error}"
                raise IndexUnavailable(self._name, reason) from error
            self.looked = began
            self.is_loaded = True

    async def add(self, step: ChangeStep) -> bool:
        """Store the step, which begins with the next number; False: another process was faster.

        Raises ``StoreUnavailable``; then the step may have been stored nevertheless.
        """
        number = step.first
        created = await self.calls.create(key_of(number), encode_step(step))
        if not created:
            await self.catch_up()
            there = self.state.step(number)  # perhaps ours: a request may have been repeated
            return there is not None and there.writer == step.writer
        async with self._reading:
            if self.state.number + 1 == number:
                self._take([step])
        return True

    async def store_segments(self) -> None:
        """Store the segments that are complete and missing, so that later starts are short."""
        complete = segment_of(self.state.number + 1)
        there = [each.path async for part in self.calls.list(SEGMENTS) for each in part]
        for segment in range(complete):
            if segment_key(segment) not in there:
                mine = [step for step in self.state.steps if segment_of(step.first) == segment]
                data = await in_thread(encode_segment, mine)
                await self.calls.put(segment_key(segment), data)
        self._segments = complete

    async def _follow(self, looked: asyncio.Event) -> None:
        while True:
            try:
                await self.catch_up()
                self._note("")
                if segment_of(self.state.number + 1) > self._segments:
                    await self.store_segments()
            except StoreUnavailable:
                self._note("the object store does not answer")
            except IndexUnavailable as error:
                self._note(error.reason)
            looked.set()
            await asyncio.sleep(LOOK_INTERVAL)

    def _note(self, trouble: str) -> None:
        """Log the start and the end of a failure."""
        if trouble and not self._trouble:
            rest = "the packages that are known are served" if self.is_loaded else "it answers 503"
            log.warning("%s: %s; until then %s", self._name, trouble, rest)
        elif self._trouble and not trouble:
            log.info("%s: the object store answers again", self._name)
        self._trouble = trouble

    async def _load(self) -> None:
        """Segments first; then the steps after them, many at a time."""
        while steps := await self._read_segment():
            self._take(steps)
        after = key_of(self.state.number)
        keys = [each.path async for part in self.calls.list(CHANGES, after) for each in part]
        numbers = sorted(number_in(key) for key in keys)
        slots = asyncio.Semaphore(_PARALLEL_READS)
        found = await asyncio.gather(*(_within(slots, self._read, each) for each in numbers))
        for number, step in zip(numbers, found, strict=True):
            if step is None or number != self.state.number + 1:
                missing = key_of(self.state.number + 1)
                raise ValueError(f"the object {missing} is missing, and later ones are there")
            self._take([step])

    async def _read_segment(self) -> list[ChangeStep]:
        """The next steps from their segment; none if it is not stored, or damaged."""
        number = self.state.number + 1
        key = segment_key(segment_of(number))
        data = await self.calls.read(key)
        if data is None:
            return []
        try:
            steps = await in_thread(decode_segment, data)
        except (ValueError, OSError, EOFError) as error:
            log.warning("%s: the object %s is damaged, and not used: %s", self._name, key, error)
            return []
        following = [step for step in steps if step.first >= number]
        return following if following and following[0].first == number else []

    async def _read(self, number: int) -> ChangeStep | None:
        """Raises ``ValueError`` for an object that is damaged."""
        data = await self.calls.read(key_of(number))
        return None if data is None else decode_step(data, number)

    def _take(self, steps: Sequence[ChangeStep]) -> None:
        changed: set[ProjectName] = set()
        for step in steps:
            changed |= self.state.apply(step)
        self._announce(changed)


async def _within(
    slots: asyncio.Semaphore, work: Callable[[int], Awaitable[ChangeStep | None]], number: int
) -> ChangeStep | None:
    async with slots:
        return await work(number)


def _ignore(done: asyncio.Future[None]) -> None:
    """The follower has the same failure, and logs it."""
    if not done.cancelled():
        done.exception()
