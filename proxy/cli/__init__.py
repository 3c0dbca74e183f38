"""The command ``waystation``. Subcommands are imported when they are called: imports cost time."""

from __future__ import annotations

import gc
import importlib
import sys
from difflib import get_close_matches
from types import ModuleType

import click

from proxy import __version__
from proxy.errors import ConfigurationError, ProxyError

__all__ = ["main"]

COMMANDS = {
    "serve": "Serve the index.",
    "warm": "Fetch all that a build needs, for any platform.",
    "sync": "Fetch what is new of what the settings keep warm.",
    "ready": "Say whether all that a build needs is held.",
    "settings": "Print every setting with its default, explained.",
    "check": "Validate the settings and show what they mean.",
    "cache": "Look at the cache, verify it, purge it.",
    "export": "Write a static tree that any web server can serve.",
    "bundle": "Carry a cache to where there is no network.",
}


class Lazy(click.Group):
    """Knows its commands by name, and imports the module of the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            close = get_close_matches(cmd_name, COMMANDS, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {cmd_name!r}.{hint}")
        command = _imported(f"proxy.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _imported(module: str) -> ModuleType:
    """An import makes many objects, which stay: to look for garbage among them, now or later,
    costs a tenth of a start.
    """
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="waystation")
def group() -> None:
    """A caching package index gateway: private projects first, PyPI behind."""


def main() -> None:
    """Runs the command line; exit status 2 for a wrong setting, 1 for other foreseen errors."""
    try:
        group(prog_name="waystation")
    except ConfigurationError as error:
        for part in error.parts:
            click.echo(f"waystation: {part}", err=True)
        sys.exit(2)
    except ProxyError as error:
        click.echo(f"waystation: {error}", err=True)
        sys.exit(1)
