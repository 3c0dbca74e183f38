"""The output for a file: the entry on its page, its metadata and its provenance."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
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
from proxy.export.placing import FileContent
from proxy.export.selection import SelectedFile
from proxy.indexes import Index
from proxy.model import MAX_EXTRA_FILE, METADATA, PROVENANCE, File, ProjectName
from proxy.runtime import in_thread

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file with its siblings."""

    file: File
    """As the exported page lists it."""
    content: FileContent | None = None
    """None: the file is not written, as it is at an address elsewhere."""
    metadata: bytes | None = None
    provenance: bytes | None = None
    beside: Mapping[str, bytes] = field(default_factory=dict)
    """Further files by suffix, such as signatures."""


async def with_siblings(index: Index, project: ProjectName, chosen: SelectedFile) -> ExportedFile:
    """The file with its siblings; its page entry gets their actual hashes.

    METADATA is read from the wheel, so that the two never differ. Raises what ``Index.file``
    raises.
    """
    content, listed = chosen.content, chosen.file
    assert content is not None
    metadata = await in_thread(wheel_metadata, content.source, listed.filename)
    provenance = await _read_provenance(index, project, listed)
    beside = await _read_beside(index, project, listed)
    file = msgspec.structs.replace(
        listed,
        hashes={**listed.hashes, "sha256": content.sha256},
        size=content.size,
        metadata={"sha256": hashlib.sha256(metadata).hexdigest()} if metadata else False,
        provenance=listed.provenance if provenance else None,
        beside=tuple(beside),
    )
    return ExportedFile(file, content, metadata, provenance, beside)


def without_siblings(chosen: SelectedFile) -> ExportedFile:
    """A file that is not written. Whether it has siblings there is known only from a file list."""
    if chosen.content is None:
        return ExportedFile(chosen.file)
    bare = msgspec.structs.replace(chosen.file, metadata=False, provenance=None, beside=())
    return ExportedFile(bare)


def wheel_metadata(path: Path, filename: str) -> bytes | None:
    """METADATA of a wheel; None for other files, and if the wheel has none that can be served."""
    if kind_of(filename) is not DistributionKind.WHEEL or len(filename.encode()) > MAX_NAME - len(
        PROVENANCE
    ):
        return None
    parsed = parse_filename(filename)
    try:
        metadata = read_wheel_metadata(path, filename)
        if parsed is not None:
            requires_python_of(metadata, parsed.project, parsed.version)
    except UnusableArchive as error:
        _log.info("%s is listed without metadata: %s", filename, error.reason)
        return None
    return metadata


def read_description_metadata(chosen: SelectedFile) -> bytes | None:
    """METADATA or PKG-INFO, for the page for people. Blocks on the disk."""
    if chosen.content is None:
        return None
    name, path = chosen.file.filename, chosen.content.source
    read = read_wheel_metadata if kind_of(name) is DistributionKind.WHEEL else read_sdist_metadata
    try:
        return read(path, name)
    except (UnusableArchive, OSError):
        return None


async def _read_provenance(index: Index, project: ProjectName, file: File) -> bytes | None:
    """The provenance (PEP 740) if the index has it; installers do not need it."""
    if not file.provenance or len(file.filename.encode()) > MAX_NAME - len(PROVENANCE):
        return None
    try:
        artifact = await index.file(project, file.filename + PROVENANCE, file.address_digest)
    except NoSuchFile:
        return None
    return b"".join([piece async for piece in artifact.blob.chunks()])


async def _read_beside(index: Index, project: ProjectName, file: File) -> dict[str, bytes]:
    """The files beside it that are on this machine, by suffix."""
    found: dict[str, bytes] = {}
    for suffix in file.beside:
        if len((file.filename + suffix).encode()) > MAX_NAME:
            continue
        with suppress(NoSuchFile):
            artifact = await index.file(project, file.filename + suffix, file.address_digest)
            size = artifact.blob.size
            if not artifact.blob.needs_download and size is not None and size <= MAX_EXTRA_FILE:
                found[suffix] = b"".join([piece async for piece in artifact.blob.chunks()])
    return found


def sibling_contents(shown: ExportedFile) -> dict[str, bytes]:
    """The siblings to write, by suffix."""
    found = {METADATA: shown.metadata, PROVENANCE: shown.provenance}
    known = {suffix: data for suffix, data in found.items() if data is not None}
    return {**known, **shown.beside}
