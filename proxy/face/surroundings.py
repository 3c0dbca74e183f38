"""The facts about the server that pages for people show; each has a default for tests.

Every start creates this value, so modules that only pages need are not imported here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from proxy.indexes import Index

if TYPE_CHECKING:
    from proxy.access import SharedTokens, TokenStore
    from proxy.web import Administration


async def _no_names() -> Set[str]:
    return frozenset()


async def _nothing() -> int:
    return 0


class Surroundings(msgspec.Struct, frozen=True):
    """Of one server."""

    index_url: Callable[[], str]
    """The address of the index at the root."""
    fixed_url: bool = False
    """Whether that address is shown whatever address a request was sent to."""
    names: Callable[[], Sequence[str]] = tuple
    """Those of the indexes beside that at the root."""
    offline: bool = False
    indexes: Callable[[], Iterable[Index]] = tuple
    """All that are served."""
    private_names: Callable[[], Awaitable[Set[str]]] = _no_names
    """The projects of directories."""
    poll: Callable[[], None] = lambda: None
    """Has changes of directories announced."""
    cache_size: Callable[[], Awaitable[int]] = _nothing
    """Counts the bytes of all files in the cache, which takes a while."""
    cache_limit: int | None = None
    """Bytes."""
    audit_folder: Path | None = None
    """The audit, if answers are recorded."""
    administration: Callable[[], Administration | None] = lambda: None
    token_store: Callable[[], TokenStore | SharedTokens] | None = None
    """Opens the tokens; None without access control."""
    token_max_age: float | None = None
    """Seconds."""
    certificate: str = ""
    """The certificates of this server as PEM; empty without TLS of its own."""
    clock: Callable[[], float] = time.time
