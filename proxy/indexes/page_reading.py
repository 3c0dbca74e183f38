"""A mirror's documents become pages: read, and without links that lead where nothing may go."""

from __future__ import annotations

import logging
from collections.abc import Callable

from proxy.model import ProjectName, ProjectPage
from proxy.simple.parse import parse_page
from proxy.simple.screen import screen

log = logging.getLogger(__name__)

TOLD = 10_000
"""Files that are remembered as told of in the log."""


class PageReader:
    """Reads, in any thread; what it leaves out, it tells once."""

    def __init__(self, name: str, allows: Callable[[str], bool]) -> None:
        """``allows`` says of an origin whether files may be fetched there."""
        self._name = name
        self._allows = allows
        self._told: set[tuple[str, str]] = set()

    def read(
        self, project: ProjectName, url: str, content_type: str, document: bytes
    ) -> ProjectPage:
        """The page that a document means. Raises ``UnreadablePage``."""
        page = parse_page(project, document, content_type, url, self._name)
        page, refused = screen(page, self._allows)
        for file in refused:
            self._tell(project, file.filename)
        return page

    def _tell(self, project: str, filename: str) -> None:
        if (project, filename) not in self._told and len(self._told) < TOLD:
            self._told.add((project, filename))
            log.warning(
                "%s: %r of %s left out, its link leads to a host that is not allowed",
                self._name,
                filename,
                project,
            )
