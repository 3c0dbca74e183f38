"""Requests to an object store. One that does not answer is left alone until it does again.

After some failures in a row, or one that took long, no request is sent: a task asks the store
every few seconds, so that no client waits for a store that hangs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from proxy.errors import StoreUnavailable
from proxy.runtime import in_thread
from proxy.scale.object_store_client import describe_error

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import ObjectStore

log = logging.getLogger(__name__)

Failed = Literal["read", "write"]

ASK_AGAIN = 5.0
"""Seconds between two questions to a store that does not answer."""
FAILURES = 3
"""Failures in a row after which the store is left alone."""
LONG = 1.0
"""Seconds of a failed request after which no other one is tried: the store hangs."""
PART_SIZE = 8 * 2**20
"""Bytes of the parts of a large file that is put; two are sent at a time."""
_READ_SIZE = 2**20
_WARN_AGAIN = 60.0
"""Seconds between two log lines about requests that the store refuses."""
_OBJECT_ATTRIBUTES = {"Content-Type": "application/octet-stream"}


class StoredObject(NamedTuple):
    path: str
    size: int
    """Bytes."""
    stored: float
    """Unix time in seconds, of the store's clock."""


class ObjectCalls:
    """The requests that blobs need. While entered, a task may ask whether the store is back.

    All methods raise ``StoreUnavailable`` if the store does not answer, or refuses.
    """

    def __init__(
        self,
        store: ObjectStore,
        failed: Callable[[Failed], None] = lambda what: None,
        meanwhile: str = "files come from upstream",
    ) -> None:
        """``failed`` is called after each request that failed. ``meanwhile``: what happens while
        the store does not answer, for the log."""
        self.store: Any = store  # the union has no methods that all its stores share for mypy
        self._failed = failed
        self._meanwhile = meanwhile
        self._failures = 0
        self._away = ""
        self._asking: asyncio.Task[None] | None = None
        self._warned = float("-inf")
        self._puts: set[asyncio.Future[object]] = set()

    @property
    def away(self) -> str:
        """Why no requests are sent now; empty: they are."""
        return self._away

    def leave_alone(self, why: str) -> None:
        """Send no more requests to a store that cannot be used."""
        self._away = why
        if self._asking:
            self._asking.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._asking:
            self._asking.cancel()
        if self._puts:  # a put that is cancelled would leave its parts in the store
            await asyncio.wait(self._puts)

    async def get(self, path: str, start: int = 0, etag: str | None = None) -> GetResult | None:
        """The object from an offset on; None if there is none. ``etag``: it has to have that."""
        options: dict[str, Any] = {"if_match": etag} if etag else {}
        if start:
            options["range"] = {"offset": start}
        with self._attempt("read"), suppress(FileNotFoundError):
            return await self.store.get_async(path, options=options)  # type: ignore[no-any-return]
        return None

    async def read(self, path: str) -> bytes | None:
        """All bytes of a small object; None if there is none."""
        found = await self.get(path)
        if found is None:
            return None
        with self._attempt("read"):
            return bytes(await found.bytes_async())

    async def create(self, path: str, data: bytes) -> bool:
        """Store a small object; False if there is one already, which stays as it is.

        Only one of several writers of the same object gets True. After ``StoreUnavailable`` it may
        have been stored.
        """
        from obstore import exceptions

        with self._attempt("write"):
            try:
                await self.store.put_async(path, data, mode="create")
            except exceptions.AlreadyExistsError:
                return False
        return True

    async def chunks(self, found: GetResult, size: int) -> AsyncIterator[bytes]:
        """The bytes of an object, in chunks of at least so many."""
        stream = aiter(found.stream(min_chunk_size=size))
        while True:
            with self._attempt("read"):  # without the time for which the reader has the chunk
                chunk = await anext(stream, b"")
            if not chunk:
                return
            yield bytes(chunk)

    async def size(self, path: str) -> int | None:
        """The bytes of an object; None: there is none."""
        with self._attempt("read"), suppress(FileNotFoundError):
            return int((await self.store.head_async(path))["size"])
        return None

    async def list(
        self, prefix: str, after: str | None = None
    ) -> AsyncIterator[Sequence[StoredObject]]:
        """The objects below a prefix, a thousand at a time; ``after``: only those behind it."""
        with self._attempt("read"):
            async for part in self.store.list(prefix, offset=after, chunk_size=1000):
                yield [
                    StoredObject(each["path"], each["size"], each["last_modified"].timestamp())
                    for each in part
                ]

    async def delete(self, paths: Sequence[str]) -> None:
        """Delete objects, as far as they exist."""
        with self._attempt("write"), suppress(FileNotFoundError):
            await self.store.delete_async(list(paths))

    async def put(self, path: str, content: Path | bytes) -> None:
        """Store an object, as a whole or not at all. Raises also ``OSError`` of the file."""
        stop = Event()
        source = await in_thread(_source, content, stop)
        limits = {"chunk_size": PART_SIZE, "max_concurrency": 2}
        with self._attempt("write"):
            put = self.store.put_async(path, source, attributes=_OBJECT_ATTRIBUTES, **limits)
            running: asyncio.Future[object] = asyncio.ensure_future(put)
            self._puts.add(running)
            running.add_done_callback(self._ended)
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                stop.set()
                await asyncio.wait({running})
                raise

    def _ended(self, put: asyncio.Future[object]) -> None:
        self._puts.discard(put)
        if not put.cancelled():
            put.exception()  # seen, also if nothing waits for it any more

    async def sign(self, path: str, seconds: float) -> str:
        """An address at which every client can get the object for that time. Sends no request."""
        from obstore import sign_async

        with self._attempt("read"):
            return await sign_async(self.store, "GET", path, timedelta(seconds=seconds))

    @contextmanager
    def _attempt(self, what: Failed) -> Iterator[None]:
        from obstore import exceptions

        if self._away:
            raise StoreUnavailable
        began = time.monotonic()
        try:
            yield
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            self._failed(what)
            self._warn(what, error)
            raise StoreUnavailable from error
        except exceptions.BaseError as error:
            self._failed(what)
            if what == "read":
                self._note_failure(error, time.monotonic() - began)
            else:
                self._warn(what, error)
            raise StoreUnavailable from error
        if what == "read":
            self._failures = 0

    def _note_failure(self, error: Exception, seconds: float) -> None:
        self._failures += 1
        if not self._away and (self._failures >= FAILURES or seconds >= LONG):
            self._away = describe_error(error)
            log.warning(
                "the object store does not answer, and is asked again every %g s; until then"
                " %s: %s",
                ASK_AGAIN,
                self._meanwhile,
                self._away,
            )
            self._asking = asyncio.create_task(self._ask())

    def _warn(self, what: Failed, error: Exception) -> None:
        now = time.monotonic()
        level = logging.WARNING if now - self._warned > _WARN_AGAIN else logging.DEBUG
        if level == logging.WARNING:
            self._warned = now
        log.log(level, "the object store refuses to %s: %s", what, describe_error(error))

    async def _ask(self) -> None:
        from obstore import exceptions

        while True:
            await asyncio.sleep(ASK_AGAIN)
            with suppress(exceptions.BaseError):
                with suppress(FileNotFoundError, exceptions.PermissionDeniedError):
                    await self.store.head_async("v1/probe/answers")
                break
        self._away, self._failures = "", 0
        log.info("the object store answers again")


def _source(content: Path | bytes, stop: Event) -> bytes | Iterator[bytes]:
    """A small file as bytes: one request instead of several. Raises ``OSError``."""
    if isinstance(content, bytes):
        return content
    return content.read_bytes() if content.stat().st_size <= PART_SIZE else _pieces(content, stop)


def _pieces(path: Path, stop: Event) -> Iterator[bytes]:
    """Reads the file in a thread of the library. Raises ``OSError``."""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_READ_SIZE):
            if stop.is_set():  # the only way to end a put so that the store keeps no part of it
                raise OSError("the put was cancelled")
            yield piece
