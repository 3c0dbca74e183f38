"""Servers with pages for people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from proxy.events import Events
from proxy.face import History, Recent, Surroundings, create_face
from proxy.runtime import SharedCounters
from proxy.storage import MemoryRecords, SearchFile
from proxy.web import Counters
from tests.support.fake_index import FakeIndex
from tests.support.policies import GuardedFake
from tests.support.site import Site, serving

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@asynccontextmanager
async def facing(
    index: FakeIndex | GuardedFake, *, url: str = "http://127.0.0.1/simple/", **options: Any
) -> AsyncIterator[Site]:
    """``options`` as for ``serving``, and those of ``Surroundings``."""
    names = ("fixed_url", "offline", "certificate", "names")
    around = Surroundings(lambda: url, **{key: options.pop(key) for key in names if key in options})
    with TemporaryDirectory() as folder:
        search, records = SearchFile(Path(folder) / "search.sqlite"), MemoryRecords()
        counters = Counters(SharedCounters.single_process())
        past = History(counters, records, "test", samples=True, shared=False)
        face = create_face(around, search, Events(), past, Recent(records, "test", 0))
        async with serving(index, pages=face, **options) as site:
            yield site
