"""Composes the administration of a server: its current settings, and how it reloads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from proxy.administration import ServerAdministration
from proxy.cli.reloading import RELOADED, Reloader, SettingsSource
from proxy.cli.running_server import running_servers
from proxy.cli.settings import in_force
from proxy.cli.worker_process import WorkerPlace
from proxy.composition import Proxy
from proxy.config import Settings
from proxy.errors import ConfigurationError

if TYPE_CHECKING:
    from proxy.audit import Found

MAX_ANSWERS = 20_000
"""Of the audit, in one response."""


def server_administration(
    settings: Settings,
    source: SettingsSource,
    proxy: Proxy,
    reloader: Callable[[], Reloader],
    place: WorkerPlace | None,
) -> ServerAdministration:
    """``settings``: those with which the server has started. ``place``: that of a worker."""

    def shown() -> Mapping[str, Any]:
        return effective_settings(settings, reloader().settings, source.origins)

    async def reload() -> tuple[str, ...]:
        if place is None:
            return await reloader().reload()
        return await asyncio.to_thread(reload_supervisor, proxy.cache.folder)

    return ServerAdministration(
        proxy,
        group=os.getppid() if place else os.getpid(),
        settings=shown,
        reload=reload,
        reload_failed=lambda: reloader().failed,
        search_audit=lambda query: search_audit(settings, query),
    )


def search_audit(settings: Settings, query: Mapping[str, Any]) -> list[Found]:
    """Answers to a query in the form of ``AuditQuery``. Blocks.

    Raises ``ConfigurationError`` for one that is wrong, or has too many answers.
    """
    from proxy.audit import AuditQuery  # most servers are never asked
    from proxy.cli.audit import find_here

    try:
        asked = msgspec.convert(query, AuditQuery)
    except msgspec.ValidationError as error:
        raise ConfigurationError("audit", f"the query is wrong: {error}") from None
    found = list(islice(find_here(settings, asked), MAX_ANSWERS + 1))
    if len(found) > MAX_ANSWERS:
        problem = f"there are more than {MAX_ANSWERS} answers"
        raise ConfigurationError("audit", problem, "ask for one project, or for a shorter time")
    return found


def effective_settings(
    started: Settings, reloaded: Settings, origins: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Every setting with its value and origin, without secrets. Those that take effect with a
    restart have the value of the start."""
    values = in_force(started)
    values |= {name: value for name, value in in_force(reloaded).items() if name in RELOADED}
    return {
        name: {"value": value, "origin": origins.get(name, "default")}
        for name, value in values.items()
    }


def reload_supervisor(cache_folder: Path) -> tuple[str, ...]:
    """Let all workers reload; return what needs a restart. Raises ``ConfigurationError``."""
    from proxy.cli.reload import reload_server  # for commands, with what these need besides

    found = [each for each in running_servers(cache_folder) if each.pid == os.getppid()]
    if not found:
        problem = "the server cannot write to its cache folder, so it cannot be asked"
        raise ConfigurationError("reload", problem, "send SIGHUP to its first process")
    return reload_server(cache_folder, found[0]).notes
