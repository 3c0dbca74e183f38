"""Opens the audit: its database and its lines, as ``[audit]`` says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.composition.cache import cache_folder
from proxy.config import AuditTable, Settings
from proxy.errors import ConfigurationError
from proxy.events import AnswerServed, Events

if TYPE_CHECKING:
    from proxy.audit import AuditTrail


def audit_folder(settings: Settings) -> Path:
    """The folder of the databases. Raises ``ConfigurationError`` if there is no ``[audit]``."""
    if settings.audit is None:
        problem = "it is not set, so that nothing is remembered"
        raise ConfigurationError("audit", problem, "add the table [audit] to the settings file")
    if settings.audit.folder:
        return settings.audit.folder.absolute()
    return cache_folder(settings) / "audit"


@asynccontextmanager
async def open_audit(settings: Settings, events: Events) -> AsyncIterator[None]:
    """Remember answers from now on; at the end, what has arrived by then is written."""
    if settings.audit is None:
        yield
        return
    trail = _trail(audit_folder(settings), settings.audit, events)
    async with trail.running():
        events.subscribe(trail.observe, AnswerServed)
        try:
            yield
        finally:
            events.unsubscribe(trail.observe)


def _trail(folder: Path, table: AuditTable, events: Events) -> AuditTrail:
    from proxy.audit import AuditTrail, ClientNames, Database, JsonLines  # not at every start

    names = ClientNames(table.clients, folder)
    database = Database(folder, names, table.keep)
    if table.lines is None:
        return AuditTrail([database], events, pages=table.pages)
    lines = JsonLines(table.lines.absolute(), names, table.keep_lines)
    return AuditTrail([database, lines], events, pages=table.pages)
