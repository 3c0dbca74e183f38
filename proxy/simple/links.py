"""Under which addresses clients get the files of a page."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

from proxy.model import File, ProjectName

Links = Callable[[ProjectName, Sequence[File]], list[str]]
"""The address under which a client gets each of the files, without fragment or query.

Of all at once, since one call for each of 10,000 files takes longer than all the rest of it.
"""

QUOTE_BATCH = 500
"""Files that are rendered at a time."""
_UNRESERVED = (string.ascii_letters + string.digits + "-._~").encode()  # RFC 3986, section 2.3


def relative_links(project: ProjectName, files: Sequence[File]) -> list[str]:
    """The files' addresses relative to their page, so that pages are the same behind any host."""
    names = [file.filename for file in files]
    if "".join(names).encode().translate(None, _UNRESERVED):
        names = [quote(name, safe="") for name in names]
    start = f"../../files/{project}/"
    return [f"{start}{file.address_digest}/{name}" for file, name in zip(files, names, strict=True)]


def batches(files: Sequence[File]) -> Iterator[Sequence[File]]:
    """A page's files, as many at a time as make a piece of it."""
    return (files[start : start + QUOTE_BATCH] for start in range(0, len(files), QUOTE_BATCH))


def absolute_links(root: str) -> Links:
    """Addresses below ``root``, which ends in ``/``.

    For provenance alone, whose address is the file's plus ``.provenance`` and which PEP 740
    wants absolute. Without a public address in the settings it is relative like all others:
    better than none, as no address can be told from what clients send.
    """

    def links(project: ProjectName, files: Sequence[File]) -> list[str]:
        return [root + link.removeprefix("../../") for link in relative_links(project, files)]

    return links
