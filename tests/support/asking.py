"""Requests to an index in this process, and what comes of them."""

from __future__ import annotations

from proxy.errors import Denied
from proxy.indexes import Index
from proxy.model import normalize
from tests.support.content import read_blob


async def shown(index: Index, project: str = "aaa") -> list[str]:
    """The names of the files that the page lists, and not as yanked."""
    page = await index.page(normalize(project))
    return [file.filename for file in page.files if not file.yanked]


async def refusal(index: Index, filename: str, project: str = "aaa") -> str:
    """Why the index does not give the file; empty if it does."""
    try:
        artifact = await index.file(normalize(project), filename)
    except Denied as error:
        return error.reason
    await read_blob(artifact.blob)
    return ""
