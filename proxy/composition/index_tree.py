"""The indexes that the settings describe, as a tree. Nothing is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from proxy.composition.index_checks import (
    DefaultDirectory,
    table_problems,
    webhook_problems,
)
from proxy.composition.open_packages import shared_places
from proxy.config import (
    SHORT_COOLDOWN,
    FallthroughTable,
    IndexTable,
    LocalTable,
    MirrorTable,
    RoutedTable,
    Settings,
    UpstreamTable,
)
from proxy.errors import ConfigurationError, refuse
from proxy.policies import patterns_overlap

AS_OF = "as-of"
"""The rule of an index with ``as_of``."""
DEFAULT_PACKAGES = Path("packages")
"""The directory of private distributions that is served if the settings name none."""
SHORT_SETTINGS = (
    "packages",
    "uploads",
    "legacy_files",
    "watch",
    "reserved",
    "cooldown",
    "upstream",
    "upstream_username",
    "upstream_password",
    "upstream_missing_statuses",
    "file_hosts",
)


class IndexNode(msgspec.Struct, frozen=True, eq=False):
    name: str
    table: IndexTable
    children: tuple[IndexNode, ...] = ()

    @property
    def policies(self) -> frozenset[str]:
        """The names of its rules, and of those of the indexes that it is made of."""
        below = [node.table for node in self.with_all_below()]
        names = frozenset(name for table in below for name in table.policies)
        return names | {AS_OF for table in below if table.as_of}

    @property
    def accepts_uploads(self) -> bool:
        tables = (node.table for node in self.with_all_below())
        return any(isinstance(table, LocalTable) and table.uploads for table in tables)

    def with_all_below(self) -> Iterable[IndexNode]:
        """The node and all that it is made of, each once: many indexes may share one."""
        found: dict[IndexNode, None] = {}
        left = [self]
        while left:
            if (each := left.pop()) not in found:
                found[each] = None
                left += reversed(each.children)
        return found


class IndexTree(msgspec.Struct, frozen=True):
    """Every index of the settings, and the one that is served at the root."""

    root: IndexNode
    named: Mapping[str, IndexNode]
    """By name. An index that several others are made of is one node."""
    served: tuple[str, ...]
    """Those with addresses of their own, ``/NAME/simple/``."""

    @property
    def tops(self) -> tuple[IndexNode, ...]:
        """The root, and the other indexes that no index is made of."""
        below = {child.name for node in self.named.values() for child in node.children}
        others = (node for name, node in self.named.items() if name not in below)
        return tuple(dict.fromkeys((self.root, *others)))

    @property
    def accepting_uploads(self) -> frozenset[str]:
        """The names of the indexes that take uploads, or are made of one that does."""
        return frozenset(name for name, node in self.named.items() if node.accepts_uploads)

    @property
    def leaves(self) -> tuple[IndexNode, ...]:
        """The indexes that are not made of others: those of the root first, in its order."""
        found = dict.fromkeys(each for top in self.tops for each in top.with_all_below())
        return tuple(each for each in found if not each.children)


def resolve_tree(settings: Settings) -> IndexTree:
    """All indexes of the settings. Raises one ``ConfigurationError`` for all problems.

    The short settings are three indexes, of which only the one that joins the others is served:
    the names of these are not chosen, and upstream's would bypass the private directory.
    """
    short = not settings.indexes
    tables = settings.indexes or _expanded(settings)
    resolver = _Resolver(tables, short=short)
    resolver.problems += _misplaced(settings)
    resolver.problems += shared_places(tables)
    resolver.problems += webhook_problems(settings.webhooks, tables)
    root = resolver.node(settings.index, "index")
    for name in tables:
        resolver.node(name, f"indexes.{name}")
    refuse(resolver.problems)
    assert root
    return IndexTree(root, resolver.nodes, (root.name,) if short else tuple(tables))


class _Resolver:
    """Makes one node of each table, and collects what is wrong."""

    def __init__(self, tables: Mapping[str, IndexTable], *, short: bool) -> None:
        self.nodes: dict[str, IndexNode] = {}
        self.problems: list[ConfigurationError] = []
        self._tables = tables
        self._short = short
        self._path: list[str] = []
        self._wrong: set[str] = set()

    def node(self, name: str, key: str) -> IndexNode | None:
        """The node of that name; None if it has a problem. ``key`` names the setting it is in."""
        if name not in self._tables:
            known = ", ".join(sorted(self._tables))
            problem = f"there is no index {name!r}"
            self.problems.append(ConfigurationError(key, problem, f"the indexes are: {known}"))
            return None
        if name in self._path:
            circle = " -> ".join((*self._path[self._path.index(name) :], name))
            problem = f"indexes in a circle: {circle}"
            self.problems.append(ConfigurationError(key, problem, "leave one out"))
            return None
        if name not in self.nodes and name not in self._wrong:
            self._resolve(name)
        return self.nodes.get(name)

    def _resolve(self, name: str) -> None:
        table = self._tables[name]
        before = len(self.problems)
        self.problems += table_problems(name, table, short=self._short)
        self._path.append(name)
        key = f"indexes.{name}.{table.members_key}"
        children = [self.node(each, key) for each in dict.fromkeys(table.members)]
        self._path.pop()
        node = IndexNode(name, table, tuple(filter(None, children)))
        if isinstance(table, FallthroughTable):
            self.problems += _merge_problems(node, table.merge)
        if len(self.problems) > before or None in children:
            self._wrong.add(name)
        else:
            self.nodes[name] = node


def _merge_problems(node: IndexNode, merged: Sequence[str]) -> Iterator[ConfigurationError]:
    """A name that is kept private may not be united with what an upstream has of it."""
    reserved = [
        pattern
        for below in node.with_all_below()
        if isinstance(below.table, UpstreamTable | RoutedTable)
        for pattern in below.table.reserved_patterns
    ]
    for pattern in merged:
        if clash := next((each for each in reserved if patterns_overlap(pattern, each)), None):
            key = f"indexes.{node.name}.merge"
            problem = f"{pattern!r} has names that {clash!r} reserves"
            yield ConfigurationError(key, problem, "leave out one of them")


def _misplaced(settings: Settings) -> Iterator[ConfigurationError]:
    """Settings of the short form beside tables, and the reverse."""
    if settings.indexes:
        for name in SHORT_SETTINGS:
            if getattr(settings, name) != Settings.model_fields[name].default:
                problem = "it has no meaning beside [indexes]"
                yield ConfigurationError(name, problem, "set it in an index's own table")
    elif settings.index != Settings.model_fields["index"].default:
        problem, remedy = "it has no meaning without [indexes]", "leave it out, or name indexes"
        yield ConfigurationError("index", problem, remedy)


def _expanded(settings: Settings) -> dict[str, IndexTable]:
    """The tables that the short form of the settings means.

    Its values were validated before; the validators of the tables would take 5 ms of a start.
    """
    tables: dict[str, IndexTable] = {}
    kind = DefaultDirectory if settings.packages is None else LocalTable
    tables["private"] = kind.model_construct(
        kind="local",
        path=settings.packages or DEFAULT_PACKAGES,
        legacy_files=settings.legacy_files,
        watch=settings.watch,
        uploads=settings.uploads,
    )
    tables["upstream"] = MirrorTable.model_construct(
        kind="mirror",
        url=settings.upstream,
        username=settings.upstream_username,
        password=settings.upstream_password,
        file_hosts=settings.file_hosts,
        missing_statuses=settings.upstream_missing_statuses,
        reserved=settings.reserved,
        policies=[SHORT_COOLDOWN] if settings.cooldown else [],
    )
    tables["main"] = FallthroughTable.model_construct(kind="fallthrough", of=list(tables))
    return tables
