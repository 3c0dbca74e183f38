"""``waystation bundle verify`` and ``waystation bundle import``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy.bundle import (
    Bundle,
    Comparison,
    ImportRules,
    discard,
    import_bundle,
    load_trusted_keys,
    unknown_upstreams,
)
from proxy.cli.bundle_report import (
    READABLE,
    READABLE_OR_DASH,
    about,
    facts,
    imported,
    imported_lines,
    json_option,
    opened,
    print_json,
    progress,
)
from proxy.cli.options import settings_options
from proxy.cli.source_options import log_errors_only
from proxy.composition import mirrored, open_cache
from proxy.config import Settings, load_settings

F = TypeVar("F", bound=Callable[..., Any])


def _acceptance_options(function: F) -> F:
    """The options that restrict which bundles are accepted."""
    expect = click.option(
        "--expect",
        metavar="sha256:DIGEST",
        callback=_digest,
        help="Accept only the archive with this digest, which create and verify print.",
    )
    trust = click.option(
        "--trust",
        multiple=True,
        type=READABLE,
        metavar="PUBLIC_KEY",
        help="Accept only bundles signed with this key. Repeatable. Default: the setting"
        " trusted_keys.",
    )
    return expect(trust(function))


def _digest(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
        raise click.BadParameter("give sha256: and 64 hex digits")
    return value and value.removeprefix("sha256:")


@click.command("verify")
@click.argument("file", type=READABLE_OR_DASH)
@settings_options
@_acceptance_options
@json_option
def verify_command(
    file: Path,
    expect: str | None,
    trust: tuple[Path, ...],
    as_json: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Check every byte of a bundle, and import nothing.

    Exit status 1 if the bundle is damaged or not accepted.
    """
    trusted = load_trusted_keys(_settings(flags, config, trust).trusted_keys)
    with opened(file, hashed=True) as source:
        bundle = Bundle(source, trusted)
        with progress(bundle.manifest.carried_size) as advance:
            for step in bundle.members(discard):
                advance(step)
        bundle.require_archive_digest(expect)
    if as_json:
        print_json({"archive": bundle.archive_digest, **about(bundle)})
        return
    lines = ["sound", f"archive    sha256:{bundle.archive_digest}", *facts(bundle)]
    click.echo("\n".join(lines))


@click.command("import")
@click.argument("file", type=READABLE_OR_DASH)
@settings_options
@_acceptance_options
@click.option(
    "--accept-changed",
    is_flag=True,
    help="Import also files whose bytes differ from those known here under the same filename.",
)
@json_option
def import_command(
    file: Path,
    expect: str | None,
    trust: tuple[Path, ...],
    accept_changed: bool,
    as_json: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Check a bundle and import it into the cache.

    Every byte is checked first; then all of the bundle is imported, or nothing. Servers may be
    running on the cache. An interrupted import can be repeated. Exit status 1 if the bundle is
    refused, 2 if a setting is wrong.
    """
    settings = _settings(flags, config, trust)
    log_errors_only(settings)
    here = list(mirrored(settings).values())
    rules = ImportRules(here, int(settings.max_size), expect, accept_changed)

    async def run(bundle: Bundle) -> Comparison:
        with progress(bundle.manifest.carried_size) as advance:
            async with open_cache(settings) as cache:
                return await import_bundle(cache, bundle, rules, advance)

    with opened(file, hashed=expect is not None) as source:
        bundle = Bundle(source, load_trusted_keys(settings.trusted_keys))
        found = asyncio.run(run(bundle))
    if as_json:
        print_json(imported(found))
    else:
        click.echo("\n".join(imported_lines(found)))
    for url in unknown_upstreams(bundle.manifest, here):
        click.echo(
            f"these settings do not serve the imported pages: set upstream to {url}",
            err=True,
        )


def _settings(flags: dict[str, Any], config: Path | None, trust: tuple[Path, ...]) -> Settings:
    trusted = {"trusted_keys": list(trust)} if trust else {}
    return load_settings(flags | trusted, config).settings
