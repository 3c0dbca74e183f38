"""What it takes to build an sdist, as far as it says so beforehand.

What a build back end only asks for when it runs (``get_requires_for_build_wheel``, PEP 517, and
``setup_requires``) nobody can know without building.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from proxy.bundle.sources.document import Document
from proxy.bundle.sources.pyproject import BuildSystem, Pyproject, build_requirements
from proxy.bundle.wants import Requirements, UnreadableSource, Wants
from proxy.distributions.archive import UnusableArchive, read_sdist_file
from proxy.indexes.base import Index
from proxy.model import ProjectName

LEGACY = "setuptools>=40.8.0\nwheel\n"
"""What builds an sdist that does not say what builds it (PEP 518)."""

_IN_MEMORY = 4 * 2**20


class _Shape(Struct, rename="kebab"):
    build_system: BuildSystem | None = None


async def to_build(index: Index, project: ProjectName, filename: str, digest: str) -> Wants:
    """The build requirements of an sdist. Raises what ``Index.file`` and its blob raise."""
    artifact = await index.file(project, filename, digest)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        async for piece in artifact.blob.chunks():
            await asyncio.to_thread(copy.write, piece)
        return await asyncio.to_thread(_read, copy, filename)  # type: ignore[arg-type]


def _read(file: BinaryIO, filename: str) -> Wants:
    file.seek(0)
    legacy = Requirements(f"{filename}, build requirements", LEGACY)
    try:
        content = read_sdist_file(file, filename, "pyproject.toml")
    except UnusableArchive:
        return Wants(requirements=(legacy,))
    document = Document(filename, Path(), content)
    try:
        system = document.shaped(_Shape, document.toml()).build_system
        if system is None:
            return Wants(requirements=(legacy,))
        return build_requirements(document, Pyproject(build_system=system))
    except UnreadableSource as error:
        return Wants(requirements=(legacy,), notes=(str(error),))
