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
    """The file's address relative to its page, so that pages are the same behind any host.

    That makes the address of the provenance, which is this plus ``.provenance``, relative
    too, where PEP 740 asks for an absolute one; a link function that knows the public
    address can give absolute ones.
    """
    name = file.filename
    name = name if _UNRESERVED.match(name) else quote(name, safe="")
    return f"../../files/{project}/{file.digest}/{name}"
