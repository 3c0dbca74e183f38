"""Small objects in an object store, for callers in threads and for commands."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from proxy.errors import ConfigurationError
from proxy.scale.object_store_client import EXIT_PAUSE, connect_object_store, describe_error

LONG_REQUEST = 1.0
"""Seconds of a failed request after which the store is left alone: it hangs."""
LEFT_ALONE = 5.0
"""Seconds for which no request is sent to a store that hangs."""
PARALLEL_READS = 16


class SmallObjects:
    """Methods block; on the event loop, call them in a thread.

    Every method raises ``ConfigurationError`` if the store does not answer, or refuses.
    """

    def __init__(self, url: str, key: str = "storage.files") -> None:
        """``key``: the setting with the address. Nothing is requested yet.

        Raises ``ConfigurationError`` as ``connect_object_store``.
        """
        self.url = url
        self._key = key
        self._store: Any = connect_object_store(url, key)
        self._again = float("-inf")
        self._creates_once = False

    def close(self) -> None:
        time.sleep(EXIT_PAUSE)

    def read(self, path: str) -> bytes | None:
        """None if there is no such object."""
        with self._attempt():
            try:
                return bytes(self._store.get(path).bytes())
            except FileNotFoundError:
                return None

    def read_all(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The objects that exist, by their paths; some requests run at a time."""
        if not paths:
            return {}
        with ThreadPoolExecutor(min(PARALLEL_READS, len(paths))) as pool:
            found = zip(paths, pool.map(self.read, paths), strict=True)
            return {path: content for path, content in found if content is not None}

    def list(self, prefix: str) -> dict[str, str]:
        """The paths of the objects below a prefix, each with its entity tag."""
        with self._attempt():
            parts = list(self._store.list(prefix))
        return {each["path"]: each["e_tag"] or "" for part in parts for each in part}

    def put(self, path: str, content: bytes) -> None:
        with self._attempt():
            self._store.put(path, content)

    def create(self, path: str, content: bytes) -> bool:
        """False if there is such an object already, which stays as it is.

        Of all that create the same object, one gets True: a store that cannot do that is refused.
        After ``ConfigurationError`` the object may have been stored.
        """
        if not self._creates_once:
            self._probe()
        return self._create(path, content)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects, as far as they exist."""
        with self._attempt():
            for each in paths:  # some stores refuse to delete several of which one is missing
                with suppress(FileNotFoundError):
                    self._store.delete(each)

    def _probe(self) -> None:
        """Some stores replace an object although they are asked not to."""
        path = f"v1/probe/{secrets.token_hex(8)}"
        self._create(path, b"one")
        twice = self._create(path, b"two")
        self.delete([path])
        if twice:
            raise self._error("it replaces objects that it is asked to create")
        self._creates_once = True

    def _create(self, path: str, content: bytes) -> bool:
        from obstore import exceptions

        with self._attempt():
            try:
                self._store.put(path, content, mode="create")
            except exceptions.AlreadyExistsError:
                return False
        return True

    @contextmanager
    def _attempt(self) -> Iterator[None]:
        from obstore import exceptions

        began = time.monotonic()
        if began < self._again:
            raise self._error("it did not answer a moment ago")
        try:
            yield
        except (exceptions.BaseError, OSError) as error:
            now = time.monotonic()
            if now - began >= LONG_REQUEST:
                self._again = now + LEFT_ALONE
            raise self._error(describe_error(error)) from None

    def _error(self, why: str) -> ConfigurationError:
        problem = f"{self.url} cannot be used: {why}"
        return ConfigurationError(self._key, problem, "see docs/scale.md for what it needs")
