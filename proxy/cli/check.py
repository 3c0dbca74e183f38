"""``waystation check``: are the settings right, and what do they mean?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from proxy.cli.attempts import attempts
from proxy.cli.options import serving_options, settings_options
from proxy.cli.settings import as_toml, in_force
from proxy.plan import describe, resolve_tree
from proxy.settings import Settings
from proxy.sources import load


@click.command("check")
@settings_options
@serving_options
@click.option("--toml", is_flag=True, help="Print the settings in force as a settings file.")
@click.option("--no-network", is_flag=True, help="Try neither the port nor upstream.")
def command(config: Path | None, toml: bool, no_network: bool, **flags: Any) -> None:
    """Validate the settings; show the indexes they make and where each value comes from.

    Then try the cache folder, the directories, the port and upstream. Exit status 2 if a
    setting is wrong, 1 if something that was tried failed.
    """
    loaded = load(flags, config, resolve_tree)
    if toml:
        click.echo("\n".join(as_toml(loaded.settings)))
        return
    tree = resolve_tree(loaded.settings)
    click.echo("Indexes, in the order of resolution:")
    for line in describe(tree):
        click.echo(f"  {line}")
    click.echo("\nSettings:")
    for name, value in in_force(loaded.settings).items():
        click.echo(f"  {name} = {_shown(value)}  ({loaded.origins.get(name, 'default')})")
    if not asyncio.run(_try_all(loaded.settings, network=not no_network)):
        raise SystemExit(1)


async def _try_all(settings: Settings, *, network: bool) -> bool:
    """Say what was tried, and what came of it; whether all of it is well."""
    well = True
    click.echo("\nTried:")
    async for what, problem in attempts(settings, network=network):
        click.echo(f"  {what}: {problem or 'ok'}")
        well = well and problem is None
    if not network:
        click.echo("  not the port, and no upstream (--no-network)")
    elif settings.offline:
        click.echo("  no upstream (offline)")
    return well


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return "unset" if value is None else str(value) or '""'
