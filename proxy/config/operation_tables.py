"""The tables of what operators watch and limit: ``[audit]``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from proxy.config.values import DAY, PositiveSeconds, Table, UserPath


class AuditTable(Table):
    """Who received, or was refused, which files."""

    folder: UserPath | None = None
    clients: Literal["full", "hashed", "none"] = "full"
    keep: Annotated[PositiveSeconds, Field(ge=DAY)] = 400 * DAY
    pages: bool = False
    lines: UserPath | None = None
    keep_lines: Annotated[PositiveSeconds, Field(ge=DAY)] = 30 * DAY
