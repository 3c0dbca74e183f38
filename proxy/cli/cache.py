"""``waystation cache``: inspect, verify and purge the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import click

from proxy.cli.admin_client import via_option
from proxy.cli.cache_server import list_via, pin_via, pins_via, purge_via, refresh_via, stats_via
from proxy.cli.options import settings_options
from proxy.composition import Cache, open_cache
from proxy.config import load_settings
from proxy.events import Event, Evicted, Observer
from proxy.maintenance import (
    cached_files,
    pinned_files,
    projects_in,
    purge,
    purge_everything,
    purge_file,
    stats,
    verify,
)
from proxy.model import ProjectName, normalize
from proxy.runtime import count_text, size_text, timestamp_text
from proxy.storage import ChangedFiles


@click.group("cache")
def command() -> None:
    """Inspect, verify, pin or purge the cache. Servers may be running on it.

    With --via the commands work on the cache of a running server, perhaps on another machine.
    """


def _with_cache(
    work: Callable[[Cache], Awaitable[int]],
    config: Path | None,
    flags: Any,
    events: Observer = lambda event: None,
) -> None:
    settings = load_settings(flags, config).settings

    async def run() -> int:
        async with open_cache(settings, events=events) as cache:
            try:
                return await work(cache)
            except OSError as error:
                raise click.ClickException(
                    f"the cache cannot be changed: {error.strerror or error}"
                ) from error

    raise SystemExit(asyncio.run(run()))


@command.command("stats")
@via_option
@settings_options
def stats_command(via: str | None, config: Path | None, **flags: Any) -> None:
    """Count projects, files, bytes, and changed files."""
    if via:
        _finish(stats_via(via))

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
@via_option
@settings_options
@click.argument("projects", nargs=-1, metavar="[PROJECT]...")
def list_command(
    projects: tuple[str, ...], via: str | None, config: Path | None, **flags: Any
) -> None:
    """List cached files: bytes, sha256 and filename.

    For the named projects, or for all.
    """
    wanted = _names(projects)
    if via:
        _finish(list_via(via, wanted))

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
@via_option
@settings_options
@click.option("--file", "filename", default="", metavar="NAME", help="Only this file of PROJECT.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All pages and files. Private names stay private.",
)
@click.argument("projects", nargs=-1, metavar="[PROJECT]...")
def purge_command(
    projects: tuple[str, ...],
    everything: bool,
    filename: str,
    via: str | None,
    config: Path | None,
    **flags: Any,
) -> None:
    """Delete the pages and files of projects.

    A private project without files stays private until its name is purged here.
    """
    if bool(projects) == everything:
        raise click.UsageError("name the projects to purge, or give --all, but not both")
    if filename and len(projects) != 1:
        raise click.UsageError("--file is of one project: name it")
    wanted = _names(projects)
    if via:
        _finish(purge_via(via, wanted, filename))

    async def work(cache: Cache) -> int:
        if filename:
            done = await purge_file(cache, wanted[0], filename)
        else:
            done = await (purge_everything(cache) if everything else purge(cache, wanted))
        click.echo(f"purged {count_text(done.files, 'file')}, {size_text(done.size)}")
        await _report_unknown(cache, done.unknown)
        for name in done.released:
            click.echo(
                f"{name} is no longer private, unless the directory has files or a folder for it"
            )
        return 0

    _with_cache(work, config, flags)


@command.command("evict")
@settings_options
def evict_command(config: Path | None, **flags: Any) -> None:
    """Delete files that are over max_size, too old or unused, now.

    Servers do that by themselves: where files are in an object store, once in evict_every.
    """
    evicted: list[Evicted] = []

    def observe(event: Event) -> None:
        if isinstance(event, Evicted):
            evicted.append(event)

    async def work(cache: Cache) -> int:
        if not await cache.evictor.evict():
            click.echo("another process evicts files now", err=True)
            return 1
        files = count_text(sum(each.files for each in evicted), "file")
        size = size_text(sum(each.size for each in evicted))
        click.echo(f"deleted {files}, {size}; {size_text(cache.evictor.total)} are left")
        return 0

    _with_cache(work, config, flags, observe)


@command.command("refresh")
@click.option("--via", metavar="URL", required=True, help="The server that asks its upstream.")
@click.option("--index", default="", metavar="NAME", help="The index. Default: that at the root.")
@click.argument("projects", nargs=-1, required=True, metavar="PROJECT...")
def refresh_command(projects: tuple[str, ...], via: str, index: str) -> None:
    """Let a server ask upstream for the pages of projects now."""
    _finish(refresh_via(via, project, index) for project in _names(projects))


def _pinning(action: str, about: str) -> None:
    """Add the command ``pin`` or ``unpin``."""

    @command.command(action, help=about)
    @via_option
    @settings_options
    @click.argument("project")
    @click.argument("filename", default="")
    def run(
        project: str, filename: str, via: str | None, config: Path | None, **flags: Any
    ) -> None:
        (name,) = _names((project,))
        if via:
            _finish(pin_via(via, action, name, filename))

        async def work(cache: Cache) -> int:
            found = dict(await cached_files(cache, [name])).get(name, [])
            files = [each for each in found if filename in ("", each.filename)]
            digests = [each.sha256 for each in files]
            await (cache.pins.pin(digests) if action == "pin" else cache.pins.unpin(digests))
            for each in files:
                click.echo(f"{action}ned: {each.filename}")
            if not files:
                click.echo(f"{name} {filename}".rstrip() + ": not in the cache", err=True)
            return 0 if files else 1

        _with_cache(work, config, flags)


_pinning("pin", "Keep the cached files of PROJECT, or one of them, whatever the limit is.")
_pinning("unpin", "Let the cached files of PROJECT, or one of them, be removed again.")


@command.command("pins")
@via_option
@settings_options
def pins_command(via: str | None, config: Path | None, **flags: Any) -> None:
    """List the files that were pinned by hand; keep tables pin others."""
    if via:
        _finish(pins_via(via))

    async def work(cache: Cache) -> int:
        for project, files in await pinned_files(cache):
            if files:
                click.echo(project)
                for name in files:
                    click.echo(f"  {name}")
        return 0

    _with_cache(work, config, flags)


def _finish(lines: Iterable[str]) -> NoReturn:
    """Print the lines, and end the command with success."""
    for line in lines:
        click.echo(line)
    raise SystemExit(0)


async def _report_unknown(cache: Cache, names: Iterable[str]) -> None:
    """Report names that are not in the cache, with the most similar name that is."""
    known = await projects_in(cache) if names else set()
    for name in sorted(names):
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        click.echo(f"{name}: not in the cache{hint}", err=True)


def _names(projects: tuple[str, ...]) -> list[ProjectName]:
    try:
        return [normalize(each) for each in projects]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
