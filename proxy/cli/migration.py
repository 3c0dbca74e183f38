"""``waystation pull`` and ``import``: packages of other servers, taken into a local index."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import settings_options
from proxy.cli.published import project_of, with_indexes
from proxy.cli.source_options import log_errors_only
from proxy.cli.taking import open_index, take_all, take_options, taking_options
from proxy.composition import Proxy
from proxy.config import load_settings
from proxy.errors import ConfigurationError
from proxy.indexes import Mirror
from proxy.migration import LAYOUTS, IndexSource, open_folder
from proxy.model import ProjectName
from proxy.policies import matcher
from proxy.publish import Selection

_ADDRESSES = ("http://", "https://")


@click.command("pull")
@settings_options
@click.argument("what", nargs=-1, required=True, metavar="PROJECT[==VERSION]...")
@click.option("--from", "url", required=True, metavar="URL", help="Simple index with the files.")
@taking_options
def pull(what: Sequence[str], url: str, config: Path | None, **flags: Any) -> None:
    """Take files of another index into a local index.

    The rules are those of uploads: digests have to be those on the pages of the index, other
    bytes under a used name are refused, attestations are verified. Upload times, signatures,
    provenance and yanks come along. Names that are new to the index are claimed. Files that are
    there already are skipped, so that an interrupted command can be repeated.

    The password or token is that in the variable WAYSTATION_TOKEN, else in the address, else in
    ~/.netrc. Exit status 1 if a file did not come.
    """
    options, wanted = take_options(flags), _selections(what)
    settings = load_settings(flags, config).settings
    log_errors_only(settings)

    async def run(proxy: Proxy) -> None:
        async with open_index(url, options, settings, proxy) as index:
            await take_all(proxy, IndexSource(index, wanted, time.time()), options)

    with_indexes(settings, run)


@click.command("import")
@settings_options
@click.argument("source")
@click.option("--kind", type=click.Choice(list(LAYOUTS)), help="Default: what SOURCE looks like.")
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="NAME",
    help="Only this project, or those of a pattern such as acme-*. Repeatable.",
)
@click.option(
    "--devpi-index",
    "devpi_indexes",
    multiple=True,
    metavar="USER/INDEX",
    help='Of an export of devpi. Repeatable; "all" takes every one.',
)
@taking_options
def command(
    source: str,
    kind: str | None,
    projects: Sequence[str],
    devpi_indexes: Sequence[str],
    config: Path | None,
    **flags: Any,
) -> None:
    """Take the packages that another server left into a local index.

    SOURCE is an export of devpi, a folder of pypiserver or pypicloud, a mirror of bandersnatch, a
    folder of pip download, or the address of a simple index, such as those of Artifactory and
    Nexus, of which --project names the projects.

    Every file is checked like an upload. A file that cannot be taken is reported, and does not
    stop the others. Names that are new to the index are claimed. Files that are there already are
    skipped, so that the command can be repeated. Exit status 1 if a package did not come.
    """
    options = take_options(flags)
    if source.startswith(_ADDRESSES):
        if kind or devpi_indexes:
            raise click.UsageError("--kind and --devpi-index are for folders")
        if not projects:
            raise click.UsageError("name the projects of the index: --project NAME")

    settings = load_settings(flags, config).settings
    log_errors_only(settings)

    async def run(proxy: Proxy) -> None:
        if source.startswith(_ADDRESSES):
            async with open_index(source, options, settings, proxy) as index:
                wanted = await _listed(index, projects)
                await take_all(proxy, IndexSource(index, wanted, time.time()), options)
            return
        wants = _matcher(projects or ["*"])
        folder = open_folder(Path(source), kind, devpi_indexes, wants)
        click.echo(f"source: {folder.label}", err=True)
        await take_all(proxy, folder, options, wants)

    with_indexes(settings, run)


def _matcher(patterns: Sequence[str]) -> Callable[[ProjectName], bool]:
    try:
        matches = matcher(patterns)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--project") from None
    return lambda project: bool(matches(project))


async def _listed(index: Mirror, projects: Sequence[str]) -> list[Selection]:
    """The files of named projects, and of those with names of a pattern, which are listed."""
    patterns = [each for each in projects if "*" in each or "?" in each]
    named = _selections([each for each in projects if each not in patterns])
    if not patterns:
        return named
    matches, names = _matcher(patterns), await index.upstream_names()
    if names is None:
        problem = f"{index.name} gives no list of its projects"
        raise ConfigurationError("--project", problem, "name each project without * and ?")
    found = [Selection(ProjectName(name)) for name in names if matches(ProjectName(name))]
    return named + [each for each in found if each not in named]


def _selections(what: Sequence[str]) -> list[Selection]:
    """The files that texts such as ``acme-tool`` and ``acme-tool==1.2`` mean."""
    found = []
    for each in what:
        name, equals, version = (part.strip() for part in each.partition("=="))
        if equals and not version:
            raise click.BadParameter(f"{each!r} has no version after ==")
        found.append(Selection(project_of(name), version))
    return found
