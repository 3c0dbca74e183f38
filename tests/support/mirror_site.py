"""Mirrors of a fake index as the product composes them, with time in the test's hands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from proxy.composition.cache import Cache, open_cache
from proxy.composition.open_mirror import open_mirror
from proxy.composition.routed_rules import RoutedParts
from proxy.config.index_tables import MirrorTable
from proxy.config.settings import Settings
from proxy.events import FileAnswered, Outcome, PageAnswered
from proxy.indexes.mirror.mirror import Mirror
from proxy.model import File, ProjectName, ProjectPage
from proxy.upstream import InFlight
from tests.support.clock import Clock
from tests.support.content import read_blob
from tests.support.directories import HeardChanges
from tests.support.distributions import make_wheel
from tests.support.listings import Listed
from tests.support.stored import stored_keys
from tests.support.upstream import Upstream

DEMO = ProjectName("demo")
PAGE = "/simple/demo/"


class OpenMirror:
    """A running mirror, and its events."""

    def __init__(self, mirror: Mirror, cache: Cache, heard: HeardChanges) -> None:
        self.mirror = mirror
        self.cache = cache
        self.heard = heard

    async def page(self, project: str = DEMO, **more: Any) -> ProjectPage:
        return await self.mirror.page(ProjectName(project), **more)

    async def names(self, project: str = DEMO, **more: Any) -> list[str]:
        """The file names on the project's page."""
        return [file.filename for file in (await self.page(project, **more)).files]

    async def read(self, file: File, suffix: str = "", project: str = DEMO) -> bytes:
        """The bytes behind the address of a file, or of its sibling."""
        return await self.get(file.filename + suffix, file.address_digest, project)

    async def get(self, filename: str, digest: str, project: str = DEMO) -> bytes:
        artifact = await self.mirror.file(ProjectName(project), filename, digest)
        return await read_blob(artifact.blob)

    async def all_stored(self) -> None:
        """Until what was fetched is stored and remembered, which readers do not wait for."""
        await self.mirror._files.close(20)

    @property
    def outcomes(self) -> list[Outcome]:
        """How the pages were answered, the oldest first."""
        return [each.outcome for each in self.heard if isinstance(each, PageAnswered)]

    @property
    def last(self) -> Outcome:
        """How the last file was answered."""
        return [each.outcome for each in self.heard if isinstance(each, FileAnswered)][-1]

    @property
    def stored(self) -> set[str]:
        """The keys of all files in the store."""
        return stored_keys(self.cache.folder / "blob")


class MirrorSite:
    """An upstream, and a cache folder on which one or more mirrors of it can be opened.

    Two that are open at the same time share no more than two processes would.
    """

    def __init__(self, root: Path, upstream: Upstream, clock: Clock) -> None:
        self.root = root
        self.cache_dir = root / "cache"
        self.upstream = upstream
        self.clock = clock

    def add(self, version: str = "1.0", name: str = DEMO, **listed: Any) -> Listed:
        """List a wheel upstream, described as for ``Upstream.add``."""
        made = {key: listed.pop(key) for key in ("padding", "files", "tag") if key in listed}
        return self.upstream.add(make_wheel(self.root / "dist", name, version, **made), **listed)

    @asynccontextmanager
    async def open(self, **settings: Any) -> AsyncIterator[OpenMirror]:
        """``settings`` are those of the product, and those of a mirror's own table.

        ``store`` and ``records`` among them: instead of those on disk.
        """
        others = {key: settings.pop(key) for key in ("store", "records") if key in settings}
        known: dict[str, Any] = {"cache_dir": self.cache_dir, "retries": 0, "shutdown_grace": 20.0}
        known["stale_while_revalidate"] = 0.0  # expired pages are revalidated at once
        keys = MirrorTable.model_fields.keys() & settings.keys()
        keys = {key for key in keys if not isinstance(settings[key], dict)}  # tables of policies
        of_index = {key: settings.pop(key) for key in keys}
        made = Settings(**known | settings)
        table = MirrorTable.model_validate({"kind": "mirror", "url": self.upstream.url, **of_index})
        heard = HeardChanges()
        async with open_cache(made, self.clock) as opened:
            cache = replace(opened, **others)
            in_force = made.of_index(table)
            async with open_mirror("pypi", table, in_force, cache, heard, self.clock) as mirror:
                yield OpenMirror(mirror, cache, heard)

    @asynccontextmanager
    async def surroundings(self, **settings: Any) -> AsyncIterator[RoutedParts]:
        """What opening another kind of index needs."""
        known: dict[str, Any] = {"cache_dir": self.cache_dir, "retries": 0, "shutdown_grace": 20.0}
        made = Settings(**known | settings)
        async with open_cache(made, self.clock) as cache:
            yield RoutedParts(made, cache, HeardChanges(), self.clock, InFlight())
