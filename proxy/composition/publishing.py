"""Publishers of local indexes, as the settings describe them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from proxy.config import LocalTable, MirrorTable
from proxy.errors import Denied, NoSuchProject
from proxy.indexes import LocalDirectory
from proxy.model import ProjectName

if TYPE_CHECKING:
    from proxy.composition.builder import IndexSet
    from proxy.publish import Publisher

UPLOAD_SETTINGS = ("uploads", "overwrite", "max_upload", "quota", "user_quota")
"""Settings of a local index that are about uploads only."""


async def open_publisher(
    name: str,
    table: LocalTable,
    directory: LocalDirectory,
    opened: IndexSet,
    stack: AsyncExitStack,
    clock: Callable[[], float],
) -> Publisher:
    """The publisher of a local index, closed with ``stack``."""
    from proxy.publish import Limits, Publisher  # most servers accept no uploads

    limits = Limits(
        overwrite=table.overwrite,
        max_file=table.max_upload,
        project_quota=table.quota,
        user_quota=table.user_quota,
    )
    publisher = Publisher(name, directory, limits, lambda each: is_upstream(opened, each), clock)
    await publisher.open()
    stack.push_async_callback(publisher.close)
    return publisher


async def is_upstream(opened: IndexSet, project: ProjectName) -> bool:
    """Whether a mirror has a project of that name; a name that a rule reserves is in none.

    Raises ``UpstreamError`` if an upstream does not answer.
    """
    for node in opened.tree.named.values():
        if isinstance(node.table, MirrorTable):
            try:
                await opened.indexes[node.name].page(project)
            except (NoSuchProject, Denied):
                continue
            return True
    return False
