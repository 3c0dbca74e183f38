"""Publishers of local indexes, as the settings describe them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.config import LocalTable, UpstreamTable
from proxy.errors import (
    Denied,
    NoSuchProject,
    ProxyError,
    UploadRefused,
    how_to_add,
    reason,
)
from proxy.model import ProjectName
from proxy.runtime import end_tasks

if TYPE_CHECKING:
    from proxy.composition.builder import IndexSet
    from proxy.publish import MakeProvenance, PackageStore, Publisher

_log = logging.getLogger(__name__)

UPLOAD_SETTINGS = ("uploads", "overwrite", "max_upload", "quota", "user_quota", "keep_deleted")
"""Settings of a local index that are about uploads only."""
_TIDY_INTERVAL = 3600.0
"""Seconds between removals of bytes that were deleted long ago."""


async def open_publisher(
    name: str,
    table: LocalTable,
    packages: PackageStore,
    opened: IndexSet,
    stack: AsyncExitStack,
    clock: Callable[[], float],
    provenance_root: Path | None,
) -> Publisher:
    """The publisher of a local index, closed with ``stack``. ``provenance_root`` as the setting."""
    from proxy.publish import Limits, Publisher  # most servers accept no uploads

    limits = Limits(
        overwrite=table.overwrite,
        max_file=table.max_upload,
        project_quota=table.quota,
        user_quota=table.user_quota,
    )
    publisher = Publisher(
        name,
        packages,
        limits,
        lambda each: is_upstream(opened, each),
        clock,
        _provenance_maker(provenance_root, stack),
    )
    await publisher.open()
    stack.push_async_callback(publisher.close)
    tidying = asyncio.create_task(_remove_deleted(publisher, table.keep_deleted, clock))
    stack.push_async_callback(end_tasks, tidying)
    return publisher


def _provenance_maker(root: Path | None, stack: AsyncExitStack) -> MakeProvenance:
    """Verifies attestations in a process, which starts with the first of them."""
    from proxy.facts import MAX_PROVENANCE, AttestationVerifier

    verifier = AttestationVerifier(root)
    stack.push_async_callback(verifier.close)

    async def make(attestations: str, filename: str, sha256: str) -> bytes:
        if find_spec("pypi_attestations") is None:
            add = how_to_add("provenance")
            raise UploadRefused(f"attestations cannot be verified on this server: {add}")
        if len(attestations) > MAX_PROVENANCE:
            raise UploadRefused(f"the attestations of {filename} are too long")
        found = await verifier.verify(attestations.encode(), filename, sha256, bare=True)
        if found.state != "valid":
            raise UploadRefused(f"the attestations of {filename} are not valid: {found.reason}")
        return found.document.encode()

    return make


async def _remove_deleted(
    publisher: Publisher, keep_deleted: float, clock: Callable[[], float]
) -> None:
    from proxy.publish import Upkeep

    upkeep = Upkeep(publisher)
    while True:
        try:
            await upkeep.remove_deleted(before=clock() - keep_deleted)
            await publisher.packages.tidy()
        except (OSError, ProxyError) as error:
            _log.warning("%s: deleted files cannot be removed: %s", publisher.name, reason(error))
        await asyncio.sleep(_TIDY_INTERVAL)


async def is_upstream(opened: IndexSet, project: ProjectName) -> bool:
    """Whether a mirror has a project of that name; a name that a rule reserves is in none.

    Raises ``UpstreamError`` if an upstream does not answer.
    """
    for node in opened.tree.named.values():
        if isinstance(node.table, UpstreamTable):
            try:
                await opened.indexes[node.name].page(project)
            except (NoSuchProject, Denied):
                continue
            return True
    return False
