"""What stands in the tree for a file: what its page says, its metadata, its provenance."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec

from proxy.distributions import (
    MAX_NAME,
    DistributionKind,
    UnusableArchive,
    kind_of,
    parse_filename,
    read_sdist_metadata,
    read_wheel_metadata,
    requires_python_of,
)
from proxy.errors import NoSuchFile
from proxy.export.placing import Content
from proxy.export.selection import Chosen
from proxy.indexes import Index
from proxy.model import METADATA, PROVENANCE, File, ProjectName
from proxy.runtime import in_thread

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """A file, and what is written of it."""

    file: File
    """As the exported page lists it."""
    content: Content | None = None
    """None: it is not written, and is elsewhere."""
    metadata: bytes | None = None
    provenance: bytes | None = None


async def shown(index: Index, project: ProjectName, chosen: Chosen) -> Shown:
    """The file with all that lies beside it, with the hashes of what is really there.

    METADATA is taken from the wheel itself, so that the two never differ. Raises what
    ``Index.file`` raises.
    """
    content, listed = chosen.content, chosen.file
    assert content is not None
    metadata = await in_thread(metadata_of, content.source, listed.filename)
    provenance = await _provenance(index, project, listed)
    file = msgspec.structs.replace(
        listed,
        hashes={**listed.hashes, "sha256": content.sha256},
        size=content.size,
        metadata={"sha256": hashlib.sha256(metadata).hexdigest()} if metadata else False,
        provenance=listed.provenance if provenance else None,
    )
    return Shown(file, content, metadata, provenance)


def elsewhere(chosen: Chosen) -> Shown:
    """The file where it is not written. What lies beside it there, only a list of it can tell."""
    if chosen.content is None:
        return Shown(chosen.file)
    return Shown(msgspec.structs.replace(chosen.file, metadata=False, provenance=None))


def metadata_of(path: Path, filename: str) -> bytes | None:
    """METADATA of a wheel; None for other files, and where there is none that can be served."""
    if kind_of(filename) is not DistributionKind.WHEEL or len(filename.encode()) > MAX_NAME - len(
        PROVENANCE
    ):
        return None
    said = parse_filename(filename)
    try:
        metadata = read_wheel_metadata(path, filename)
        if said is not None:
            requires_python_of(metadata, said.project, said.version)
    except UnusableArchive as error:
        _log.info("%s is listed without metadata: %s", filename, error.reason)
        return None
    return metadata


def description_source(chosen: Chosen) -> bytes | None:
    """METADATA or PKG-INFO for people to read. Blocks on the disk."""
    if chosen.content is None:
        return None
    name, path = chosen.file.filename, chosen.content.source
    read = read_wheel_metadata if kind_of(name) is DistributionKind.WHEEL else read_sdist_metadata
    try:
        return read(path, name)
    except (UnusableArchive, OSError):
        return None


async def _provenance(index: Index, project: ProjectName, file: File) -> bytes | None:
    """The object (PEP 740) if it is held; it is worth having, and nothing depends on it."""
    if not file.provenance or len(file.filename.encode()) > MAX_NAME - len(PROVENANCE):
        return None
    try:
        artifact = await index.file(project, file.filename + PROVENANCE, file.address_digest)
    except NoSuchFile:
        return None
    return b"".join([piece async for piece in artifact.blob.chunks()])


def siblings(shown: Shown) -> dict[str, bytes]:
    """What lies beside the file, by suffix."""
    found = {METADATA: shown.metadata, PROVENANCE: shown.provenance}
    return {suffix: data for suffix, data in found.items() if data is not None}
