"""``waystation cache``: inspect, verify and purge the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import settings_options
from proxy.composition import Cache, open_cache
from proxy.config import load_settings
from proxy.maintenance import cached_files, projects_in, purge, purge_everything, stats, verify
from proxy.model import normalize
from proxy.runtime import count_text, size_text, timestamp_text
from proxy.storage import ChangedFiles


@click.group("cache")
def command() -> None:
    """Inspect, verify or purge the cache. Servers may be running on it."""


def _with_cache(work: Callable[[Cache], Awaitable[int]], config: Path | None, flags: Any) -> None:
    settings = load_settings(flags, config).settings

    async def run() -> int:
        async with open_cache(settings) as cache:
            try:
                return await work(cache)
            except OSError as error:
                raise click.ClickException(
                    f"the cache cannot be changed: {error.strerror or error}"
                ) from error

    raise SystemExit(asyncio.run(run()))


@command.command("stats")
@settings_options
def stats_command(config: Path | None, **flags: Any) -> None:
    """Count projects, files, bytes, and changed files."""

    async def work(cache: Cache) -> int:
        found = await stats(cache)
        click.echo(f"folder    {cache.folder}")
        click.echo(f"projects  {found.projects}")
        click.echo(f"files     {found.files}")
        click.echo(f"bytes     {found.size} ({size_text(found.size)})")
        more = " (`waystation cache changed` lists them)" if found.changed else ""
        click.echo(f"changed   {found.changed}{more}")
        return 0

    _with_cache(work, config, flags)


@command.command("list")
@settings_options
@click.argument("projects", nargs=-1, metavar="[PROJECT]...")
def list_command(projects: tuple[str, ...], config: Path | None, **flags: Any) -> None:
    """List cached files: bytes, sha256 and filename.

    For the named projects, or for all.
    """
    wanted = _names(projects)

    async def work(cache: Cache) -> int:
        found = await cached_files(cache, wanted)
        files = [file for _, group in found for file in group]
        size = size_text(sum(file.size for file in files))
        projects = count_text(len(found), "project")
        click.echo(f"{projects}, {count_text(len(files), 'file')}, {size}", err=True)
        for project, group in found:
            click.echo(project)
            for file in group:
                click.echo(f"  {file.size:>12}  {file.sha256}  {file.filename}")
        await _report_unknown(cache, set(wanted) - {project for project, _ in found})
        return 0

    _with_cache(work, config, flags)


@command.command("changed")
@settings_options
def changed_command(config: Path | None, **flags: Any) -> None:
    """List files whose bytes changed upstream.

    For each file: when the change was noticed, project, filename, and the digests before and
    after. The setting on_changed_file says whether such a file is served; "waystation cache
    purge PROJECT" removes the project's files and this record.
    """

    async def work(cache: Cache) -> int:
        found = await ChangedFiles(cache.records).all()
        if not found:
            click.echo("no file has changed upstream since it was first seen", err=True)
        for project, filename, change in found:
            click.echo(f"{timestamp_text(change.noticed)}  {project}  {filename}")
            click.echo(f"  {change.seen} -> {change.now}")
        return 0

    _with_cache(work, config, flags)


@command.command("verify")
@settings_options
def verify_command(config: Path | None, **flags: Any) -> None:
    """Hash every cached file; delete damaged files.

    Deleted files are fetched again when they are requested. Exit status 1 if files were damaged.
    """

    async def work(cache: Cache) -> int:
        found = await verify(cache)
        for key in found.damaged:
            click.echo(f"damaged, deleted: {key}")
        click.echo(f"{count_text(found.sound, 'file')} sound, {len(found.damaged)} damaged")
        return 1 if found.damaged else 0

    _with_cache(work, config, flags)


@command.command("purge")
@settings_options
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All pages and files. Private names stay private.",
)
@click.argument("projects", nargs=-1, metavar="[PROJECT]...")
def purge_command(
    projects: tuple[str, ...], everything: bool, config: Path | None, **flags: Any
) -> None:
    """Delete the pages and files of projects.

    A private project without files stays private until its name is purged here.
    """
    if bool(projects) == everything:
        raise click.UsageError("name the projects to purge, or give --all, but not both")
    wanted = _names(projects)

    async def work(cache: Cache) -> int:
        done = await (purge_everything(cache) if everything else purge(cache, wanted))
        click.echo(f"purged {count_text(done.files, 'file')}, {size_text(done.size)}")
        await _report_unknown(cache, done.unknown)
        for name in done.released:
            click.echo(
                f"{name} is no longer private, unless the directory has files or a folder for it"
            )
        return 0

    _with_cache(work, config, flags)


async def _report_unknown(cache: Cache, names: Iterable[str]) -> None:
    """Report names that are not in the cache, with the most similar name that is."""
    known = await projects_in(cache) if names else set()
    for name in sorted(names):
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        click.echo(f"{name}: not in the cache{hint}", err=True)


def _names(projects: tuple[str, ...]) -> list[str]:
    try:
        return [normalize(each) for each in projects]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
