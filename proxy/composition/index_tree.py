"""The tree of indexes that the settings describe, checked and as text. Nothing is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import HttpUrl

from proxy.config import FallthroughTable, IndexTable, LocalTable, MirrorTable, Settings
from proxy.errors import ConfigurationError
from proxy.upstream import Addresses

DEFAULT_PACKAGES = Path("packages")
"""The directory of private distributions that is served if the settings name none."""
SHORT_SETTINGS = (
    "packages",
    "legacy_files",
    "watch",
    "reserved",
    "upstream",
    "upstream_username",
    "upstream_password",
    "upstream_missing_statuses",
    "file_hosts",
)


class DefaultDirectory(LocalTable):
    """The directory that is served if the settings name none; it may be created later."""

    def is_missing(self) -> bool:
        """Whether it does not exist so far; a dangling link exists, and cannot be read."""
        return self.path.is_file() or not os.path.lexists(self.path)


@dataclass(frozen=True, slots=True)
class IndexNode:
    name: str
    table: IndexTable
    children: tuple[IndexNode, ...] = ()


def resolve_tree(settings: Settings) -> IndexNode:
    """The served index and the indexes below it. Raises ``ConfigurationError``."""
    tables = settings.indexes or _expanded(settings)
    if settings.indexes:
        for name in SHORT_SETTINGS:
            if getattr(settings, name) != Settings.model_fields[name].default:
                raise ConfigurationError(
                    name, "it has no meaning beside [indexes]", "set it in an index's own table"
                )
    elif settings.index != Settings.model_fields["index"].default:
        raise ConfigurationError(
            "index", "it has no meaning without [indexes]", "leave it out, or name indexes"
        )
    return _node(settings.index, "index", tables, ())


def describe(node: IndexNode, depth: int = 0) -> Iterator[str]:
    """The tree as lines of text, in the order of resolution."""
    yield "  " * depth + f"{node.name}: {_description(node.table)}"
    for child in node.children:
        yield from describe(child, depth + 1)


def leaves(node: IndexNode) -> Iterator[IndexNode]:
    """The indexes without indexes below them, in the order of resolution."""
    if not node.children:
        yield node
    for child in node.children:
        yield from leaves(child)


def _expanded(settings: Settings) -> dict[str, IndexTable]:
    """The tables that the short form of the settings means."""
    tables: dict[str, IndexTable] = {}
    kind = DefaultDirectory if settings.packages is None else LocalTable
    tables["private"] = kind(
        kind="local",
        path=settings.packages or DEFAULT_PACKAGES,
        legacy_files=settings.legacy_files,
        watch=settings.watch,
    )
    tables["upstream"] = MirrorTable(
        kind="mirror",
        url=settings.upstream or _pypi(),
        username=settings.upstream_username,
        password=settings.upstream_password,
        file_hosts=settings.file_hosts,
        missing_statuses=settings.upstream_missing_statuses,
        reserved=settings.reserved,
    )
    tables["main"] = FallthroughTable(kind="fallthrough", of=list(tables))
    return tables


def _pypi() -> HttpUrl:
    from pypi_simple import PYPI_SIMPLE_ENDPOINT  # 0.2 s, and only where it is needed

    return HttpUrl(PYPI_SIMPLE_ENDPOINT)


def _node(
    name: str, key: str, tables: Mapping[str, IndexTable], path: tuple[str, ...]
) -> IndexNode:
    if name not in tables:
        known = ", ".join(sorted(tables))
        raise ConfigurationError(key, f"there is no index {name!r}", f"the indexes are: {known}")
    if name in path:
        circle = " -> ".join((*path, name))
        raise ConfigurationError(key, f"indexes in a circle: {circle}", "leave one out")
    table = tables[name]
    optional = isinstance(table, DefaultDirectory)
    if isinstance(table, LocalTable) and not optional and not table.path.is_dir():
        key = "packages" if path == ("main",) and "upstream" in tables else f"indexes.{name}.path"
        remedy = "create it, or name a directory that exists"
        raise ConfigurationError(key, f"{table.path} is not a directory", remedy)
    if isinstance(table, MirrorTable):
        _check(name, table, short="upstream" in tables and path == ("main",))
    if not isinstance(table, FallthroughTable):
        return IndexNode(name, table)
    below = (*path, name)
    return IndexNode(
        name, table, tuple(_node(each, f"indexes.{name}.of", tables, below) for each in table.of)
    )


def _check(name: str, table: MirrorTable, *, short: bool) -> None:
    """Check an upstream's addresses. Raises ``ConfigurationError``."""
    if table.url.query or table.url.fragment:
        key = "upstream" if short else f"indexes.{name}"
        problem = f"{without_credentials(table.url)} holds more than scheme, host and path"
        raise ConfigurationError(key, problem, "leave the rest out")
    try:
        Addresses("https://index.invalid/", table.file_hosts)
    except ValueError as error:
        key = "file_hosts" if short else f"indexes.{name}.file_hosts"
        remedy = 'name hosts, such as "files.example.com", "*.example.com" or "host:8443"'
        raise ConfigurationError(key, str(error), remedy) from None


def _description(table: IndexTable) -> str:
    if isinstance(table, LocalTable):
        missing = isinstance(table, DefaultDirectory) and table.is_missing()
        note = " (does not exist yet; it is read once it exists)" if missing else ""
        return f"directory {table.path.absolute()}{note}"
    if isinstance(table, MirrorTable):
        reserved = f", never asked for {', '.join(table.reserved)}" if table.reserved else ""
        return f"mirror of {without_credentials(table.url)}{reserved}"
    return "the first of these that has the project"


def without_credentials(url: HttpUrl) -> str:
    """The address as text, with credentials masked."""
    text = str(url)
    if url.username is None and url.password is None:
        return text
    scheme, _, rest = text.partition("://")
    return f"{scheme}://***@{rest.partition('@')[2]}"
