"""An open local directory, and its events."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proxy.events import Event, PageChanged, PageRevalidated
from proxy.indexes.local import LocalDirectory
from proxy.model import ProjectName
from tests.support.records import CountedRecords

FOO = ProjectName("foo")
BAR = ProjectName("bar")


class HeardChanges(list[Event]):
    """Events, and a way to wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.append(event)
        self._more.set()

    def changes(self) -> list[ProjectName | None]:
        return [event.project for event in self if isinstance(event, PageChanged)]

    def revalidated(self) -> list[ProjectName]:
        return [event.project for event in self if isinstance(event, PageRevalidated)]

    async def until(self, test: Callable[[], bool], limit: float = 20.0) -> None:
        """Wait for events until the test passes."""
        async with asyncio.timeout(limit):
            while not test():
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def opened(
    root: Path,
    records: CountedRecords | None = None,
    heard: HeardChanges | None = None,
    **options: Any,
) -> AsyncIterator[LocalDirectory]:
    events = HeardChanges() if heard is None else heard
    records = records or CountedRecords()
    options = {"claims": records.claims} | options
    directory = LocalDirectory("private", root, records, events, **options)
    await directory.open()
    try:
        yield directory
    finally:
        await directory.close()


async def names(directory: LocalDirectory, project: ProjectName = FOO) -> list[str]:
    """The filenames on the project's page."""
    return [file.filename for file in (await directory.page(project)).files]


def reads_of(root: Path) -> list[str]:
    """Paths of distributions that are opened for reading from now on."""
    found: list[str] = []

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and str(args[0]).startswith(f"{root}/") and args[1] is None:
            found.append(str(args[0]))  # by os.open, as the index does; not by the test

    sys.addaudithook(hook)
    return found
