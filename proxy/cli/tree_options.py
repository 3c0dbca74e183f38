"""The options of a static tree, the same for ``export`` and ``mirror``, and the report of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy.composition import resolve_tree
from proxy.config import LocalTable, Settings, cache_folder
from proxy.errors import ConfigurationError, how_to_add
from proxy.export import (
    LOGO_SUFFIXES,
    ExportOptions,
    ExportResult,
    Placement,
    Site,
    Tree,
    flat_links,
    listed_links,
    parse_base_url,
    read_logo,
    tree_links,
)
from proxy.presentation import can_render
from proxy.runtime import count_text

F = TypeVar("F", bound=Callable[..., Any])

_TREE_OPTIONS = (
    click.option(
        "--base-url",
        metavar="URL",
        help="Pages link to URL/FILENAME, and no file is written. With --link, files are written to"
        " DIR/files, to be moved to URL.",
    ),
    click.option(
        "--link",
        type=click.Choice([how.value for how in Placement]),
        help="How to put files into DIR. Default: hard links, or copies if links are not possible.",
    ),
    click.option(
        "--title", default=Site().title, help=f"Title of HTML pages. Default: {Site().title}."
    ),
    click.option(
        "--logo",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help=f"Image at the top of HTML pages, up to 1 MiB: {', '.join(LOGO_SUFFIXES)}.",
    ),
    click.option("--verify", is_flag=True, help="Hash also the files that already are in DIR."),
)
TREE_OPTION_NAMES = ("base_url", "link", "title", "logo", "verify")


def tree_options(function: F) -> F:
    for option in reversed(_TREE_OPTIONS):
        function = option(function)
    return function


def take_tree_options(flags: dict[str, Any]) -> dict[str, Any]:
    """Remove the values of the tree options from all flags, and return them."""
    return {name: flags.pop(name) for name in TREE_OPTION_NAMES}


def read_tree_options(
    *,
    base_url: str | None,
    link: str | None,
    title: str,
    logo: Path | None,
    verify: bool,
    listed: bool = False,
) -> ExportOptions:
    """``listed``: the files are at the addresses of a list. Raises ``ConfigurationError``.

    ``verify`` is an option of ``Tree``.
    """
    base = None if base_url is None else parse_base_url(base_url)
    site = read_logo(title, logo) if logo else Site(title)
    how = Placement(link) if link else None if base or listed else Placement.HARD
    if listed:
        return ExportOptions(how, listed_links, site)
    return ExportOptions(how, flat_links(base) if base and how is None else tree_links(base), site)


@contextmanager
def writing_to(folder: Path, *, verify: bool) -> Iterator[Tree]:
    """The tree to write. Errors of the disk end the command with a message."""
    try:
        yield Tree(folder.absolute(), verify=verify)
    except OSError as error:
        where = error.filename2 or error.filename  # the destination of a copy
        raise click.ClickException(f"{where}: {error.strerror}") from error


def check_place(folder: Path, settings: Settings, sources: Mapping[str, Path]) -> None:
    """Raises ``ConfigurationError`` if the tree would be inside one of its sources.

    ``sources``: further ones than the cache and the private directories, by their description.
    """
    tables = (node.table for node in resolve_tree(settings).leaves)
    taken = {"the cache": cache_folder(settings), **sources}
    for table in tables:
        if isinstance(table, LocalTable):
            taken |= {f"the directory {root}": root for root in table.roots}
    for what, path in taken.items():
        if folder.resolve().is_relative_to(path.resolve()):
            raise ConfigurationError("DIR", f"{folder} is inside {what}", "name another directory")


def print_export(folder: Path, done: ExportResult) -> None:
    changes = done.changes
    files, projects = count_text(done.files, "distribution"), count_text(done.projects, "project")
    click.echo(f"{folder}: {files} of {projects}")
    written = count_text(changes.written, "file")
    click.echo(f"{written} written, {changes.unchanged} unchanged, {changes.removed} removed")
    if not can_render():
        click.echo(f"descriptions are plain text; to render them, {how_to_add('export')}")
