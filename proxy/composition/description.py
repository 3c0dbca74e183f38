"""The indexes of the settings as text: what each is made of."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.composition.index_checks import DefaultDirectory, upstream_url, without_credentials
from proxy.composition.index_tree import IndexNode, IndexTree
from proxy.config import IndexTable, LocalTable, MirrorTable


def describe(tree: IndexTree) -> Iterator[str]:
    """All indexes as lines: the one at the root, then the others that nothing is made of.

    Indexes below another are in the order in which it asks them.
    """
    for top in tree.tops:
        yield from _lines(top, 0)


def described_addresses(tree: IndexTree) -> str:
    """Where each index is served; empty if only the root is."""
    if len(tree.named) == 1 or len(tree.served) == 1:
        return ""
    return "each also at /NAME/simple/: " + ", ".join(tree.served)


def _lines(node: IndexNode, depth: int) -> Iterator[str]:
    yield "  " * depth + f"{node.name}: {_description(node.table)}"
    for child in node.children:
        yield from _lines(child, depth + 1)


def _description(table: IndexTable) -> str:
    if isinstance(table, LocalTable):
        missing = isinstance(table, DefaultDirectory) and table.is_missing()
        note = " (does not exist yet; it is read once it exists)" if missing else ""
        return f"directory {table.path.absolute()}{note}"
    if isinstance(table, MirrorTable):
        reserved = f", never asked for {', '.join(table.reserved)}" if table.reserved else ""
        return f"mirror of {without_credentials(upstream_url(table))}{reserved}"
    return "the first of these that has the project"
