"""What search remembers of a project, read from an explanation of its page.

The index asks no upstream for it. Imported when there is a first project to read, since it needs
much that a start does not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from proxy.distributions import DistributionKind, kind_of
from proxy.face.descriptions import Descriptions
from proxy.face.needs import needs_of
from proxy.face.project_view import FileRow, view_of
from proxy.indexes import Explanation, Index
from proxy.storage import HELD, KNOWN, PRIVATE, Listing

MAX_SUMMARY = 300
MAX_LICENCE = 80
"""Characters."""


class ReadListing(NamedTuple):
    listing: Listing
    needs: Sequence[tuple[str, str, str]]
    """The project, a project that it needs, and the extra with which it does."""


class ListingReader:
    def __init__(self, descriptions: Descriptions) -> None:
        self._descriptions = descriptions

    async def read(self, index: Index, found: Explanation) -> ReadListing:
        """``found`` has a page, and what of it the index lists."""
        view = await view_of(found, "", time.time())
        description = await self._descriptions.of(index, view, fetch=view.private)
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
        edges = [(view.project, each.project, each.extra) for each in needs if each.project]
        return ReadListing(listing, edges)


def _size(rows: Sequence[FileRow]) -> int:
    """Bytes of the file that an installer is likely to take: a wheel, of several the largest."""
    wheels = [row for row in rows if kind_of(row.file.filename) is DistributionKind.WHEEL]
    return max((row.file.size or 0 for row in wheels or rows), default=0)
