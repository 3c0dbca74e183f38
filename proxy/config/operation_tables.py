"""The tables of what operators watch, limit and are notified of: ``[audit]`` and the like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, HttpUrl, SecretStr, field_validator

from proxy.config.access_table import Network
from proxy.config.values import DAY, Count, PositiveSeconds, Table, UserPath


class AuditTable(Table):
    """The table ``[audit]``: which files clients received, or were refused."""

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


SHORTEST_SECRET = 16
"""Characters."""


class WebhookTable(Table):
    """A receiver of the changes of local indexes."""

    url: HttpUrl
    secret: SecretStr
    """The key of the signatures, which the receiver has too."""
    indexes: list[str] = []
    """Empty: all that take uploads."""
    actions: list[str] = []
    """Empty: all."""
    timeout: PositiveSeconds = 10.0
    """Of a request with its answer."""

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(f"has fewer than {SHORTEST_SECRET} characters")
        return value
