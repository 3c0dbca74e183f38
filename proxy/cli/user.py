"""``waystation user``: the users of the htpasswd file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy.access import hash_password, remove_user, set_password
from proxy.cli.options import settings_options
from proxy.composition import resolve_tree
from proxy.config import load_settings
from proxy.errors import ConfigurationError

MAX_PASSWORD = 1000
"""Characters."""
F = TypeVar("F", bound=Callable[..., Any])


@click.group("user")
def command() -> None:
    """Add, change and remove users of the htpasswd file. Running servers obey within a second."""


def _options(function: F) -> F:
    function = click.argument("name")(function)
    file = click.option(
        "--file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The htpasswd file. Default: the one that the settings name.",
    )
    return settings_options(file(function))


_given = click.option("--stdin", is_flag=True, help="Read the password from standard input.")


@command.command("add")
@_options
@_given
def add(name: str, file: Path | None, stdin: bool, config: Path | None, **flags: Any) -> None:
    """Add a user, with a password that is asked for. The file is created if it is missing."""
    path = _path(file, config, flags)
    set_password(path, name, hash_password(_password(stdin=stdin)), new=True)
    click.echo(f"{path} has the user {name} now", err=True)


@command.command("passwd")
@_options
@_given
def passwd(name: str, file: Path | None, stdin: bool, config: Path | None, **flags: Any) -> None:
    """Change the password of a user."""
    path = _path(file, config, flags)
    set_password(path, name, hash_password(_password(stdin=stdin)), new=False)
    click.echo(f"the password of {name} is changed", err=True)


@command.command("remove")
@_options
def remove(name: str, file: Path | None, config: Path | None, **flags: Any) -> None:
    """Remove a user, who cannot log in any more within a second."""
    path = _path(file, config, flags)
    remove_user(path, name)
    click.echo(f"{path} has no user {name} any more", err=True)


def _path(file: Path | None, config: Path | None, flags: Any) -> Path:
    if file:
        return file
    table = load_settings(flags, config, resolve_tree).settings.access
    if table is None or table.htpasswd is None:
        problem = "the settings name no htpasswd file"
        raise ConfigurationError("access.htpasswd", problem, "set it, or give --file")
    return table.htpasswd


def _password(*, stdin: bool) -> str:
    """Raises ``ConfigurationError`` for an empty one."""
    if stdin:
        password = sys.stdin.readline(MAX_PASSWORD + 2).rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if not password or len(password) > MAX_PASSWORD:
        problem = f"it has to have 1 to {MAX_PASSWORD} characters"
        raise ConfigurationError("password", problem)
    return password
