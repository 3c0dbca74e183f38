"""Commands that change what is published: yank, delete, restore, promote, status, owners, claim.

They change the directory or object store of the index itself; running servers see that. With
``--via`` a running server makes the change, with the rights of its token.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from proxy.cli.admin_client import change_packages, via_option
from proxy.cli.options import settings_options
from proxy.composition import Proxy, open_proxy
from proxy.config import Settings, load_settings
from proxy.errors import ConfigurationError
from proxy.model import PROJECT_STATUSES, ProjectName, ProjectStatus, normalize
from proxy.publish import Editor, PackageChange, Promotion, Publisher, Selection, Upkeep

F = TypeVar("F", bound=Callable[..., Any])
_Request = tuple[str, ProjectName, Mapping[str, object]]
"""An action of the HTTP API, its project, and its body."""
_Work = Callable[[Upkeep, Editor], Awaitable[Sequence[PackageChange]]]


def selecting(function: F) -> F:
    """The options of commands that change files."""
    function = click.argument("what", metavar="PROJECT[==VERSION]")(function)
    everything = click.option("--all", "everything", is_flag=True, help="All files of the project.")
    file = click.option("--file", "filename", default="", metavar="NAME", help="Only this file.")
    return settings_options(everything(file(function)))


@click.command("yank")
@selecting
@via_option
@click.option("--reason", default="", metavar="TEXT", help="Shown to those who install it.")
def yank(reason: str, **flags: Any) -> None:
    """Mark files as yanked: installers take them only where exactly this version is wanted."""
    selection = selected(flags)
    request = "yank", selection.project, _body(selection) | {"reason": reason}
    _change(flags, lambda upkeep, editor: upkeep.yank(selection, reason, editor), request)


@click.command("unyank")
@selecting
@via_option
def unyank(**flags: Any) -> None:
    """Take the mark of yanked files away."""
    selection = selected(flags)
    request = "unyank", selection.project, _body(selection)
    _change(flags, lambda upkeep, editor: upkeep.unyank(selection, editor), request)


@click.command("delete")
@selecting
@via_option
def delete(**flags: Any) -> None:
    """Delete files. "waystation restore" brings them back, as long as keep_deleted says.

    The name stays private, and a filename stays reserved for its bytes.
    """
    selection = selected(flags)
    request = "delete", selection.project, _body(selection)
    _change(flags, lambda upkeep, editor: upkeep.delete(selection, editor), request)


@click.command("restore")
@selecting
@via_option
def restore(**flags: Any) -> None:
    """Bring back deleted files, as they were."""
    selection = selected(flags)
    request = "restore", selection.project, _body(selection)
    _change(flags, lambda upkeep, editor: upkeep.restore(selection, editor), request)


@click.command("promote")
@selecting
@via_option
@click.option("--from", "source", required=True, metavar="INDEX", help="That has the files.")
@click.option("--to", "target", required=True, metavar="INDEX", help="That gets the files.")
def promote(source: str, target: str, **flags: Any) -> None:
    """Publish files of one index in another one, as they are.

    The files are linked, or copied to another file system. Digests, signatures, provenance, yanks
    and upload times stay. Both indexes are of kind "local" with uploads = true.
    """
    selection = selected(flags)
    if via := flags.pop("via"):
        body = _body(selection) | {"from": source}
        _show_answer(change_packages(via, target, selection.project, "promote", body))
        return

    async def run(proxy: Proxy) -> None:
        found = publisher_of(proxy, source), publisher_of(proxy, target)
        if found[0] is found[1]:
            raise click.UsageError("--from and --to are one index: name two")
        show_changes(await Promotion(*found).promote(selection, editor_here()))

    with_proxy(flags, run)


@click.command("status")
@settings_options
@via_option
@click.argument("project", callback=lambda context, option, value: project_of(value))
@click.argument("status", type=click.Choice(PROJECT_STATUSES))
@click.option("--reason", default=None, metavar="TEXT", help="Shown on the page of the project.")
def status(project: ProjectName, status: str, reason: str | None, **flags: Any) -> None:
    """Set the status of a project (PEP 792).

    An archived project takes no more files; a quarantined one also offers none.
    """
    wanted = ProjectStatus(status, reason)
    request = "status", project, {"status": status, "reason": reason}
    _change(flags, lambda upkeep, editor: upkeep.set_status(project, wanted, editor), request)


@click.command("owners")
@settings_options
@via_option
@click.argument("project", callback=lambda context, option, value: project_of(value))
@click.argument("users", nargs=-1, metavar="[USER]...")
def owners(project: ProjectName, users: tuple[str, ...], **flags: Any) -> None:
    """Show who may change a project; with USERs, these may from now on.

    The first user who uploads a file of a project owns it. Administrators may change all.
    """
    if users:
        request = "owners", project, {"owners": users}
        _change(flags, lambda upkeep, editor: upkeep.set_owners(project, users, editor), request)
        return
    if flags.pop("via"):
        raise click.UsageError("with --via give the users: servers do not show the owners")

    async def show(proxy: Proxy) -> None:
        journal = publisher_of(proxy, flags["index"]).journal
        for name in await asyncio.to_thread(journal.owners, project):
            click.echo(name)

    with_proxy(flags, show)


@click.command("claim")
@settings_options
@via_option
@click.argument("project", callback=lambda context, option, value: project_of(value))
def claim(project: ProjectName, **flags: Any) -> None:
    """Claim a name for the index that an upstream has too, so that it can be uploaded.

    From then on the name is private: clients get nothing of it from the upstream.
    """
    request = "claim", project, dict[str, object]()
    _change(flags, lambda upkeep, editor: upkeep.claim(project, editor), request)


def project_of(text: str) -> ProjectName:
    """Raises ``click.BadParameter``."""
    try:
        return normalize(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no project name") from None


def selected(flags: dict[str, Any]) -> Selection:
    """The files that the options of ``selecting`` name; takes its options out of ``flags``."""
    what, everything, filename = (flags.pop(key) for key in ("what", "everything", "filename"))
    name, _, version = what.partition("==")
    if everything is bool(version or filename):
        raise click.UsageError("give PROJECT==VERSION, --file NAME, or --all")
    return Selection(project_of(name.strip()), version.strip(), filename)


def _body(selection: Selection) -> dict[str, object]:
    everything = not (selection.version or selection.filename)
    chosen = {"version": selection.version, "filename": selection.filename}
    return {**chosen, "everything": everything}


def _change(flags: dict[str, Any], work: _Work, request: _Request) -> None:
    """Do the work here, or have a server do what the request says."""
    if via := flags.pop("via"):
        action, project, body = request
        _show_answer(change_packages(via, flags["index"], project, action, body))
        return

    async def change(proxy: Proxy) -> None:
        show_changes(await work(Upkeep(publisher_of(proxy, flags["index"])), editor_here()))

    with_proxy(flags, change)


def editor_here() -> Editor:
    """The user who runs the command, who can change the files anyway."""
    return Editor(getpass.getuser(), is_administrator=True)


def _show_answer(made: Any) -> None:
    show_changes(msgspec.convert(made, list[PackageChange]))


def show_changes(changes: Sequence[PackageChange]) -> None:
    """One line for each."""
    for each in changes:
        about = ": ".join(filter(None, (each.filename or each.project, each.detail)))
        click.echo(f"{each.action} {about}")
    if not changes:
        click.echo("nothing to change", err=True)


def publisher_of(proxy: Proxy, name: str | None) -> Publisher:
    """That of the index; ``None``: of the one at the root. Raises ``ConfigurationError``."""
    found = proxy.upload_targets.get(f"/{name}" if name else "")
    if found is None:
        problem = (
            f"no index {name} that accepts uploads is served"
            if name
            else ("no index that accepts uploads is served there")
        )
        remedy = "set uploads = true, or name another index"
        raise ConfigurationError("uploads", problem, remedy)
    return found


def with_proxy(flags: dict[str, Any], work: Callable[[Proxy], Awaitable[None]]) -> None:
    """Do work with the indexes that the settings describe, beside a server that may run."""
    config: Path | None = flags.pop("config")
    with_indexes(load_settings(flags | {"offline": True}, config).settings, work)


def with_indexes(settings: Settings, work: Callable[[Proxy], Awaitable[None]]) -> None:
    """As ``with_proxy``; upstreams are asked unless the settings are offline."""

    async def run() -> None:
        async with open_proxy(settings) as proxy:
            try:
                await work(proxy)
            except OSError as error:
                reason = error.strerror or error
                raise click.ClickException(f"the packages cannot be changed: {reason}") from error

    asyncio.run(run())
