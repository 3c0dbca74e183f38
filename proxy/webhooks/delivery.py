"""Delivers the changes of an index to a receiver: in order, each at least once.

A change is sent until the receiver answers with a success, with growing pauses; later ones wait
for it. Progress is stored durably, so a restart continues where the last process ended.
Of all processes that serve a directory one delivers: the one that has the lock.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from proxy.errors import UpstreamError
from proxy.publish import ChangeJournal, PackageChange, write_durably
from proxy.runtime import in_thread, try_lock

log = logging.getLogger(__name__)

LOOK_INTERVAL = 0.5
"""Seconds between looks for changes, and for the lock."""
CHANGES_READ = 100
"""Changes that are read together."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 600.0
"""Seconds before a failed request is repeated; each pause is twice as long as the one before."""
LONGEST_ASKED = 3600.0
"""Seconds of the longest pause that a receiver may ask for with ``Retry-After``."""


class DeliveryState(msgspec.Struct, frozen=True, omit_defaults=True):
    delivered: int
    """The number of the last change that is delivered, or of which the receiver wants nothing."""
    failures: int = 0
    """Attempts in a row that have failed to deliver the next one."""
    failing_since: float = 0.0
    """Unix time in seconds of the first of these."""
    problem: str = ""
    """Why the last attempt failed."""


class StateFile:
    """The progress of one webhook on the changes of one index.

    The file lies beside the journal. The cache may be deleted at any time, after which a receiver
    would miss changes or get all of them again. All methods block, and raise ``OSError``.
    """

    def __init__(self, folder: Path, webhook: str) -> None:
        """``folder``: that of the journal."""
        folder = folder / "webhooks"
        self._path = folder / f"{webhook}.json"
        self.lock = folder / f"{webhook}.lock"
        """The file of the lock that the delivering process has."""

    def begin(self, number: int) -> None:
        """A webhook that is new begins after the change of that number."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.load() is None:
            self.save(DeliveryState(number))

    def load(self) -> DeliveryState | None:
        """None: the webhook is new."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=DeliveryState)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            problem = f"{self._path} is damaged ({error}): delete it to begin with now"
            raise OSError(problem) from None

    def save(self, state: DeliveryState) -> None:
        """Durable when this returns."""
        write_durably(self._path, msgspec.json.encode(state))


class EventClient(Protocol):
    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Raises ``UpstreamError`` if the receiver has not taken the document."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver, and what it wants."""

    name: str
    secret: bytes
    actions: Set[str]
    """Empty: all."""

    def wants(self, change: PackageChange) -> bool:
        return not self.actions or change.action in self.actions

    def request(
        self, index: str, change: PackageChange, now: float
    ) -> tuple[bytes, dict[str, str]]:
        """Body and headers. The signature is the HMAC-SHA256 (RFC 2104) of id, time and body."""
        at = str(int(now))
        identity = f"{index}-{change.number}"
        body = msgspec.json.encode({"index": index, **msgspec.to_builtins(change)})
        signed = f"{identity}.{at}.".encode() + body
        signature = hmac.digest(self.secret, signed, "sha256").hex()
        return body, {
            "Waystation-Id": identity,
            "Waystation-Time": at,
            "Waystation-Signature": f"sha256={signature}",
        }


class Delivery:
    """Of one webhook and one index."""

    def __init__(
        self,
        webhook: Webhook,
        index: str,
        journal: ChangeJournal,
        folder: Path,
        client: EventClient,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``folder`` as in ``StateFile``."""
        self.webhook = webhook
        self.index = index
        self._journal = journal
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._file = StateFile(folder, webhook.name)
        self._state = DeliveryState(0)
        self._is_logged = False

    @property
    def failing_seconds(self) -> float:
        """Seconds for which the next change could not be delivered; 0 if it can, or there is
        none."""
        since = self._state.failing_since
        return max(0.0, self._clock() - since) if since else 0.0

    async def begin(self) -> None:
        """A new webhook gets the changes from now on."""
        try:
            number = await in_thread(self._journal.last_number)
            await in_thread(self._file.begin, number)
        except OSError as error:
            self._log_disk(error)

    async def run(self) -> None:
        """Deliver, whenever no other process does, until this is cancelled."""
        while True:
            with try_lock(self._file.lock) as mine:
                try:
                    known: DeliveryState | None = await in_thread(self._file.load)
                    self._state = known or self._state
                    while mine:
                        await self._deliver_new()
                        await self._sleep(LOOK_INTERVAL)
                except OSError as error:
                    self._log_disk(error)
            await self._sleep(LOOK_INTERVAL)

    async def _deliver_new(self) -> None:
        changes = await in_thread(self._journal.changes, self._state.delivered, CHANGES_READ)
        for change in changes:
            if self.webhook.wants(change):
                await self._deliver(change)
                await self._note(DeliveryState(change.number))
        if changes and self._state.delivered < changes[-1].number:
            await self._note(DeliveryState(changes[-1].number))

    async def _deliver(self, change: PackageChange) -> None:
        while True:
            body, headers = self.webhook.request(self.index, change, self._clock())
            try:
                await self._client.post(body, headers)
            except UpstreamError as error:
                await self._wait_after(error, change)
            else:
                if self._state.failures:
                    log.info("%s is delivered again, from change %d on", self, change.number)
                return

    async def _wait_after(self, error: UpstreamError, change: PackageChange) -> None:
        before = self._state
        if not before.failures:
            log.warning(
                "%s: change %d is not delivered, and will be sent again: %s",
                self,
                change.number,
                error.reason,
            )
        since = before.failing_since or self._clock()
        failed = DeliveryState(before.delivered, before.failures + 1, since, error.reason)
        await self._note(failed)
        await self._sleep(_pause(failed.failures, error.retry_after))

    async def _note(self, state: DeliveryState) -> None:
        await in_thread(self._file.save, state)
        self._state = state
        self._is_logged = False

    def _log_disk(self, error: OSError) -> None:
        """Once, until the disk works again."""
        if not self._is_logged:
            log.error("%s: nothing is delivered: %s", self, error)
        self._is_logged = True

    def __str__(self) -> str:
        return f"webhook {self.webhook.name} of {self.index}"


def _pause(failures: int, asked: int | None) -> float:
    """Seconds. At random, so that a receiver that is back does not get all requests at once."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 20))
    return max(longest * random.uniform(0.5, 1), min(asked or 0, LONGEST_ASKED))  # noqa: S311
