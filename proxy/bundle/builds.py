"""What it takes to build an sdist, as far as it says so beforehand.

What a build back end only asks for when it runs (``get_requires_for_build_wheel``, PEP 517, and
``setup_requires``) nobody can know without building.
"""

from __future__ import annotations

import asyncio
import tempfile

from proxy.bundle.sources.local import sdist_build
from proxy.bundle.wants import SourceRequirements
from proxy.indexes.base import Index
from proxy.model import ProjectName

_IN_MEMORY = 4 * 2**20


async def sdist_build_requirements(
    index: Index, project: ProjectName, filename: str, digest: str
) -> SourceRequirements:
    """The build requirements of an sdist. Raises what ``Index.file`` and its blob raise."""
    artifact = await index.file(project, filename, digest)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        async for piece in artifact.blob.chunks():
            await asyncio.to_thread(copy.write, piece)
        return await asyncio.to_thread(sdist_build, copy, filename)  # type: ignore[arg-type]
