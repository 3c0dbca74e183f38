"""``waystation check``: are the settings right, and what do they mean?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxy.cache import cache_folder
from proxy.cli.options import serving_options, settings_options
from proxy.plan import describe, plan, without_credentials
from proxy.settings import Settings
from proxy.sources import load


@click.command("check")
@settings_options
@serving_options
def command(config: Path | None, **flags: Any) -> None:
    """Validate the settings; show the indexes they make and where each value comes from.

    Exit status 2 if a setting is wrong.
    """
    loaded = load(flags, config)
    tree = plan(loaded.settings)
    click.echo("Indexes, in the order of resolution:")
    for line in describe(tree):
        click.echo(f"  {line}")
    click.echo("\nSettings:")
    for name, value in _effective(loaded.settings).items():
        click.echo(f"  {name} = {_shown(value)}  ({loaded.origins.get(name, 'default')})")


def _effective(settings: Settings) -> dict[str, Any]:
    """Every setting as it works; what is unset has no effect, or is told by the indexes above."""
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    return values | {"cache_dir": cache_folder(settings)}


def _shown(value: Any) -> str:
    """As text that shows no secret."""
    if hasattr(value, "username") and hasattr(value, "scheme"):
        return without_credentials(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(each)}" for key, each in value.items()) + "}"
    if hasattr(type(value), "model_fields"):
        fields = type(value).model_fields
        return _shown({name: getattr(value, name) for name in fields})
    if isinstance(value, bool):
        return str(value).lower()
    return "unset" if value is None else str(value) or '""'
