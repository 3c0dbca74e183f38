"""What a mirror has ever seen of a project's files, so that changed bytes are noticed.

The bytes behind a file name do not change on an honest index (PyPI never lets a name be used
again). Where they do, the first that were seen stand, unless the settings say otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from typing import Literal

import msgspec

from proxy.bounded import BoundedDict
from proxy.events import FileChanged, Observer
from proxy.heavy import off_loop
from proxy.model import File, ProjectName, ProjectPage
from proxy.storage.base import Records
from proxy.storage.seen import Seen, SeenFile, decode, encode, key

log = logging.getLogger(__name__)

OnChange = Literal["refuse", "warn", "accept"]
PER_FILE = 600
"""Bytes of a page for each of its files, roughly."""


class Ledger:
    """Remembers every file of every page, by project and file name."""

    def __init__(
        self, name: str, namespace: str, records: Records, events: Observer, on_change: OnChange
    ) -> None:
        self._name = name
        self._namespace = namespace
        self._records = records
        self._events = events
        self._on_change = on_change
        self._told: BoundedDict[tuple[str, str, str], None] = BoundedDict(10_000)

    async def review(self, page: ProjectPage) -> ProjectPage:
        """The page as it may be shown: what changed is refused, told, or taken for good."""
        size = PER_FILE * len(page.files)
        seen = await self._seen(page.project, size)
        changed = await off_loop(size, lambda: _changed(seen, page))
        for old, new in changed:
            self._tell(page.project, old, new)
        refused = changed if self._on_change == "refuse" else []
        shown = {new.filename: _as_seen(old, new) for old, new in refused}
        if await off_loop(size, lambda: _learn(seen, page, keep=shown)):
            await self._write(page.project, seen, size)
        if not shown:
            return page
        files = tuple(shown.get(file.filename, file) for file in page.files)
        return msgspec.structs.replace(page, files=files)

    async def _seen(self, project: ProjectName, size: int) -> Seen:
        record = await self._records.get(key(self._namespace, project))
        return await off_loop(size, lambda: decode(record)) if record else {}

    async def _write(self, project: ProjectName, seen: Seen, size: int) -> None:
        packed = await off_loop(size, lambda: encode(seen))
        await self._records.put(key(self._namespace, project), packed)

    def _tell(self, project: ProjectName, old: SeenFile, new: File) -> None:
        """Loudly, but once: pages are read often."""
        if (project, new.filename, new.digest) in self._told:
            return
        self._told[project, new.filename, new.digest] = None
        outcome = {"refuse": "refused", "warn": "shown", "accept": "accepted"}[self._on_change]
        log.error(
            "%s lists other bytes for %s of %s: %s instead of %s; the change is %s",
            self._name,
            new.filename,
            project,
            new.digest,
            old.digest,
            outcome,
        )
        self._events(FileChanged(project, new.filename, self._name, old.digest, new.digest))


def _changed(seen: Seen, page: ProjectPage) -> list[tuple[SeenFile, File]]:
    """Files whose digest is another one now, by the algorithm that was seen."""
    found = []
    for file in page.files:
        old = seen.get(file.filename)
        if old is not None and old.digest != file.digest and _is_other(old.digest, file):
            found.append((old, file))
    return found


def _is_other(digest: str, file: File) -> bool:
    algorithm, _, value = digest.rpartition("-")
    now = file.hashes.get(algorithm or "sha256")
    return now is not None and now != value


def _learn(seen: Seen, page: ProjectPage, keep: Container[str]) -> bool:
    """Note what is new; whether anything was. What ``keep`` names stays as it was seen."""
    fresh = {
        file.filename: SeenFile(file.digest, file.uploaded, file.size, file.metadata)
        for file in page.files
        if file.digest != "-" and file.filename not in keep
    }
    if all(seen.get(name) == file for name, file in fresh.items()):
        return False
    seen.update(fresh)
    return True


def _as_seen(old: SeenFile, new: File) -> File:
    """The file with the bytes that were seen first; where these are not held they cannot be had."""
    algorithm, _, value = old.digest.rpartition("-")
    return msgspec.structs.replace(
        new,
        hashes={algorithm or "sha256": value},
        size=old.size,
        uploaded=old.uploaded,
        metadata=old.metadata,
    )
