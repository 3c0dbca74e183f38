"""All downloads that are under way: one per file, however many read it, owned by no request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from proxy.errors import ProxyError, UpstreamError, reason
from proxy.runtime import in_thread
from proxy.storage import BlobStore, Room, no_limit
from proxy.upstream.answers import Body, Fetch
from proxy.upstream.digest_check import Expected
from proxy.upstream.download import Download
from proxy.upstream.receiver import Receiver
from proxy.upstream.spool import Spool

__all__ = ["Body", "Download", "Downloads", "Expected", "Fetch"]

log = logging.getLogger(__name__)

Done = Callable[[str, int], Awaitable[None]]
"""Told the sha256 and the size in bytes of a file that is in the store now."""


class Downloads:
    """Starts downloads, puts what is right into the store, and ends them at shutdown.

    A reader that leaves cancels nothing: what has begun is finished for the next one.
    """

    def __init__(
        self,
        store: BlobStore,
        spool: Path,
        *,
        room: Room = no_limit,
        retries: int = 2,
        backoff: float = 0.5,
        memory: int = 8 * 2**20,
        patience: float = 10.0,
    ) -> None:
        """``spool`` is a folder on the store's file system. ``room`` is entered with
        the bytes of each file while it is put into the store.

        A body that breaks off is resumed ``retries`` times, the first time after ``backoff``
        seconds and then after four times as many. ``memory``: bytes per download that are held
        where the disk takes none; then the first reader has to come within ``patience`` seconds.
        """
        self._store = store
        self._spool = spool
        self._room = room
        self._pauses = [backoff * 4**number for number in range(retries)]
        self._memory = memory
        self._patience = patience
        self._current: dict[str, Download] = {}
        self._tasks: dict[asyncio.Task[None], Download] = {}

    def join(self, key: str) -> Download | None:
        """The running download of that key, if its first byte can still be had."""
        download = self._current.get(key)
        return download if download is not None and download.joinable else None

    def start(self, key: str, expected: Expected, fetch: Fetch, done: Done) -> Download:
        """The running download of that key, or a new one."""
        if running := self.join(key):
            return running
        download = self._current[key] = Download(expected, Spool(self._spool))
        task = asyncio.create_task(self._run(download, fetch, done))
        self._tasks[task] = download
        task.add_done_callback(lambda ended: self._ended(key, download, ended))
        return download

    async def settled(self, download: Download) -> None:
        """Wait until it has failed, or its file is in the store if it ever gets there.

        Its readers have all bytes a moment earlier.
        """
        if tasks := [task for task, running in self._tasks.items() if running is download]:
            await asyncio.wait(tasks)

    async def close(self, grace: float) -> None:
        """Let what is running finish for up to ``grace`` seconds, then cancel it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        rest = list(self._tasks)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _run(self, download: Download, fetch: Fetch, done: Done) -> None:
        receiver = Receiver(
            download, fetch, self._spool, memory=self._memory, patience=self._patience
        )
        try:
            sha256 = await receiver.receive(self._pauses)
            await asyncio.sleep(0)  # who waits for the bytes comes first
            await self._keep(download, sha256, done)
        except ProxyError as error:
            log.info("not downloaded: %s", error)
            download.fail(error)
        except BaseException:
            interrupted = f"{download.expected.what} was interrupted"
            download.fail(UpstreamError(download.expected.index, interrupted))
            raise
        finally:
            download.spool.remove()

    async def _keep(self, download: Download, sha256: str, done: Done) -> None:
        """Readers need not wait for this, and lose nothing where it fails."""
        if download.window is not None:
            return
        try:
            if download.size == 0:
                await in_thread(download.spool.open)
            async with self._room(download.size or 0):
                await self._store.put(sha256, download.spool.path)
        except OSError as error:
            log.warning("%s is not kept: %s", download.expected.what, reason(error))
            return
        await done(sha256, download.size or 0)

    def _ended(self, key: str, download: Download, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if self._current.get(key) is download:
            del self._current[key]
        if not task.cancelled() and (error := task.exception()):
            log.error("download of %s", download.expected.what, exc_info=error)
