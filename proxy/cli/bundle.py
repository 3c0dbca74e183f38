"""``waystation bundle``: an archive of what a cache holds, made here and imported elsewhere."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from proxy.bundle.archive.creating import create_bundle
from proxy.bundle.archive.delta import read_base
from proxy.bundle.archive.importing import Rules, import_bundle, strange
from proxy.bundle.archive.manifest import Origin
from proxy.bundle.archive.reading import Bundle, drop
from proxy.bundle.archive.refused import Failed
from proxy.bundle.archive.selection import Selection, of_everything, of_projects
from proxy.bundle.archive.signing import load_signer, load_trusted, make_keys
from proxy.bundle.archive.source import Source
from proxy.bundle.archive.survey import Survey
from proxy.cache import Cache, open_cache
from proxy.cli.bundle_text import created_lines, facts, imported_lines, listing
from proxy.cli.options import settings_options
from proxy.compose_bundle import mirrored
from proxy.settings import Settings
from proxy.simple.names import normalize
from proxy.sources import load

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_trust = click.option(
    "--trust",
    multiple=True,
    type=_FILE,
    metavar="PUBLIC_KEY",
    help="Take only what this key has signed; may be repeated. Default: the keys that the"
    " setting trusted_keys names.",
)
_expect = click.option(
    "--expect",
    metavar="sha256:DIGEST",
    callback=lambda context, option, value: _digest(value),
    help="Take only the archive with this digest, as `create` and `verify` tell it.",
)


@click.group("bundle")
def command() -> None:
    """Carry a cache to where there is no network.

    A bundle is one tar archive of pages and files out of the cache, with a manifest and the
    digest of every byte. Private distributions are not in the cache, and so not in a bundle.
    """


@command.command("create")
@settings_options
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--all", "everything", is_flag=True, help="All that the cache holds.")
@click.option(
    "--project", "projects", multiple=True, metavar="NAME", help="All that is held of a project."
)
@click.option(
    "--since",
    type=_FILE,
    metavar="BUNDLE",
    help="Leave out what this bundle, or the manifest of one, lists: it has to be imported first.",
)
@click.option("--sign", type=_FILE, metavar="KEY", help="Sign it with this private key.")
def create_command(
    file: Path,
    everything: bool,
    projects: tuple[str, ...],
    since: Path | None,
    sign: Path | None,
    config: Path | None,
    **flags: Any,
) -> None:
    """Write what the cache holds into FILE.

    Of each project: its page as upstream sent it, files, metadata and provenance. The same
    content gives the same bytes. Exit status 1 if it cannot be written.
    """
    if bool(projects) == everything:
        raise click.UsageError("name projects with --project, or say --all")
    settings = load(flags, config).settings
    origins = list(dict.fromkeys(mirrored(settings).values()))
    base = read_base(since) if since else None
    signer = load_signer(sign) if sign else None

    async def run() -> None:
        async with open_cache(settings) as cache:
            selection = await _selection(cache, origins, projects)
            done = await create_bundle(
                cache, origins, selection, file, _progress, base=base, signer=signer
            )
        for line in done.left_out:
            click.echo(f"left out, not there any more: {line}", err=True)
        _say(created_lines(done, file))

    asyncio.run(run())


@command.command("show")
@click.argument("file", type=_FILE)
@click.option("--manifest", is_flag=True, help="Print the manifest, as JSON, and nothing else.")
def show_command(file: Path, manifest: bool) -> None:
    """List what FILE holds. Only its beginning is read, so this proves nothing.

    What --manifest prints can be given to `create --since` in place of the bundle.
    """
    with _opened(file) as source:
        bundle = Bundle(source)
    if manifest:
        click.echo(bundle.content, nl=False)
    else:
        _say([*facts(bundle), *listing(bundle.manifest)])


@command.command("verify")
@settings_options
@click.argument("file", type=_FILE)
@_expect
@_trust
def verify_command(
    file: Path, expect: str | None, trust: tuple[Path, ...], config: Path | None, **flags: Any
) -> None:
    """Check every byte of FILE, and import nothing.

    Exit status 1 if it would be refused.
    """
    trusted = load_trusted(_settings(flags, config, trust).trusted_keys)
    with _opened(file, hashed=True) as source:
        bundle = Bundle(source, trusted)
        with _progress(bundle.manifest.load) as tell:
            for step in bundle.members(drop):
                tell(step)
        bundle.require(expect)
    _say(["sound", f"archive    sha256:{bundle.archive_digest}", *facts(bundle)])


@command.command("import")
@settings_options
@click.argument("file", type=_FILE)
@_expect
@_trust
@click.option(
    "--accept-changed",
    is_flag=True,
    help="Take other bytes under a file name that is known here too, instead of refusing.",
)
def import_command(
    file: Path,
    expect: str | None,
    trust: tuple[Path, ...],
    accept_changed: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Take FILE into the cache, once every byte of it is checked: all of it, or nothing.

    Servers may be running on the cache. If it is cut off, run it again. Exit status 1 if the
    bundle is refused, and 2 if a setting stands in the way.
    """
    settings = _settings(flags, config, trust)
    here = list(mirrored(settings).values())
    rules = Rules(here, int(settings.max_size), expect, accept_changed)

    async def run(bundle: Bundle) -> Survey:
        with _progress(bundle.manifest.load) as tell:
            async with open_cache(settings) as cache:
                return await import_bundle(cache, bundle, rules, tell)

    with _opened(file, hashed=expect is not None) as source:
        bundle = Bundle(source, load_trusted(settings.trusted_keys))
        found = asyncio.run(run(bundle))
    _say(imported_lines(found))
    for url in strange(bundle.manifest, here):
        click.echo(f"these settings do not serve its pages: set upstream to {url}", err=True)


@command.command("key")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def key_command(file: Path) -> None:
    """Make a key pair: the private key FILE, for `create --sign`, and FILE.pub, for `--trust`."""
    try:
        public = make_keys(file)
    except OSError as error:
        raise Failed(f"{error.filename or file} cannot be written", error) from error
    click.echo(f"{file} is for you alone; give {public} to those who import")


async def _selection(cache: Cache, origins: list[Origin], projects: tuple[str, ...]) -> Selection:
    namespaces = [origin.namespace for origin in origins]
    if not projects:
        return await of_everything(cache.records, namespaces)
    try:
        names = [normalize(each) for each in projects]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return await of_projects(cache.records, namespaces, names)


def _settings(flags: dict[str, Any], config: Path | None, trust: tuple[Path, ...]) -> Settings:
    trusted = {"trusted_keys": list(trust)} if trust else {}
    return load(flags | trusted, config).settings


@contextmanager
def _opened(file: Path, *, hashed: bool = False) -> Iterator[Source]:
    try:
        stream = file.open("rb", buffering=0)
    except OSError as error:
        raise Failed(f"{file} cannot be read", error) from error
    with stream:
        yield Source(stream, hashed=hashed)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar for people, nothing where there is no terminal."""
    if not sys.stderr.isatty():
        yield lambda size: None
        return
    with click.progressbar(length=total, file=sys.stderr) as bar:
        yield bar.update


def _digest(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
        raise click.BadParameter("give sha256: and 64 hex digits")
    return value and value.removeprefix("sha256:")


def _say(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)
