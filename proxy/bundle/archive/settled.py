"""A page read out of a cache in which servers may be replacing it."""

from __future__ import annotations

import asyncio

from proxy.storage.pages import StoredPage, StoredPages

_PAUSES = (0.0, 0.05, 0.5)
"""Seconds before each look."""


async def read_consistent_page(
    pages: StoredPages, key: str
) -> tuple[StoredPage | None, bytes | None]:
    """Head and document of one page: while it is replaced, for a moment none has the other."""
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        head = await pages.head(key)
        packed = await pages.document(key, head.digest) if head else None
        if head is None or packed is not None:
            break
    return head, packed
