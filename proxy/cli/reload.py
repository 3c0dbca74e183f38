"""``waystation reload``: a running server takes over its changed settings."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import click

from proxy.cli.admin_client import act, via_option
from proxy.cli.options import settings_options
from proxy.cli.running_server import ServerState, running_servers
from proxy.composition import resolve_tree
from proxy.config import cache_folder, config_file, load_settings
from proxy.errors import ConfigurationError

RELOAD_TIMEOUT = 120.0
"""Seconds in which a server has to end its reload."""
LOOK_PAUSE = 0.05
"""Seconds between two looks at the record of a server."""


@click.command("reload")
@via_option
@settings_options
def command(via: str | None, config: Path | None, **flags: Any) -> None:
    """Let a running server take over its changed settings, without a pause.

    The server is found by the same --config and --cache-dir, or by its address. Wrong settings
    are refused, and the former ones stay in force: exit status 2. Exit status 1 if no such server
    runs.
    """
    if via:
        notes = act(via, "reload")["needs_restart"]
        click.echo(f"the server at {via} has reloaded its settings")
        for note in notes:
            click.echo(f"  {note}")
        return
    settings = load_settings(flags, config, resolve_tree).settings
    path = config_file(config)
    wanted = str(path.absolute()) if path else None
    folder = cache_folder(settings)
    found = [each for each in running_servers(folder) if each.config == wanted]
    if not found:
        click.echo(f"no server runs with {wanted or 'no settings file'} on {folder}", err=True)
        raise SystemExit(1)
    for server in found:
        state = reload_server(folder, server)
        click.echo(f"server {state.pid} has reloaded its settings")
        for note in state.notes:
            click.echo(f"  {note}")


def reload_server(folder: Path, server: ServerState) -> ServerState:
    """Ask the server to reload, and wait for its success. Raises ``ConfigurationError``."""
    asked = time.monotonic()
    os.kill(server.pid, signal.SIGHUP)
    while time.monotonic() < asked + RELOAD_TIMEOUT:
        now = next((each for each in running_servers(folder) if each.pid == server.pid), None)
        if now is None:
            raise ConfigurationError("reload", f"server {server.pid} has ended", "see its log")
        if now.reloaded >= asked:  # one that began before may have read former settings
            if now.error:
                raise ConfigurationError("reload", now.error)
            return now
        time.sleep(LOOK_PAUSE)
    problem = f"server {server.pid} has not answered within {RELOAD_TIMEOUT:.0f} seconds"
    raise ConfigurationError("reload", problem, "see its log")
