"""Select the files of an index to export."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp

from proxy.distributions import kind_of
from proxy.errors import Denied, NoSuchFile, NoSuchProject, ProxyError
from proxy.export.placing import FileContent
from proxy.indexes import Index
from proxy.model import Blob, File, ProjectName, ProjectPage
from proxy.runtime import in_thread
from proxy.storage import digests_of

ExportSelection = Mapping[ProjectName, Set[str] | None]
"""File names by project; None: all files of the project."""

_MAX_SHOWN = 10
_RETRY_DELAY = 0.1
"""Seconds."""


def select_distributions(files: Iterable[tuple[ProjectName, str]]) -> ExportSelection:
    """Select the distributions among these files; siblings are always exported with them."""
    found: dict[ProjectName, set[str]] = {}
    for project, filename in files:
        if kind_of(filename) is not None:
            found.setdefault(project, set()).add(filename)
    return found


class NotCached(ProxyError):
    """Selected projects or files are not in the cache."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(missing)
        self.missing = tuple(missing)
        """Projects and files, as ``waystation warm -`` reads them."""

    def __str__(self) -> str:
        if not self.missing:
            return "there is nothing to export"
        more = len(self.missing) - _MAX_SHOWN
        names = ", ".join(self.missing[:_MAX_SHOWN]) + (f", and {more} more" if more > 0 else "")
        return f"not in the cache: {names}; `waystation warm` downloads them"


@dataclass(frozen=True, slots=True)
class SelectedFile:
    """A file to export."""

    file: File
    """The entry on the page of the index."""
    content: FileContent | None
    """None: the file is not on this machine."""


@dataclass(frozen=True, slots=True)
class SelectedProject:
    """A project to export."""

    page: ProjectPage
    files: tuple[SelectedFile, ...]


async def select(
    index: Index,
    selection: ExportSelection | None,
    unpacked: Path,
    *,
    cached_only: bool = True,
) -> list[SelectedProject]:
    """The projects and files to export; all of the index without a selection.

    What a policy refuses is left out, unless it is selected by its own name. ``cached_only``: files
    must be on this machine. Files that are in archives are copied to the folder ``unpacked``.
    Raises ``NotCached``, ``Denied`` and what the index raises.
    """
    missing: list[str] = []
    found: list[SelectedProject] = []
    for project in sorted(await index.projects() if selection is None else selection):
        names = None if selection is None else selection[project]
        try:
            page = await _page(index, project)
        except Denied:
            if selection is None:
                continue
            raise
        files = [each for each in page.files if _is_selected(each, names)]
        missing += _unlisted(project, files, names) if selection is not None else []
        chosen = []
        for each in files:
            try:
                chosen.append(await _find_content(index, project, each, unpacked))
            except Denied:
                if names is not None:
                    raise
        missing += [
            _warm_line(project, e.file) for e in chosen if cached_only and e.content is None
        ]
        if chosen:
            found.append(SelectedProject(page, tuple(chosen)))
    if missing or not found:
        raise NotCached(missing)
    return found


async def _page(index: Index, project: ProjectName) -> ProjectPage:
    """An empty page if there is none. A second attempt is made, as a server may be replacing it."""
    for pause in (0.0, _RETRY_DELAY):
        await asyncio.sleep(pause)
        with suppress(NoSuchProject):
            return await index.page(project)
    return ProjectPage(project, ())


def _is_selected(file: File, names: Set[str] | None) -> bool:
    """Only distributions: the name of another file could be that of a sibling."""
    return kind_of(file.filename) is not None and (names is None or file.filename in names)


def _unlisted(project: ProjectName, files: Sequence[File], names: Set[str] | None) -> list[str]:
    if names is None:
        return [] if files else [project]
    listed = {file.filename for file in files}
    return [f"{project}/{name}" for name in sorted(names - listed)]


def _warm_line(project: ProjectName, file: File) -> str:
    return f"{project}/{file.filename}#{file.address_digest}"


async def _find_content(
    index: Index, project: ProjectName, file: File, unpacked: Path
) -> SelectedFile:
    try:
        blob = (await index.file(project, file.filename, file.address_digest)).blob
    except NoSuchFile:
        return SelectedFile(file, None)
    path, size = blob.local_path(), blob.size
    if blob.needs_download or size is None:
        return SelectedFile(file, None)
    if path is None:
        path = await _unpacked(blob, unpacked)
        content = FileContent(path, size, file.sha256 or "", temporary=True)
        return SelectedFile(file, content)
    sha256 = file.sha256 or (await digests_of(blob, ("sha256",)))["sha256"]
    return SelectedFile(file, FileContent(path, size, sha256, in_store=blob.key is not None))


async def _unpacked(blob: Blob, folder: Path) -> Path:
    """A copy of the bytes. Raises ``OSError`` and the errors of the blob."""
    fd, name = await in_thread(mkstemp, dir=folder)
    with os.fdopen(fd, "wb") as file:
        async for piece in blob.chunks():
            await in_thread(file.write, piece)
    return Path(name)
