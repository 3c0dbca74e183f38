"""``waystation check``: validates the settings and tries what the server needs.

``serve`` uses the test of the upstreams in the background.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from proxy.cli.check_report import cached_proxy, report_on
from proxy.cli.confusion import names_by_rule, notes
from proxy.cli.options import serving_options, settings_options
from proxy.cli.probing import Attempt, upstreams
from proxy.cli.settings import as_toml, in_force
from proxy.composition import (
    DefaultDirectory,
    IndexTree,
    Proxy,
    access_remarks,
    advisories_now,
    describe,
    described_addresses,
    package_attempts,
    password_problems,
    peer_attempts,
    policy_remarks,
    publisher_remarks,
    resolve_tree,
    storage_remarks,
    store_problem,
    upload_remarks,
    webhook_attempts,
)
from proxy.config import (
    LocalTable,
    Settings,
    cache_folder,
    load_settings,
)
from proxy.distributions import UnusableArchive, list_zip_members
from proxy.errors import ConfigurationError, ProxyError, mask_credentials, reason
from proxy.indexes import is_zip
from proxy.storage import private_folder, require_local


@click.command("check")
@settings_options
@serving_options
@click.option("--toml", is_flag=True, help="Print the values in force as a settings file.")
@click.option("--json", "as_json", is_flag=True, help="Print indexes and policies in JSON.")
@click.option("--no-network", is_flag=True, help="Do not try the port and the upstreams.")
def command(config: Path | None, toml: bool, as_json: bool, no_network: bool, **flags: Any) -> None:
    """Validate the settings, show all values, and try what a server needs.

    Shows the order of the indexes, each setting with the source of its value, policies that no
    index has, and exemptions that have ended. Tries the cache folder, the private directories,
    the port and the upstreams. With --json also how many cached files each policy would refuse
    now. Exit status 2 if a setting is wrong, 1 if something that was tried failed.
    """
    loaded = load_settings(flags, config, resolve_tree)
    if toml:
        click.echo("\n".join(as_toml(loaded.settings)))
        return
    if as_json:
        report = asyncio.run(_report(loaded.settings, network=not no_network))
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
        raise SystemExit(int(any(each["problem"] for each in report["tried"])))
    tree = resolve_tree(loaded.settings)
    click.echo("Indexes, in the order of resolution:")
    for line in describe(tree):
        click.echo(f"  {line}")
    if addresses := described_addresses(tree):
        click.echo(f"  {addresses}")
    click.echo("\nSettings:")
    for name, value in in_force(loaded.settings).items():
        click.echo(f"  {name} = {_shown(value)}  ({loaded.origins.get(name, 'default')})")
    for title, lines in asyncio.run(_remarks(loaded.settings)).items():
        _echo(title, lines)
    if not asyncio.run(_try_all(loaded.settings, network=not no_network)):
        raise SystemExit(1)


def _echo(title: str, lines: list[str]) -> None:
    """A section of the output; none without lines."""
    if lines:
        click.echo(f"\n{title}:")
        for line in lines:
            click.echo(f"  {line}")


async def _remarks(settings: Settings) -> dict[str, list[str]]:
    async with cached_proxy(settings) as proxy:
        return await _remarks_on(settings, proxy)


async def _remarks_on(settings: Settings, proxy: Proxy | None) -> dict[str, list[str]]:
    """Remarks for the operator, by the title of their section."""
    return {
        "Rules": list(policy_remarks(settings, time.time())),
        "Storage": list(storage_remarks(settings)),
        "Access": [*access_remarks(settings), *upload_remarks(settings)],
        "Trusted publishers": list(publisher_remarks(settings)),
        "Names": await _names(settings, proxy) if proxy else [],
    }


async def _names(settings: Settings, proxy: Proxy) -> list[str]:
    """Findings about names that exist twice, from the cache alone."""
    try:
        return [*await notes(settings, proxy), *await names_by_rule(proxy)]
    except ProxyError:  # what is tried next says why
        return []


async def _report(settings: Settings, *, network: bool) -> dict[str, Any]:
    """All of it in values that JSON has."""
    async with cached_proxy(settings) as proxy:
        found = msgspec.to_builtins(await report_on(settings, proxy))
        found["remarks"] = await _remarks_on(settings, proxy)
    found["tried"] = [each._asdict() async for each in attempts(settings, network=network)]
    return dict(found)


async def _try_all(settings: Settings, *, network: bool) -> bool:
    """Try everything and print the results; whether all succeeded."""
    succeeded = True
    click.echo("\nTried:")
    async for what, problem in attempts(settings, network=network):
        click.echo(f"  {what}: {problem or 'ok'}")
        succeeded = succeeded and problem is None
    if not network:
        click.echo("  port and upstreams: not tried (--no-network)")
    elif settings.offline:
        click.echo("  upstreams: not tried (offline)")
    return succeeded


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return "unset" if value is None else str(value) or '""'


async def attempts(settings: Settings, *, network: bool) -> AsyncIterator[Attempt]:
    """Try what a server needs; without ``network`` neither the port nor the upstreams."""
    tree = resolve_tree(settings)
    yield Attempt(f"cache {cache_folder(settings)}", _cache(cache_folder(settings)))
    for attempt in _directories(tree):
        yield attempt
    if settings.access and (users := settings.access.htpasswd):
        yield Attempt(f"htpasswd {users}", "; ".join(password_problems(users)) or None)
    if table := settings.advisories:
        what, problem = advisories_now(table, cache_folder(settings), time.time())
        yield Attempt(what, problem)
    for what, problem in webhook_attempts(settings):
        yield Attempt(what, problem)
    if network:
        async for attempt in _over_network(settings, tree):
            yield attempt


async def _over_network(settings: Settings, tree: IndexTree) -> AsyncIterator[Attempt]:
    if settings.storage and settings.storage.files:
        yield Attempt(f"files {settings.storage.files}", await store_problem(settings))
    if settings.storage and (url := settings.storage.records):
        from proxy.scale import redis_problem

        yield Attempt(f"records {mask_credentials(url)}", await redis_problem(url))
    async for what, problem in package_attempts((leaf.name, leaf.table) for leaf in tree.leaves):
        yield Attempt(what, problem)
    yield Attempt(f"port {settings.host}:{settings.port}", _port(settings))
    async for attempt in upstreams(settings, tree):
        yield attempt
    async for what, problem in peer_attempts(settings, tree):
        yield Attempt(what, problem)


def _cache(folder: Path) -> str | None:
    """The problem with the cache folder. Nothing is created: its nearest existing parent counts."""
    existing = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not existing.is_dir():
        return f"{existing} is not a folder"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} cannot be written" + ("; nothing new is cached" * (existing == folder))
    try:
        if (folder / "records").is_dir():
            private_folder(folder / "records")
        require_local(existing)
    except ConfigurationError as error:
        return error.problem
    except OSError as error:
        return reason(error)
    return None


def _directories(tree: IndexTree) -> Iterator[Attempt]:
    for each in tree.leaves:
        if isinstance(each.table, DefaultDirectory) and each.table.is_missing():
            yield Attempt(f"directory {each.table.roots[0]} (does not exist yet)", None)
        elif isinstance(each.table, LocalTable):
            yield from map(_directory, each.table.roots)


def _directory(root: Path) -> Attempt:
    kind = "archive" if is_zip(root) else "directory"
    try:
        found = list_zip_members(root) if is_zip(root) else os.listdir(root)  # noqa: PTH208 (large)
    except OSError as error:
        return Attempt(f"{kind} {root}", f"cannot be read: {reason(error)}")
    except UnusableArchive as error:
        return Attempt(f"{kind} {root}", f"cannot be read: {error.reason}")
    entries = "1 entry" if len(found) == 1 else f"{len(found)} entries"
    return Attempt(f"{kind} {root} ({entries})", None)


def _port(settings: Settings) -> str | None:
    try:
        given = socket.getaddrinfo(settings.host or None, settings.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = given[0]
        with closing(socket.socket(family, socket.SOCK_STREAM)) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
            tried.listen(1)
    except OSError as error:
        return reason(error)
    return None
