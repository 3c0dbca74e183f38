"""The running downloads: one for each file, with any number of readers, owned by no request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from proxy.errors import DigestMismatch, ProxyError, UpstreamError
from proxy.runtime import end_tasks, in_thread
from proxy.storage import BlobStore, Room, no_limit
from proxy.upstream.answers import Body, Fetch
from proxy.upstream.digest_check import Expected
from proxy.upstream.download import Download
from proxy.upstream.receiver import Receiver
from proxy.upstream.spool import IN_MEMORY, Buffer, Spool, log_not_stored

__all__ = ["Body", "Download", "Downloads", "Expected", "Fetch"]

log = logging.getLogger(__name__)

MAX_IN_MEMORY = 128
"""Running downloads beside which a new one uses a file: a disk may be slow for a long time."""

Done = Callable[[str, int], Awaitable[None]]
"""Called with the sha256 and the size in bytes of a file that is in the store now."""

Distrust = Callable[[DigestMismatch], bool]


class RunningDownload(msgspec.Struct, frozen=True):
    """How far a download is."""

    index: str
    what: str
    """File and project, in words."""
    received: int
    """Bytes so far."""
    size: int | None
    """Bytes of the file, if known."""
    readers: int


class Downloads:
    """Starts downloads, puts verified files into the store, and ends downloads at shutdown.

    A reader that leaves cancels nothing: the download is finished for the next request.
    """

    def __init__(
        self,
        store: BlobStore,
        folder: Path,
        *,
        room: Room = no_limit,
        retries: int = 2,
        backoff: float = 0.5,
        memory: int = 8 * 2**20,
        patience: float = 10.0,
        keeps: bool = True,
    ) -> None:
        """``folder``: on the store's file system, for files that are arriving. ``room`` is entered
        with the bytes of each file while it is put into the store.

        A body that breaks off is resumed ``retries`` times, the first time after ``backoff``
        seconds and then after four times as many. ``memory``: bytes of each download that are
        kept if the disk takes none; then the first reader has to come within ``patience`` seconds.
        ``keeps``: files are put into the store; else they are gone when they have been read.
        """
        self._store = store
        self._folder = folder
        self._room = room
        self._pauses = [backoff * 4**number for number in range(retries)]
        self._memory = memory
        self._patience = patience
        self._keeps = keeps
        self._current: dict[str, Download] = {}
        self._tasks: dict[asyncio.Task[None], Download] = {}

    def join(self, key: str) -> Download | None:
        """The running download of that key, if a reader can still get its first byte."""
        download = self._current.get(key)
        return download if download is not None and download.joinable else None

    def start(
        self,
        key: str,
        expected: Expected,
        fetch: Fetch,
        done: Done,
        distrust: Distrust = lambda error: False,
    ) -> Download:
        """The running download of that key, or a new one.

        ``distrust`` is called with the error about wrong bytes, and says whether another fetch
        may bring the right ones: it is tried if no reader has a byte yet.
        """
        if running := self.join(key):
            return running
        small = expected.size is None or expected.size <= IN_MEMORY
        in_memory = small and len(self._tasks) < MAX_IN_MEMORY
        buffer = Buffer(Spool(self._folder), window=self._memory, in_memory=in_memory)
        download = self._current[key] = Download(expected, buffer, patience=self._patience)
        task = asyncio.create_task(self._run(download, fetch, done, distrust))
        self._tasks[task] = download
        task.add_done_callback(lambda ended: self._ended(key, download, ended))
        return download

    def running(self) -> list[RunningDownload]:
        """Those that are running now."""
        return [
            RunningDownload(
                *(each.expected.index, each.expected.what, each.buffer.end, each.size),
                each.readers,
            )
            for each in self._tasks.values()
        ]

    async def wait_stored(self, download: Download) -> None:
        """Wait until the download has failed, or its file is stored or cannot be stored.

        Readers have all bytes a moment earlier.
        """
        if tasks := [task for task, running in self._tasks.items() if running is download]:
            await asyncio.wait(tasks)

    async def close(self, grace: float) -> None:
        """Let downloads finish for up to ``grace`` seconds, then cancel them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        rest = list(self._tasks)
        await end_tasks(*rest)

    async def _run(self, download: Download, fetch: Fetch, done: Done, distrust: Distrust) -> None:
        try:
            sha256 = await self._received(download, fetch, distrust)
            await asyncio.sleep(0)  # readers that wait for the last bytes come first
            await self._store_file(download, sha256, done)
        except ProxyError as error:
            log.info("not downloaded: %s", error)
            download.fail(error)
        except BaseException:
            interrupted = f"{download.expected.what} was interrupted"
            download.fail(UpstreamError(download.expected.index, interrupted))
            raise
        finally:
            download.buffer.spool.remove()

    async def _received(self, download: Download, fetch: Fetch, distrust: Distrust) -> str:
        while True:
            try:
                return await Receiver(download, fetch, self._folder).receive(self._pauses)
            except DigestMismatch as error:
                if not distrust(error) or not await download.start_over():
                    raise

    async def _store_file(self, download: Download, sha256: str, done: Done) -> None:
        """Readers do not wait for this, and lose nothing if it fails."""
        buffer = download.buffer
        if buffer.window is not None or not self._keeps:
            return
        try:
            if buffer.small is None and not buffer.end:
                await in_thread(buffer.spool.open)  # the first write would have made it
            async with self._room(buffer.end):
                content = buffer.spool.path if buffer.small is None else bytes(buffer.small)
                await self._store.put(sha256, content)
        except OSError as error:
            log_not_stored(download.expected.what, error)
            return
        await done(sha256, buffer.end)

    def _ended(self, key: str, download: Download, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if self._current.get(key) is download:
            del self._current[key]
        if not task.cancelled() and (error := task.exception()):
            log.error("download of %s", download.expected.what, exc_info=error)
