"""Other addresses of a file: from the pages of the other addresses of the same content."""

from __future__ import annotations

from collections.abc import AsyncIterator

from proxy.errors import NoSuchFile, UnreadablePage
from proxy.indexes.mirror.page_reading import PageReader
from proxy.model import File, ProjectName
from proxy.upstream import Mirrors


class OtherAddresses:
    """For files with a digest: others could not be proved to be the same."""

    def __init__(self, name: str, mirrors: Mirrors) -> None:
        self._mirrors = mirrors
        self._reader = PageReader(name, mirrors.allows)

    async def urls(self, project: ProjectName, file: File, digest: str) -> AsyncIterator[str]:
        """Addresses of the file; ``digest`` as in ``Link``. Asks one mirror after the other."""
        if digest == "-":
            return
        async for document in self._mirrors.other_pages(project, file.url):
            try:
                page = await self._reader.read(
                    project, document.url, document.content_type, document.body
                )
                url = page.file(file.filename, digest).url
            except (UnreadablePage, NoSuchFile):
                continue
            yield url

    def is_distrusted(self, project: ProjectName, url: str) -> bool:
        """Whether wrong bytes came from that address a short time ago."""
        return self._mirrors.is_distrusted(project, url)

    def distrust(self, project: ProjectName, url: str, reason: str) -> None:
        """Wrong bytes came from that address."""
        self._mirrors.distrust(project, url, reason)
