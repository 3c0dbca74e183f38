"""Builds the indexes that the settings describe, by their concrete classes.

A mirror is always wrapped in ``Guarded``: policies stand outside of the cache, which keeps what
upstream really sent, so that a changed policy acts at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.composition.facts import open_knowledge
from proxy.composition.ground import Ground
from proxy.composition.index_checks import DefaultDirectory
from proxy.composition.index_tree import IndexNode, IndexTree, resolve_tree
from proxy.composition.open_mirror import open_mirror
from proxy.composition.open_packages import object_packages, open_object_index
from proxy.composition.open_sites import FirstSite, open_sites
from proxy.composition.policies import build_policies
from proxy.composition.publishing import UPLOAD_SETTINGS, open_publisher
from proxy.composition.upstream_connections import same_upstream
from proxy.config import (
    FallthroughTable,
    IndexTable,
    LocalTable,
    RoutedTable,
    Settings,
    UpstreamSettings,
    UpstreamTable,
)
from proxy.indexes import (
    Fallthrough,
    Guarded,
    Index,
    LocalDirectory,
    Merged,
    Mirror,
    PrivateIndex,
)
from proxy.policies import Policy, Reserved, Withheld, matcher

if TYPE_CHECKING:
    from proxy.advisories import AdvisoryRefresher
    from proxy.publish import PackageStore, Publisher

_NOT_OF_DIRECTORY = {"policies", *UPLOAD_SETTINGS}


@dataclass(slots=True)
class IndexSet:
    """The running indexes of one state of the settings."""

    tree: IndexTree
    indexes: dict[str, Index] = field(default_factory=dict)
    """Every index of the settings by its name."""
    directories: list[PrivateIndex] = field(default_factory=list)
    """Directories of private packages, and object stores of them."""
    publishers: dict[str, Publisher] = field(default_factory=dict)
    """By the name of the local index that accepts uploads."""
    mirrors: list[Mirror] = field(default_factory=list)
    sites: list[FirstSite] = field(default_factory=list)
    advisories: AdvisoryRefresher | None = None
    """None: the settings name no source of advisories."""

    @property
    def served(self) -> dict[str, Index]:
        """Each index that is served, by the path below which its addresses are."""
        root = {"": self.indexes[self.tree.root.name]}
        return root | {f"/{name}": self.indexes[name] for name in self.tree.served}

    @property
    def upload_targets(self) -> dict[str, Publisher]:
        """The target of uploads for each path of ``served``."""
        nodes = {f"/{name}": self.tree.named[name] for name in self.tree.served}
        targets: dict[str, Publisher] = {}
        for path, node in {"": self.tree.root, **nodes}.items():
            below = (self.publishers.get(each.name) for each in node.with_all_below())
            if target := next(filter(None, below), None):
                targets[path] = target
        return targets


async def open_indexes(settings: Settings, ground: Ground, stack: AsyncExitStack) -> IndexSet:
    """Open what the settings describe until ``stack`` closes. Raises ``ConfigurationError``."""
    opened = IndexSet(resolve_tree(settings))
    if table := settings.advisories:
        from proxy.composition.open_advisories import open_advisories  # not at every start

        key = ("advisories", table, settings.offline, *_inherited(settings))
        opened.advisories = await ground.parts.use(
            key,
            lambda: open_advisories(
                table,
                settings,
                ground.cache.folder,
                ground.events,
                ground.epoch.grow,
                ground.clock,
            ),
            stack,
        )
    builder = _Builder(settings, ground, opened, stack)
    for node in (opened.tree.root, *opened.tree.named.values()):
        await builder.build(node)
    await open_sites(settings, opened, ground.cache, ground.clock, stack)
    return opened


def _but(table: LocalTable, names: Collection[str]) -> dict[str, object]:
    """The values of the table but these: a key of what may be shared."""
    return {name: value for name, value in table if name not in names}


def _inherited(settings: Settings) -> list[object]:
    return [getattr(settings, name) for name in UpstreamSettings.model_fields]


class _Builder:
    """Builds the indexes of a tree, and registers on the stack what has to be closed."""

    def __init__(
        self, settings: Settings, ground: Ground, opened: IndexSet, stack: AsyncExitStack
    ) -> None:
        self._settings = settings
        self._ground = ground
        self._opened = opened
        self._stack = stack
        self._clock = ground.clock
        self._knowledge = open_knowledge(
            settings,
            ground.cache.records,
            ground.epoch,
            ground.events,
            opened.advisories,
            stack,
            ground.clock,
            ground.parsed_pages,
        )
        self._mirrors: list[tuple[tuple[object, ...], Mirror]] = []

    async def build(self, node: IndexNode) -> Index:
        """The index of that name; a name that occurs twice in the tree is one index."""
        built = self._opened.indexes
        if node.name not in built:
            index, policies = await self._open(node), self._policies(node.table)
            built[node.name] = self._guarded(node.name, index, policies) if policies else index
        return built[node.name]

    async def _open(self, node: IndexNode) -> Index:
        table = node.table
        if isinstance(table, LocalTable):
            return await self._local(node.name, table)
        if isinstance(table, UpstreamTable):
            return await self._mirror(node.name, table)
        children = {child.name: await self.build(child) for child in node.children}
        if isinstance(table, RoutedTable):
            return await self._routed(node.name, table, children)
        assert isinstance(table, FallthroughTable)
        merges = matcher(table.merge) if table.merge else None
        return Fallthrough(node.name, list(children.values()), merges)

    async def _routed(self, name: str, table: RoutedTable, children: dict[str, Index]) -> Index:
        from proxy.composition.routed_rules import (  # most servers have none
            RoutedParts,
            open_routed,
        )

        ground = self._ground
        around = RoutedParts(
            self._settings, ground.cache, ground.events, ground.clock, ground.traffic
        )
        opened = open_routed(name, table, children, around)
        return await self._stack.enter_async_context(opened)

    def _guarded(self, name: str, index: Index, policies: list[Policy]) -> Guarded:
        known = self._knowledge
        return Guarded(index, policies, self._clock, known.epoch, known.parsed_pages, name)

    def _policies(self, table: IndexTable) -> list[Policy]:
        """The policies of an index, those first that keep private names from an upstream."""
        policies = build_policies(table, self._settings, self._knowledge)
        if not isinstance(table, UpstreamTable):
            return policies
        reserved: list[Policy] = [Reserved(table.reserved)] if table.reserved else []
        return [*reserved, Withheld(self._ground.cache.claims.require_served), *policies]

    async def _local(self, name: str, table: LocalTable) -> Index:
        """One directory, or several as one index; logs then say which one is meant."""
        if table.packages:
            return await self._object_index(name, table)
        several = len(table.roots) > 1
        opened = [
            await self._directory(f"{name} ({root})" if several else name, table, root)
            for root in table.roots
        ]
        if table.uploads:
            from proxy.publish import DirectoryPackages  # most servers accept no uploads

            await self._take_uploads(name, table, DirectoryPackages(opened[0]))
        return Merged(name, opened) if several else opened[0]

    async def _object_index(self, name: str, table: LocalTable) -> Index:
        cache = self._ground.cache
        key = ("objects", name, _but(table, _NOT_OF_DIRECTORY))
        index = await self._ground.parts.use(
            key,
            lambda: open_object_index(name, table, cache, self._ground.events),
            self._stack,
        )
        self._opened.directories.append(index)
        if table.uploads:
            await self._take_uploads(name, table, object_packages(index, cache.folder))
        return index

    async def _take_uploads(self, name: str, table: LocalTable, packages: PackageStore) -> None:
        self._opened.publishers[name] = await open_publisher(
            name,
            table,
            packages,
            self._opened,
            self._stack,
            self._clock,
            self._settings.provenance_root,
        )

    async def _directory(self, name: str, table: LocalTable, root: Path) -> LocalDirectory:
        optional = isinstance(table, DefaultDirectory)
        key = ("local", name, root, _but(table, _NOT_OF_DIRECTORY), optional)
        directory = await self._ground.parts.use(
            key, lambda: self._open_directory(name, table, root), self._stack
        )
        self._opened.directories.append(directory)
        return directory

    @asynccontextmanager
    async def _open_directory(
        self, name: str, table: LocalTable, root: Path
    ) -> AsyncIterator[LocalDirectory]:
        directory = LocalDirectory(
            name,
            root,
            self._ground.cache.records,
            self._ground.events,
            claims=self._ground.cache.claims,
            legacy=table.legacy_files,
            optional=isinstance(table, DefaultDirectory),
            extra_files=table.extra_files,
            watch=table.watch,
            clock=self._clock,
        )
        await directory.open()
        try:
            yield directory
        finally:
            await directory.close()

    async def _mirror(self, name: str, table: UpstreamTable) -> Mirror:
        """Indexes of one upstream share a mirror, unless its settings differ."""
        settings = self._settings.of_index(table)
        key = same_upstream(table, settings)
        for known, mirror in self._mirrors:
            if known == key:
                return mirror
        mirror = await self._ground.parts.use(
            ("mirror", name, settings.offline, *key),
            lambda: open_mirror(
                name,
                table,
                settings,
                self._ground.cache,
                self._ground.events,
                self._clock,
                self._ground.traffic,
            ),
            self._stack,
        )
        self._mirrors.append((key, mirror))
        self._opened.mirrors.append(mirror)
        return mirror
