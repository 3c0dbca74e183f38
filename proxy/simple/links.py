"""Under which addresses clients get the files of a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from proxy.model import File, ProjectName

Link = Callable[[ProjectName, File], str]
"""The address under which a client gets the file, without fragment or query."""

_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]+\Z")


def relative_link(project: ProjectName, file: File) -> str:
    """The file's address relative to its page, so that pages are the same behind any host."""
    name = file.filename
    name = name if _UNRESERVED.match(name) else quote(name, safe="")
    return f"../../files/{project}/{file.digest}/{name}"


def absolute_link(root: str) -> Link:
    """Addresses below ``root``, which ends in ``/``.

    For provenance alone, whose address is the file's plus ``.provenance`` and which PEP 740
    wants absolute. Without a public address in the settings it is relative like all others:
    better than none, as no address can be told from what clients send.
    """

    def link(project: ProjectName, file: File) -> str:
        return root + relative_link(project, file).removeprefix("../../")

    return link
