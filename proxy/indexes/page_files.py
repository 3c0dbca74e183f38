"""Fixed pages: each project's page is a file of the operator; its files are fetched as a mirror's.

The page file is read again when it has changed. Its links have to be absolute.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Set
from pathlib import Path

import msgspec

from proxy import late_pattern
from proxy.errors import IndexUnavailable, NoSuchProject, UnreadablePage, reason
from proxy.events import Observer, Outcome, PageAnswered, PageChanged
from proxy.indexes.base import CheckFile
from proxy.indexes.explanation import Explanation
from proxy.indexes.mirror.mirrored_files import MirrorFiles
from proxy.indexes.mirror.mirrored_siblings import MirrorSiblings
from proxy.indexes.mirror.page_reading import PageReader
from proxy.model import METADATA, PROVENANCE, Artifact, ProjectName, ProjectPage, normalize
from proxy.runtime import BoundedDict

MAX_PAGE_FILE = 64 * 2**20
"""Bytes of a page file."""
MAX_KNOWN_PAGES = 1000
"""Pages that are kept in memory."""
NO_BASE = "http://relative.invalid/"
"""The base of relative links: no file can be fetched from there (RFC 2606)."""
LIFETIME = 1.0
"""Seconds until a changed file is seen, at most."""
_VARIABLE = late_pattern(r"\{([^{}]*)\}")

Stamp = tuple[int, int, int]
"""Of a file: its inode, size, and time of change."""


class PageFiles:
    """An index whose page of a project is a file, named by a template."""

    def __init__(
        self,
        name: str,
        template: Path,
        variables: Callable[[ProjectName], Mapping[str, str] | None],
        reader: PageReader,
        files: MirrorFiles,
        siblings: MirrorSiblings,
        events: Observer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``template``: a path with ``{name}``, the project, and ``variables`` of the project,
        None for a project that has no page. All have letters, digits and "-" alone.
        """
        self.name = name
        self._template = template
        self._variables = variables
        self._reader = reader
        self._files = files
        self._siblings = siblings
        self._events = events
        self._clock = clock
        self._known: BoundedDict[ProjectName, tuple[Stamp, ProjectPage]]
        self._known = BoundedDict(MAX_KNOWN_PAGES)

    async def projects(self) -> Set[ProjectName]:
        """Those with a page file, if its name has no other variable than the project."""
        start, variable, end = self._template.name.partition("{name}")
        if not variable or "{" in str(self._template.parent) + start + end:
            return set()
        found = await asyncio.to_thread(_names, self._template.parent)
        projects = set()
        for each in found:
            if each.startswith(start) and each.endswith(end):
                name = each[len(start) : len(each) - len(end)]
                if _is_project(name) and self._variables(ProjectName(name)) is not None:
                    projects.add(ProjectName(name))
        return projects

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        page = await self._read(project)
        self._events(PageAnswered(project, self.name, Outcome.LOCAL))
        now = self._clock()
        return msgspec.structs.replace(
            page, fresh_until=now + LIFETIME, checked=max(now, checked_after)
        )

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        asked = self._clock()
        wanted = None if digest == "-" else digest
        page = await self._read(project)
        file = page.file(filename, wanted)
        if check:
            await check(page)
        suffix = next((each for each in (METADATA, PROVENANCE) if filename.endswith(each)), "")
        owner = page.file(filename.removesuffix(suffix), wanted)
        address = owner.address_digest
        if suffix == METADATA:
            return await self._siblings.metadata(project, owner, file, address, asked)
        if suffix == PROVENANCE:
            return await self._siblings.provenance(project, file, address, asked)
        return await self._files.artifact(project, file, address, asked)

    async def explain(self, project: ProjectName) -> Explanation:
        try:
            page = await self._read(project)
        except (NoSuchProject, IndexUnavailable) as error:
            return Explanation.of_error(self.name, "page", error)
        stored = await self._files.stored_names(page)
        return Explanation.of_page(self.name, "page", page, stored)

    async def close(self, grace: float = 0.0) -> None:
        """Running downloads get ``grace`` seconds to finish."""
        await self._siblings.close()
        await self._files.close(grace)

    async def _read(self, project: ProjectName) -> ProjectPage:
        """Raises ``NoSuchProject`` without a file, ``IndexUnavailable`` for one that is broken."""
        path = self._path(project)
        try:
            stamp = await asyncio.to_thread(_stamp, path)
            known = self._known.get(project)
            if known and known[0] == stamp:
                return known[1]
            document = await asyncio.to_thread(path.read_bytes)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchProject(project, f"index {self.name} has no page file of it") from None
        except OSError as error:
            raise IndexUnavailable(self.name, f"{path.name}: {reason(error)}") from error
        kind = "application/vnd.pypi.simple.v1+json" if path.suffix == ".json" else "text/html"
        try:
            page = await self._reader.read(project, NO_BASE, kind, document)
        except UnreadablePage as error:
            raise IndexUnavailable(self.name, f"{path.name}: {error.reason}") from error
        version = hashlib.sha256(document).hexdigest()
        page = msgspec.structs.replace(page, source=self.name, version=version)
        if known:
            self._events(PageChanged(project))
        self._known[project] = stamp, page
        return page

    def _path(self, project: ProjectName) -> Path:
        """The variables cannot leave the folder: they have letters, digits and "-" alone."""
        captured = self._variables(project)
        if captured is None:
            raise NoSuchProject(project)
        values = {**captured, "name": project}
        return Path(_VARIABLE.sub(lambda found: values[found[1]], str(self._template)))


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    if found.st_size > MAX_PAGE_FILE:
        raise OSError(None, f"it has more than {MAX_PAGE_FILE} bytes")
    return found.st_ino, found.st_size, found.st_mtime_ns


def _names(folder: Path) -> list[str]:
    try:
        return [each.name for each in folder.iterdir()]
    except OSError:
        return []


def _is_project(name: str) -> bool:
    try:
        return normalize(name) == name
    except ValueError:
        return False
