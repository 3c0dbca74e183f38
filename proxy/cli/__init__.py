"""The command line ``waystation``: one module for each command, imported when it is called."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import click

from proxy import __version__
from proxy.errors import ConfigurationError, ProxyError

__all__ = ["COMMANDS", "MODULES", "main", "without_authorities"]

COMMANDS = {
    "serve": "Start the server.",
    "reload": "Let a running server take over its changed settings.",
    "warm": "Fetch everything that a build needs into the cache.",
    "sync": "Run the [[keep]] tables of the settings once.",
    "ready": "Check that the cache has everything that a build needs.",
    "explain": "Say why a project, version or file is shown or not.",
    "audit": "Say who received, or was refused, which files.",
    "policy": "Try rules before they are in force.",
    "relock": "Change the addresses in a lock file to those of another index.",
    "doctor": "Check what installers on this machine ask.",
    "settings": "Print all settings with defaults and explanations.",
    "check": "Check the settings, and show the values in force.",
    "token": "Create, list, revoke and rotate tokens.",
    "user": "Add, change and remove users of the htpasswd file.",
    "server": "Ask a running server what it is doing.",
    "publish": "Upload wheels and sdists to an index.",
    "push": "Upload files of a local index to another index.",
    "pull": "Take files of another index into a local index.",
    "import": "Take the packages that another server left into a local index.",
    "yank": "Mark a version of a private project as yanked.",
    "unyank": "Take the mark away.",
    "delete": "Delete files of a private project.",
    "restore": "Bring back deleted files.",
    "promote": "Publish files of one index in another one.",
    "status": "Archive, deprecate or quarantine a private project.",
    "owners": "Show or set who may change a private project.",
    "claim": "Claim a name that an upstream has.",
    "snapshot": "Name what a local index shows, and go back to that.",
    "cache": "Inspect, verify or purge the cache.",
    "export": "Write a static index that any web server can serve.",
    "mirror": "Fetch what a build needs, and write it as a static index.",
    "bundle": "Move a cache to a machine without a network.",
}
MODULES = dict.fromkeys(
    ("yank", "unyank", "delete", "restore", "promote", "status", "owners", "claim"), "published"
) | {"publish": "publish", "push": "publish", "pull": "migration", "import": "migration"}
"""Modules of several commands; other commands are in the module of their name."""


class LazyGroup(click.Group):
    """Imports the module of a command only when the command is called: imports take time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            from difflib import get_close_matches

            close = get_close_matches(cmd_name, COMMANDS, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {cmd_name!r}.{hint}")
        module = MODULES.get(cmd_name)
        found = _import(f"proxy.cli.{module or cmd_name}")
        command = getattr(found, cmd_name if hasattr(found, cmd_name) and module else "command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _import(module: str) -> ModuleType:
    """Import without garbage collection: the new objects stay, and scanning them takes a tenth
    of the start-up time.
    """
    gc.disable()
    try:
        with without_authorities():
            return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def without_authorities() -> Iterator[None]:
    """OpenSSL finds no authorities of the system: aiohttp would load them twice when it is
    imported, for 0.08 s of CPU.

    No connection uses the contexts that aiohttp makes meanwhile, which trust no server:
    ``proxy/upstream/client_tls.py`` makes our own. Nothing else runs during the import.
    """
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="waystation")
def group() -> None:
    """A caching package index for pip and uv: private projects first, everything else from PyPI.

    Start with "waystation serve". "waystation COMMAND --help" explains a command.
    """


def main() -> None:
    """Run the command line; exit status 2 for a wrong setting or option, 1 for other errors."""
    # Pydantic would read the metadata of every installed distribution, and import its plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        group(prog_name="waystation")
    except ConfigurationError as error:
        for part in error.parts:
            click.echo(f"waystation: {part}", err=True)
        sys.exit(2)
    except ProxyError as error:
        click.echo(f"waystation: {error}", err=True)
        sys.exit(1)
