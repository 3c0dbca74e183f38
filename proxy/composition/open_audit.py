"""Opens the audit: its database and its lines, as ``[audit]`` says.

```text
<folder>/audit-<n>.db        who received what, one row for each day, file and requester
<folder>/audit-<n>.lock      locked by the process that writes this database
<folder>/hash-key-<month>    with clients = "hashed": the key of this month
<lines>/audit-<n>.jsonl      one line for each answer; locked by the process that writes it
<lines>/audit-<n>.*.jsonl.gz complete files of lines
```

The number is that of a place, which a process takes when it writes first: a restarted worker
continues the files of its predecessor. Commands read all databases, also while servers write.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.config import Settings, audit_folder
from proxy.errors import ConfigurationError, reason
from proxy.events import AnswerServed, Events

if TYPE_CHECKING:
    from proxy.audit import AuditTrail
    from proxy.config import AuditTable


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

    _require("audit.folder", folder)
    names = ClientNames(table.clients, folder)
    database = Database(folder, names, table.keep)
    if table.lines is None:
        return AuditTrail([database], events, pages=table.pages)
    _require("audit.lines", table.lines)
    lines = JsonLines(table.lines.absolute(), names, table.keep_lines)
    return AuditTrail([database, lines], events, pages=table.pages)


def _require(key: str, folder: Path) -> None:
    """Create the folder if it is missing: an error now is better than one with each answer.

    Raises ``ConfigurationError`` if it cannot be created or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{folder} cannot be created: {reason(error)}"
        raise ConfigurationError(key, problem, "name another folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        problem = f"{folder} cannot be written"
        raise ConfigurationError(key, problem, "let the user of the proxy write it")
