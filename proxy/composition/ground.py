"""The parts that all indexes use, and those that indexes of former and new settings share."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from proxy.composition.cache import Cache
from proxy.composition.policies import Epoch
from proxy.events import Events
from proxy.policies import ParsedPages
from proxy.upstream import InFlight

T = TypeVar("T")


class _Part(msgspec.Struct):
    key: tuple[object, ...]
    value: Any
    closing: AsyncExitStack
    users: int = 0


class SharedParts:
    """Parts by what they are made of. Each is closed when its last user has released it.

    After a reload, indexes whose settings are the same use the same mirrors and directories, with
    their caches, connections and downloads.
    """

    def __init__(self) -> None:
        self._parts: list[_Part] = []

    async def use(
        self,
        key: tuple[object, ...],
        open_part: Callable[[], AbstractAsyncContextManager[T]],
        user: AsyncExitStack,
    ) -> T:
        """The open part of that key, opened if there is none; released when ``user`` closes."""
        part = next((each for each in self._parts if each.key == key), None)
        if part is None:
            closing = AsyncExitStack()
            part = _Part(key, await closing.enter_async_context(open_part()), closing)
            self._parts.append(part)
        part.users += 1
        user.push_async_callback(self._release, part)
        value: T = part.value
        return value

    async def _release(self, part: _Part) -> None:
        part.users -= 1
        if not part.users:
            self._parts.remove(part)
            await part.closing.aclose()


@dataclass(frozen=True, slots=True)
class Ground:
    """The parts below all indexes; a reload leaves them as they are."""

    events: Events
    cache: Cache
    traffic: InFlight
    epoch: Epoch
    """Grows whenever the policies know something new."""
    clock: Callable[[], float] = time.time
    parts: SharedParts = field(default_factory=SharedParts)
    parsed_pages: ParsedPages = field(default_factory=ParsedPages)
