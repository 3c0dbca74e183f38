"""An upstream with distributions, a cache, and `warm` and `ready` as functions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import HttpUrl

from proxy.config.loading import load_settings
from proxy.config.settings import Settings
from proxy.requirements.model import FileFilter, SourceRequirements, merge_requirements
from proxy.requirements.sources import read_source
from proxy.storage.disk_store import DiskStore
from proxy.warm.progress import NoDisplay
from proxy.warm.ready import Readiness, ready
from proxy.warm.warm import WarmReport, warm
from tests.support.distributions import make_sdist, make_wheel
from tests.support.requirement_sources import choice
from tests.support.stored import stored_keys
from tests.support.upstream import Upstream

LIMIT = 120.0
"""Seconds in which a command has to end."""

BACKEND = b"""
import pathlib, shutil

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    (wheel,) = pathlib.Path("backend").glob("*.whl")
    shutil.copy(wheel, wheel_directory)
    return wheel.name
"""


class WarmSite:
    """``folder`` is for sources; distributions made here are listed upstream at once."""

    def __init__(self, root: Path, upstream: Upstream) -> None:
        self.root = root
        self.upstream = upstream
        self.folder = root / "sources"
        self.folder.mkdir()
        self.index = root / "index"
        self.cache = root / "cache"
        self.store = DiskStore(self.cache / "blob")

    def wheel(self, name: str, version: str = "1.0", **described: Any) -> Path:
        return self.list(make_wheel(self.index, name, version, **described))

    def sdist(self, name: str, version: str = "1.0", **described: Any) -> Path:
        return self.list(make_sdist(self.index, name, version, **described))

    def list(self, file: Path, **described: Any) -> Path:
        self.upstream.add(file, **described)
        return file

    def settings(self, **more: Any) -> Settings:
        flags = {"upstream": HttpUrl(self.upstream.url), "cache_dir": self.cache, **more}
        return load_settings(flags).settings

    def source(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    async def warm(
        self, *sources: str | SourceRequirements, to: FileFilter | None = None, **settings: Any
    ) -> WarmReport:
        wanted = to or choice()
        wants = read(sources, wanted)
        async with asyncio.timeout(LIMIT):
            return await warm(self.settings(**settings), wants, wanted, NoDisplay())

    async def ready(
        self, *sources: str | SourceRequirements, to: FileFilter | None = None, **options: Any
    ) -> Readiness:
        wanted = to or choice()
        wants = read(sources, wanted)
        async with asyncio.timeout(LIMIT):
            return await ready(self.settings(), wants, wanted, NoDisplay(), **options)

    def stored_digests(self) -> set[str]:
        """The digests of the stored files."""
        return stored_keys(self.store.root)


def read(sources: tuple[str | SourceRequirements, ...], to: FileFilter) -> SourceRequirements:
    return merge_requirements(
        each if isinstance(each, SourceRequirements) else read_source(each, to) for each in sources
    )


def names(found: WarmReport | Readiness) -> set[str]:
    """Of the distributions that are needed."""
    beside = (".metadata", ".provenance")
    return {need.filename for need in found.needs.files if not need.filename.endswith(beside)}


@asynccontextmanager
async def warm_site(root: Path) -> AsyncIterator[WarmSite]:
    async with Upstream() as upstream:
        yield WarmSite(root, upstream)
