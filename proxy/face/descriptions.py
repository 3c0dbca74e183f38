"""Descriptions of versions by their authors: core metadata, the README, and a line for search."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cachetools import LRUCache

from proxy.distributions import (
    Description,
    DistributionKind,
    UnusableArchive,
    describe,
    kind_of,
    read_sdist_metadata,
    read_wheel_metadata,
)
from proxy.errors import ProxyError
from proxy.face.needs import needs_of
from proxy.face.project_view import FileRow, ProjectView, view_of
from proxy.indexes import Explanation, Index
from proxy.model import METADATA, Artifact, File, ProjectName, normalize
from proxy.presentation import ReadmeRenderer
from proxy.runtime import end_tasks, in_thread
from proxy.storage import HELD, KNOWN, PRIVATE, Listing

MAX_METADATA = 8 * 2**20
"""Bytes."""
MAX_TRIES = 4
"""Files of a version that are tried."""
MAX_SUMMARY = 300
MAX_LICENCE = 80
"""Characters that search remembers."""
README_WAIT = 3.0
"""Seconds that a page waits for its README; then it shows the text as written."""
MAX_WAITING = 8
"""READMEs that wait for the process that renders them."""


class Descriptions:
    """Reads, and remembers, the metadata of files."""

    def __init__(self) -> None:
        self._known: LRUCache[str, Description] = LRUCache(500)

    async def of(self, index: Index, view: ProjectView, *, fetch: bool) -> Description | None:
        """Of the first shown file whose metadata can be read; None if there is none.

        ``fetch``: the index may ask its upstream for a metadata file, which is small.
        """
        project = view.project
        for row in [row for row in view.files if row.shown][:MAX_TRIES]:
            file = row.file
            key = f"{project}/{file.filename}/{file.address_digest}"
            if (known := self._known.get(key)) is not None:
                return known
            with suppress(ProxyError, OSError):
                data = await self._read(index, project, file, held=row.held, fetch=fetch)
                if data is not None:
                    found = self._known[key] = _own(describe(data), project)
                    return found
        return None

    async def listing(
        self, index: Index, found: Explanation
    ) -> tuple[Listing, Sequence[tuple[str, str, str]]]:
        """The record of a project for search, and each of its needs: project, needed project,
        extra.

        ``found`` has a page, and what of it the index lists. No upstream is asked.
        """
        view = await view_of(found, "", time.time())
        description = await self.of(index, view, fetch=view.private)
        kind = PRIVATE if view.private else HELD if found.stored else KNOWN
        listing = Listing(
            view.project,
            kind,
            view.version,
            view.release.uploaded if view.release else "",
            ", ".join(view.python),
            description.summary[:MAX_SUMMARY] if description else "",
            licence=description.license[:MAX_LICENCE] if description else "",
            size=_size([row for row in view.files if row.shown]),
        )
        needs = needs_of(description.requires) if description else []
        return listing, [(view.project, each.project, each.extra) for each in needs if each.project]

    async def _read(
        self, index: Index, project: ProjectName, file: File, *, held: bool, fetch: bool
    ) -> bytes | None:
        if held:
            artifact = await index.file(project, file.filename, file.address_digest)
            async with artifact.blob.as_file() as path:
                if path:
                    return await in_thread(_metadata, path, file.filename)
        if not file.metadata or not fetch:
            return None
        name = file.filename + METADATA
        return await _bytes_of(await index.file(project, name, file.address_digest))


def _size(rows: Sequence[FileRow]) -> int:
    """Bytes of the file that an installer is likely to take: a wheel, of several the largest."""
    wheels = [row for row in rows if kind_of(row.file.filename) is DistributionKind.WHEEL]
    return max((row.file.size or 0 for row in wheels or rows), default=0)


def _metadata(path: Path, filename: str) -> bytes | None:
    """Blocks on the disk."""
    wheel = kind_of(filename) is DistributionKind.WHEEL
    try:
        return (read_wheel_metadata if wheel else read_sdist_metadata)(path, filename)
    except UnusableArchive:
        return None


async def _bytes_of(artifact: Artifact) -> bytes | None:
    pieces, size = [], 0
    async for piece in artifact.blob.chunks():
        size += len(piece)
        if size > MAX_METADATA:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _own(description: Description, project: ProjectName) -> Description:
    """The description; a name that is not a spelling of the project's own is left out."""
    from dataclasses import replace

    with suppress(ValueError):
        if normalize(description.name) == project:
            return description
    return replace(description, name="")


class Readmes:
    """READMEs as HTML, rendered one by one in a process, and remembered."""

    def __init__(self) -> None:
        self._renderer = ReadmeRenderer()
        self._turn = asyncio.Lock()
        self._known: LRUCache[str, str] = LRUCache(128)
        self._tasks: dict[str, asyncio.Task[str]] = {}

    async def html(self, description: Description) -> str | None:
        """Safe HTML; None if it takes too long, and the text is to be shown as written."""
        words = f"{description.content_type}\n{description.text}"
        key = hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()
        if (known := self._known.get(key)) is not None:
            return known
        task = self._tasks.get(key)
        if task is None:
            if len(self._tasks) >= MAX_WAITING:
                return None
            task = self._tasks[key] = asyncio.create_task(self._render(key, description))
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(task), README_WAIT)
        return None

    async def _render(self, key: str, description: Description) -> str:
        try:
            async with self._turn:
                found = await self._renderer.render(description.text, description.content_type)
            self._known[key] = found
            return found
        finally:
            del self._tasks[key]

    async def close(self) -> None:
        """End the process."""
        tasks = list(self._tasks.values())
        await end_tasks(*tasks)
        await self._renderer.__aexit__()
