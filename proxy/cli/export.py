"""``waystation export``: a whole simple repository as plain files, for any web server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from proxy.cli.export_source import ExportRequest, check_place, opened
from proxy.cli.options import settings_options
from proxy.cli.source_options import given, source_options
from proxy.errors import how_to_add
from proxy.export.addresses import as_listed, base_address, flat, in_tree
from proxy.export.placing import How
from proxy.export.readme import can_render
from proxy.export.run import Exported, Form, export
from proxy.export.tree import Tree
from proxy.settings import Settings
from proxy.sizes import count_text
from proxy.sources import load

_FILE_OR_DASH = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@source_options
@click.option("--all", "everything", is_flag=True, help="All that the cache holds, and --local.")
@click.option("--local", is_flag=True, help="The private distributions.")
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="NAME",
    help="All that the cache has of a project.",
)
@click.option("--from", "bare", type=_FOLDER, metavar="DIR", help="A directory of distributions.")
@click.option(
    "--names",
    type=_FILE_OR_DASH,
    metavar="FILE",
    help="Files that are elsewhere, one in each line: its name, or a JSON object with filename,"
    ' hash, size, requires-python, upload-time, yanked, core-metadata, url. "-": standard input.',
)
@click.option(
    "--base-url",
    metavar="URL",
    help="Files are at URL/FILENAME, and none is written. With --link they are written, to be"
    " moved from DIR/files to URL.",
)
@click.option(
    "--link",
    type=click.Choice([how.value for how in How]),
    help="How files get into DIR. Default: as hard links, and as copies where those cannot be.",
)
@click.option("--title", default="Package index", help="For people. Default: Package index.")
@click.option("--verify", is_flag=True, help="Hash also the files that are in DIR already.")
@settings_options
def command(
    folder: Path,
    base_url: str | None,
    link: str | None,
    title: str,
    verify: bool,
    config: Path | None,
    everything: bool,
    local: bool,
    projects: tuple[str, ...],
    bare: Path | None,
    names: Path | None,
    **flags: Any,
) -> None:
    """Write a simple repository into DIR: pages, files, and pages for people.

    Sources and targets are those of "warm", which has to be run before: nothing is fetched.
    Run again, it writes what has changed and removes what is not exported any more. Exit
    status 1 if something is not in the cache: then nothing is written.
    """
    names = Path("/dev/stdin") if names == Path("-") else names
    asked = ExportRequest(everything, local, bare, names, projects, given(flags))
    asked.check()
    if names and link:
        raise click.UsageError("--link is of no use: the files of --names are elsewhere")
    settings = load(flags, config).settings
    check_place(folder, settings, asked)
    base = None if base_url is None else base_address(base_url)
    tree = Tree(folder.absolute(), verify=verify)
    try:
        done = asyncio.run(_export(tree, _form(base, link, title, names), settings, asked, base))
    except OSError as error:
        where = error.filename2 or error.filename  # of a copy, where it should go
        raise click.ClickException(f"{where}: {error.strerror}") from error
    _report(folder, done)


def _form(base: str | None, link: str | None, title: str, names: Path | None) -> Form:
    how = How(link) if link else None if base or names else How.HARD
    if names:
        return Form(how, as_listed, title)
    return Form(how, flat(base) if base and how is None else in_tree(base), title)


async def _export(
    tree: Tree, form: Form, settings: Settings, asked: ExportRequest, base: str | None
) -> Exported:
    async with opened(asked, settings, base) as source:
        return await export(source.index, tree, form, source.selection, store=source.store)


def _report(folder: Path, done: Exported) -> None:
    changes = done.changes
    files, projects = count_text(done.files, "distribution"), count_text(done.projects, "project")
    click.echo(f"{folder}: {files} of {projects}")
    written = count_text(changes.written, "file")
    click.echo(f"{written} written, {changes.unchanged} unchanged, {changes.removed} removed")
    if not can_render():
        click.echo(f"descriptions are plain text; to render them, {how_to_add('export')}")
