"""What is inside a local file: its digest, and what its metadata say. Blocking; each file is
opened once for each state it is seen in."""

from __future__ import annotations

import hashlib
import logging
import os
from io import BufferedReader

import msgspec

from proxy.distributions.archive import (
    UnusableArchive,
    check_whole,
    read_sdist_metadata,
    read_wheel_metadata,
)
from proxy.distributions.core_metadata import parse_metadata, requires_python_of
from proxy.distributions.filename import (
    DistributionKind,
    DistributionName,
    kind_of,
    parse_filename,
    same_version,
    version_for,
)
from proxy.indexes.local.scan import DirectoryEntry
from proxy.model import ProjectName
from proxy.storage.disk import FileIdentity, identity_of

_log = logging.getLogger(__name__)


class Unstable(Exception):
    """The file is not, or no longer, what the directory showed."""


class Details(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """What is remembered of a file, as long as its identity is the same."""

    identity: FileIdentity
    project: ProjectName | None = None
    """None: it cannot be told."""
    version: str = ""
    sha256: str = ""
    requires_python: str | None = None
    metadata: str | None = None
    """The sha256 of a wheel's METADATA, if that can be served."""
    problem: str = ""
    """Why the file is not listed; empty if it is."""


def read_details(entry: DirectoryEntry) -> Details:
    """Read the whole file. Raises ``Unstable`` if it changes meanwhile, and ``OSError``."""
    try:
        file = _opened(entry)
    except FileNotFoundError as error:
        raise Unstable from error
    with file:
        if identity_of(os.fstat(file.fileno())) != entry.identity:
            raise Unstable
        try:
            details = _describe(file, entry)
        except UnusableArchive as error:
            details = Details(entry.identity, problem=error.reason)
        if identity_of(os.fstat(file.fileno())) != entry.identity:
            raise Unstable
    return details


def read_metadata(entry: DirectoryEntry) -> bytes:
    """METADATA of a wheel. Raises ``UnusableArchive`` and ``OSError``."""
    with _opened(entry) as file:
        return read_wheel_metadata(file, entry.filename)


def _opened(entry: DirectoryEntry) -> BufferedReader:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.fdopen(os.open(entry.path, flags), "rb")


def _describe(file: BufferedReader, entry: DirectoryEntry) -> Details:
    check_whole(file, entry.filename)
    said = parse_filename(entry.filename)
    if said is None:
        raise UnusableArchive("its name tells no project and version")
    file.seek(0)
    details = Details(
        entry.identity, said.project, said.version, hashlib.file_digest(file, "sha256").hexdigest()
    )
    if not said.certain:
        return _confirmed(file, entry.filename, details)
    try:
        return _with_metadata(file, entry.filename, said, details)
    except UnusableArchive as error:
        _log.warning("%s is listed without metadata: %s", entry.filename, error.reason)
        return details


def _with_metadata(
    file: BufferedReader, filename: str, said: DistributionName, details: Details
) -> Details:
    kind = kind_of(filename)
    if kind is DistributionKind.WHEEL:
        metadata = read_wheel_metadata(file, filename)
        python = requires_python_of(metadata, said.project, said.version)
        digest = hashlib.sha256(metadata).hexdigest()
        return msgspec.structs.replace(details, requires_python=python, metadata=digest)
    metadata = read_sdist_metadata(file, filename)
    python = requires_python_of(metadata, said.project, said.version, sdist=True)
    return msgspec.structs.replace(details, requires_python=python)


def _confirmed(file: BufferedReader, filename: str, details: Details) -> Details:
    """Of all readings of the name, the one that the archive itself confirms."""
    found = parse_metadata(read_sdist_metadata(file, filename), sdist=True)
    rest = version_for(filename, found.project)
    if rest is None or not same_version(rest, found.version):
        raise UnusableArchive(f"its name does not say {found.project} {found.version}, as it does")
    return msgspec.structs.replace(
        details,
        project=found.project,
        version=found.version,
        requires_python=found.requires_python,
    )
