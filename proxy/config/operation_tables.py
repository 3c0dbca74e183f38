"""The tables of what operators watch and limit: ``[audit]``, ``[limits]``, ``[traces]``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, HttpUrl

from proxy.config.access_table import Network
from proxy.config.values import DAY, Count, PositiveSeconds, Table, UserPath


class AuditTable(Table):
    """Who received, or was refused, which files."""

    folder: UserPath | None = None
    clients: Literal["full", "hashed", "none"] = "full"
    keep: Annotated[PositiveSeconds, Field(ge=DAY)] = 400 * DAY
    pages: bool = False
    lines: UserPath | None = None
    keep_lines: Annotated[PositiveSeconds, Field(ge=DAY)] = 30 * DAY


class LimitsTable(Table):
    """Of one client: how often, and how many at once, upstreams are asked, and files uploaded."""

    misses_per_minute: Count | None = None
    concurrent_misses: Count | None = None
    uploads_per_minute: Count | None = None
    concurrent_uploads: Count | None = None
    exempt: list[Network] = []
    """Addresses that are not limited; proxies in front that ``[access.proxy]`` names are not."""


class TracesTable(Table):
    """Spans of requests for a collector (OpenTelemetry)."""

    endpoint: HttpUrl
    """The address of the collector, without ``/v1/traces``."""
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share of traces that are recorded."""
