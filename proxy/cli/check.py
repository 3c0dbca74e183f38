"""``waystation check``: are the settings right, and what do they mean?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxy.cli.options import serving_options, settings_options
from proxy.cli.settings import as_toml, in_force
from proxy.plan import describe, plan
from proxy.sources import load


@click.command("check")
@settings_options
@serving_options
@click.option("--toml", is_flag=True, help="Print the settings in force as a settings file.")
def command(config: Path | None, toml: bool, **flags: Any) -> None:
    """Validate the settings; show the indexes they make and where each value comes from.

    Exit status 2 if a setting is wrong.
    """
    loaded = load(flags, config, plan)
    if toml:
        click.echo("\n".join(as_toml(loaded.settings)))
        return
    tree = plan(loaded.settings)
    click.echo("Indexes, in the order of resolution:")
    for line in describe(tree):
        click.echo(f"  {line}")
    click.echo("\nSettings:")
    for name, value in in_force(loaded.settings).items():
        click.echo(f"  {name} = {_shown(value)}  ({loaded.origins.get(name, 'default')})")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return "unset" if value is None else str(value) or '""'
