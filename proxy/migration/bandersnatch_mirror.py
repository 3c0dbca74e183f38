"""The folder of a mirror that bandersnatch keeps: pages below ``simple``, files in ``packages``.

The pages say which files there are, with their digests and yanks; files that no page lists are
those of deleted releases, and are not offered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from proxy.errors import ConfigurationError, UnreadablePage, UploadRefused
from proxy.indexes import PageReader
from proxy.migration.folder_files import FolderFiles
from proxy.migration.offers import LeftOut, Offer, StatusOffer
from proxy.model import File, ProjectName, ProjectPage, normalize

_PAGES = {
    "index.v1_json": "application/vnd.pypi.simple.v1+json",
    "index.html": "text/html",
}
"""Names of pages in the folder of a project, the best first, with their media types."""
_MAX_PAGE = 256 * 2**20
"""Bytes."""
_BASE = "https://mirror.invalid/simple/"
"""The address of the pages, which matters only for links that are relative to it."""
_FILES_PATH = "/packages/"


def web_folder(root: Path) -> Path | None:
    """The folder that has the pages and the files; None if the folder is no such mirror."""
    for folder in (root / "web", root):
        if (folder / "simple").is_dir() and (folder / "packages").is_dir():
            return folder
    return None


class BandersnatchMirror:
    """Offers the files that the pages of a mirror list."""

    def __init__(self, root: Path, wants: Callable[[ProjectName], bool]) -> None:
        """``wants``: whether the page of a project is read. Raises ``ConfigurationError``."""
        web = web_folder(root)
        if web is None:
            problem = f"{root} has no folders web/simple and web/packages"
            raise ConfigurationError("SOURCE", problem, "name the folder of a mirror")
        self._files = FolderFiles(web)
        self.label = FolderFiles(root).label("bandersnatch mirror")
        self._wants = wants
        self._reader = PageReader("bandersnatch", lambda origin: True)

    async def found(self) -> AsyncIterator[Offer | StatusOffer | LeftOut]:
        for project, page in self._pages():
            try:
                read = await self._read(project, page)
            except (UploadRefused, UnreadablePage) as error:
                yield LeftOut(page, str(error))
                continue
            if read.status and read.status.status == "quarantined":
                yield LeftOut(page, "the project is quarantined there")
                continue
            if read.status:
                yield StatusOffer(project, read.status)
            reasons = await self._reasons(read, page)
            for file in read.files:
                yield self._offer(project, file, reasons.get(file.filename) or file.yanked)

    def _pages(self) -> Iterator[tuple[ProjectName, str]]:
        """Each project with the path of its page; with or without a folder for each first letter
        (``hash-index``)."""
        chosen: dict[ProjectName, str] = {}
        for each in FolderFiles(self._files.root / "simple").walk():
            if not isinstance(each, str):
                continue
            folder, _, name = each.rpartition("/")
            if name not in _PAGES or not folder:
                continue
            try:
                project = normalize(folder.rpartition("/")[2])
            except ValueError:
                continue
            if not self._wants(project):
                continue
            if project not in chosen or name == next(iter(_PAGES)):
                chosen[project] = f"simple/{each}"
        yield from sorted(chosen.items())

    async def _read(self, project: ProjectName, page: str) -> ProjectPage:
        document = self._files.read(page, _MAX_PAGE)
        media = _PAGES[page.rpartition("/")[2]]
        return await self._reader.read(project, f"{_BASE}{project}/", media, document)

    async def _reasons(self, read: ProjectPage, page: str) -> Mapping[str, bool | str]:
        """The yanks of a page by filename: bandersnatch writes reasons to pages in HTML only."""
        if not any(file.yanked is True for file in read.files):
            return {}
        try:
            other = await self._read(read.project, f"{page.rpartition('/')[0]}/index.html")
        except (UploadRefused, UnreadablePage):
            return {}
        return {file.filename: file.yanked for file in other.files}

    def _offer(self, project: ProjectName, file: File, yanked: bool | str) -> Offer | LeftOut:
        path = unquote(urlsplit(file.url).path)
        _, found, below = path.partition(_FILES_PATH)
        if not found:
            return LeftOut(f"{project}: {file.filename}", "its link does not lead to packages/")
        uploaded = datetime.fromisoformat(file.uploaded).timestamp() if file.uploaded else None
        offer = self._files.offer(
            f"packages/{below}",
            project=project,
            hashes=file.hashes,
            uploaded=uploaded,
            yanked=yanked,
        )
        if isinstance(offer, Offer) and offer.filename != file.filename:
            return LeftOut(offer.place, f"the page calls it {file.filename}")
        return offer
