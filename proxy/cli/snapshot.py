"""``waystation snapshot``: names for what a local index shows, and the roll-back to one.

The commands change the directory of the index itself; running servers see that at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click

from proxy.cli.options import settings_options
from proxy.cli.published import editor_here, publisher_of, show_changes, with_proxy
from proxy.composition import Proxy
from proxy.publish import Editor, PackageChange, Snapshots
from proxy.runtime import timestamp_text


@click.group("snapshot")
def command() -> None:
    """Name what a local index shows, serve that at /+asof/NAME/, and go back to it."""


@command.command("create")
@settings_options
@click.argument("name")
def create(name: str, **flags: Any) -> None:
    """Give a name to what the index shows now. The bytes of its files are kept from now on."""
    _change(flags, lambda snapshots, editor: snapshots.create(name, editor))


@command.command("list")
@settings_options
def list_snapshots(**flags: Any) -> None:
    """Show the snapshots, the oldest first, with the change before which each was made."""

    async def show(proxy: Proxy) -> None:
        for each in await Snapshots(publisher_of(proxy, flags["index"])).all():
            click.echo(f"{each.name}  {timestamp_text(each.at)}  {each.number}  {each.actor}")

    with_proxy(flags, show)


@command.command("delete")
@settings_options
@click.argument("name")
def delete(name: str, **flags: Any) -> None:
    """Forget a snapshot. The index stays as it is."""
    _change(flags, lambda snapshots, editor: snapshots.delete(name, editor))


@command.command("restore")
@settings_options
@click.argument("name")
@click.option("--incomplete", is_flag=True, help="Leave out files whose bytes are gone.")
def restore(name: str, incomplete: bool, **flags: Any) -> None:
    """Let the index show what it showed at the snapshot: files, yanks and statuses.

    What was published since is deleted, and can be restored as other deleted files.
    """
    _change(flags, lambda snapshots, editor: snapshots.restore(name, editor, incomplete=incomplete))


def _change(
    flags: dict[str, Any],
    work: Callable[[Snapshots, Editor], Awaitable[Sequence[PackageChange]]],
) -> None:
    async def change(proxy: Proxy) -> None:
        snapshots = Snapshots(publisher_of(proxy, flags["index"]))
        show_changes(await work(snapshots, editor_here()))

    with_proxy(flags, change)
