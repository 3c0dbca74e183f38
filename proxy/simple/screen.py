"""Which files of a page are on servers that may be asked; which those are, the caller says."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from proxy.model import File, ProjectPage
from proxy.simple.addresses import origin, roots


def drop_refused_hosts(
    page: ProjectPage, allowed: Callable[[str], bool]
) -> tuple[ProjectPage, list[File]]:
    """The page without the files on refused servers, and those files, to be logged.

    ``allowed`` is given ``https://host[:port]``, once for each that occurs. An address of
    provenance on a refused server is taken off its file.
    """
    provenance = [file.provenance for file in page.files if file.provenance]
    servers = roots([*(file.url for file in page.files), *provenance])
    if all(allowed(server.rstrip("/")) for server in servers):
        return page, []
    ask = lru_cache(maxsize=None)(allowed)
    kept: list[File] = []
    refused: list[File] = []
    for file in page.files:
        if not ask(origin(file.url)):
            refused.append(file)
        elif file.provenance and not ask(origin(file.provenance)):
            kept.append(msgspec.structs.replace(file, provenance=None))
        else:
            kept.append(file)
    return msgspec.structs.replace(page, files=tuple(kept)), refused
