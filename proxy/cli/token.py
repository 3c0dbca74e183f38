"""``waystation token``: tokens for machines, and for people instead of a password."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from proxy.access import (
    SharedTokens,
    Token,
    TokenStore,
    check_member,
    new_token,
    parse_grant,
    token_digest,
)
from proxy.cli.options import settings_options
from proxy.composition import open_token_store, resolve_tree, unknown_indexes
from proxy.config import Settings, age_seconds, load_settings
from proxy.errors import ConfigurationError
from proxy.runtime import parse_seconds, timestamp_text

DEFAULT_LIFE = "90d"
F = TypeVar("F", bound=Callable[..., Any])


@click.group("token")
def command() -> None:
    """Create, list, revoke and rotate tokens. Running servers obey within a second."""


def _lifetime(function: F) -> F:
    function = click.option(
        "--no-expiry", is_flag=True, help="A token that never expires: revoke it some day."
    )(function)
    return click.option(
        "--expires", metavar="TIME", help=f"Its lifetime, such as 12h. Default: {DEFAULT_LIFE}."
    )(function)


def _which(function: F) -> F:
    function = click.option("--name", help="Instead of the id: the name of a token.")(function)
    return click.argument("token_id", metavar="[ID]", required=False)(function)


@dataclass(frozen=True, slots=True)
class _Opened:
    settings: Settings
    store: TokenStore | SharedTokens
    now: float

    def valid(self, token_id: str | None, name: str | None) -> list[Token]:
        """The tokens with that name or identifier, if they are valid. Ends the command without
        any."""
        if (token_id is None) is (name is None):
            raise click.UsageError("give the id of a token, or --name and its name")
        found = [each for each in self.store.all() if (name or token_id) in (each.name, each.id)]
        found = [each for each in found if (each.name if name else each.id) == (name or token_id)]
        valid = [each for each in found if each.is_valid(self.now)]
        if not valid:
            what = "has ended already" if found else "does not exist; `waystation token list`"
            click.echo(f"the token {name or token_id} {what}", err=True)
            raise SystemExit(1)
        return valid

    def ends(self, expires: str | None, *, never: bool) -> float | None:
        """When a token created now expires. Raises ``ConfigurationError`` if that is too late."""
        if never and expires:
            raise click.UsageError("give either --expires or --no-expiry")
        if never:
            return None
        seconds = _seconds(expires or DEFAULT_LIFE, "expires")
        table = self.settings.access
        longest = table.token_max_age if table else None
        if longest and seconds > age_seconds(longest):
            problem = f"{expires} is longer than access.token_max_age, {longest}"
            raise ConfigurationError("expires", problem, "choose a shorter time")
        return self.now + seconds


@command.command("create")
@settings_options
@click.option("--name", required=True, help="The name by which logs and rights know the token.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help="What it may do: read:INDEX[:PATTERN], upload:INDEX[:PATTERN], refresh, admin, metrics, "
    "audit. Repeatable.",
)
@click.option(
    "--owner", default="", help="The person responsible for the token; a note for people."
)
@_lifetime
def create(
    name: str,
    scopes: tuple[str, ...],
    owner: str,
    expires: str | None,
    no_expiry: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Create a token and print it, once. Only a digest of it is stored."""
    try:
        check_member(f"token:{name}")
        grants = " ".join(str(parse_grant(each)) for each in scopes)
    except ValueError as error:
        raise ConfigurationError("token", str(error)) from None
    with _opened(config, flags) as opened:
        ends = opened.ends(expires, never=no_expiry)
        _add(opened, Token("", b"", name, owner, grants, 0.0, ends))


@command.command("list")
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--all", "ended", is_flag=True, help="Also tokens that have ended.")
def list_command(as_json: bool, ended: bool, config: Path | None, **flags: Any) -> None:
    """List tokens: id, name, scopes, when they end, and when they were used last."""
    with _opened(config, flags) as opened:
        found = [each for each in opened.store.all() if ended or each.is_valid(opened.now)]
    if as_json:
        values = [_public(each, opened.now) for each in found]
        click.echo(msgspec.json.format(msgspec.json.encode(values), indent=2))
        return
    for each in found:
        state = "ends" if each.is_valid(opened.now) else "ended"
        end = f"{state} {timestamp_text(each.ends)}" if each.ends else "never ends"
        used = f", used {timestamp_text(each.used)}" if each.used else ", never used"
        used = used if opened.store.notes_uses else ""
        owner = f"  ({each.owner})" if each.owner else ""
        click.echo(f"{each.id}  {each.name}  {each.scopes}  {end}{used}{owner}")


@command.command("revoke")
@settings_options
@_which
def revoke(token_id: str | None, name: str | None, config: Path | None, **flags: Any) -> None:
    """End a token now. Exit status 1 if there is no such valid token."""
    with _opened(config, flags) as opened:
        found = opened.valid(token_id, name)
        opened.store.revoke([each.id for each in found], opened.now)
    for each in found:
        click.echo(f"revoked {each.id}  {each.name}", err=True)


@command.command("rotate")
@settings_options
@_which
@click.option(
    "--grace", metavar="TIME", help="How long the old one stays valid too. Default: it ends now."
)
@_lifetime
def rotate(
    token_id: str | None,
    name: str | None,
    grace: str | None,
    expires: str | None,
    no_expiry: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Replace a token by a new one with the same name and scopes, which is printed once."""
    with _opened(config, flags) as opened:
        found = opened.valid(token_id, name)
        until = opened.now + (_seconds(grace, "grace") if grace else 0.0)
        ends = opened.ends(expires, never=no_expiry)
        successor = msgspec.structs.replace(found[-1], expires=ends, used=None, revoked=None)
        _add(opened, successor, [each.id for each in found], until)
    for each in found:
        click.echo(f"{each.id} ends {timestamp_text(until)}", err=True)


@contextmanager
def _opened(config: Path | None, flags: Any) -> Iterator[_Opened]:
    settings = load_settings(flags, config, resolve_tree).settings
    with closing(open_token_store(settings)) as store:
        yield _Opened(settings, store, time.time())


def _add(opened: _Opened, token: Token, replaced: list[str] | None = None, at: float = 0.0) -> None:
    secret = new_token()
    digest = token_digest(secret)
    token = msgspec.structs.replace(token, id=digest.hex()[:8], digest=digest, created=opened.now)
    opened.store.add(token, replaced or [], at)
    click.echo(secret)
    end = f"until {timestamp_text(token.expires)}" if token.expires else "until it is revoked"
    click.echo(f"{token.id}  {token.name} may {token.scopes} {end}", err=True)
    click.echo("Clients send it as the password, with any user name, such as __token__.", err=True)
    for remark in unknown_indexes(opened.settings, map(parse_grant, token.scopes.split())):
        click.echo(f"Check its scopes: {remark}.", err=True)
    if opened.settings.access is None:
        click.echo("The settings have no [access]: no server checks tokens yet.", err=True)


def _seconds(text: str, option: str) -> float:
    try:
        seconds = parse_seconds(text)
    except ValueError as error:
        raise ConfigurationError(option, f"{text!r} {error}") from None
    number = float(str(seconds))
    if number <= 0:
        raise ConfigurationError(option, f"{text!r} is no time from now on", "write 12h or 90d")
    return number


def _public(token: Token, now: float) -> dict[str, object]:
    values = msgspec.structs.asdict(token) | {"valid": token.is_valid(now)}
    del values["digest"]
    return values | {"scopes": token.scopes.split()}
