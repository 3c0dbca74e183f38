"""Mistakes in one index of the settings: its name, its paths, its addresses."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import HttpUrl

from proxy.composition.open_packages import store_problems
from proxy.config import (
    IndexTable,
    LocalTable,
    MirrorTable,
    ReleasesTable,
    RoutedTable,
    UpstreamTable,
)
from proxy.errors import ConfigurationError
from proxy.indexes import is_zip
from proxy.upstream import Addresses

if TYPE_CHECKING:
    from proxy.config import WebhookTable


class DefaultDirectory(LocalTable):
    """The directory that is served if the settings name none; it may be created later."""

    def is_missing(self) -> bool:
        """Whether it does not exist so far; a dangling link exists, and cannot be read."""
        (root,) = self.roots
        return root.is_file() or not os.path.lexists(root)


def table_problems(name: str, table: IndexTable, *, short: bool) -> Iterator[ConfigurationError]:
    """``short``: the settings name no indexes, and the table is made from the short form."""
    if isinstance(table, LocalTable):
        yield from _directory_problems(name, table, short=short)
    if isinstance(table, MirrorTable):
        keys = "upstream" if short else f"indexes.{name}", f"indexes.{name}.mirrors"
        yield from _address_problems(keys[0], upstream_url(table))
        for url in table.mirrors:
            yield from _address_problems(keys[1], url)
    if isinstance(table, ReleasesTable):
        yield from _address_problems(f"indexes.{name}.api", table.api)
    if isinstance(table, UpstreamTable | RoutedTable):
        key = "file_hosts" if short else f"indexes.{name}.file_hosts"
        yield from _host_problems(key, table.file_hosts)


def webhook_problems(
    webhooks: Mapping[str, WebhookTable], indexes: Mapping[str, IndexTable]
) -> Iterator[ConfigurationError]:
    """Names that do not exist, and indexes of which nothing can be published."""
    if not webhooks:
        return
    from proxy.publish import Action  # not at every start

    taking = [
        name for name, each in indexes.items() if isinstance(each, LocalTable) and each.uploads
    ]
    for name, table in webhooks.items():
        for index in table.indexes:
            if index not in taking:
                problem = f"{index!r} is no index with uploads = true"
                remedy = f"the indexes are: {', '.join(taking) or 'none'}"
                yield ConfigurationError(f"webhooks.{name}.indexes", problem, remedy)
        for action in table.actions:
            if action not in list(Action):
                remedy = f"the actions are: {', '.join(Action)}"
                yield ConfigurationError(
                    f"webhooks.{name}.actions", f"there is no action {action!r}", remedy
                )
        if not taking:
            problem = "no index has uploads = true, so nothing is ever sent"
            yield ConfigurationError(f"webhooks.{name}", problem, "let an index take uploads")


def _directory_problems(
    name: str, table: LocalTable, *, short: bool
) -> Iterator[ConfigurationError]:
    if isinstance(table, DefaultDirectory):
        return
    if table.packages:
        yield from store_problems(name, table)
        return
    if not table.roots:
        problem, remedy = "it has no directory", "give it a path, paths, or packages"
        yield ConfigurationError(f"indexes.{name}", problem, remedy)
        return
    if table.uploads and is_zip(table.roots[0]):
        problem = f"{table.roots[0]} is an archive, which cannot take uploads"
        yield ConfigurationError(f"indexes.{name}.uploads", problem, "name a directory first")
    for root in table.roots:
        if not (root.is_dir() or (is_zip(root) and root.is_file())):
            alone = table.path is not None and root == table.path.absolute()
            key = "packages" if short else f"indexes.{name}.{'path' if alone else 'paths'}"
            remedy = "create it, or name a directory or a .zip file that exists"
            yield ConfigurationError(key, f"{root} is not a directory", remedy)


def _address_problems(key: str, url: HttpUrl) -> Iterator[ConfigurationError]:
    if url.query or url.fragment:
        problem = f"{without_credentials(url)} holds more than scheme, host and path"
        yield ConfigurationError(key, problem, "leave the rest out")


def _host_problems(key: str, hosts: Sequence[str]) -> Iterator[ConfigurationError]:
    try:
        Addresses("https://index.invalid/", hosts)
    except ValueError as error:
        remedy = 'name hosts, such as "files.example.com", "*.example.com" or "host:8443"'
        yield ConfigurationError(key, str(error), remedy)


def upstream_url(table: MirrorTable) -> HttpUrl:
    """The address of a mirror's upstream: PyPI if its table has none."""
    if table.url:
        return table.url
    return HttpUrl(_pypi())


@cache
def _pypi() -> str:
    """The constant of pypi-simple, out of its source: to import it takes 0.15 s of CPU, because
    it imports requests and BeautifulSoup, and a start with default settings needs nothing else.
    """
    spec = find_spec("pypi_simple")
    path = Path(spec.origin) if spec and spec.origin else None
    source = path.read_text("utf-8") if path and path.is_file() else ""
    for node in ast.parse(source).body:
        match node:
            case ast.AnnAssign(ast.Name("PYPI_SIMPLE_ENDPOINT"), _, ast.Constant(str(address))):
                return address
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    return PYPI_SIMPLE_ENDPOINT


def without_credentials(url: HttpUrl) -> str:
    """The address as text, with credentials masked."""
    text = str(url)
    if url.username is None and url.password is None:
        return text
    scheme, _, rest = text.partition("://")
    return f"{scheme}://***@{rest.partition('@')[2]}"
