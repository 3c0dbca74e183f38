"""The settings of one upstream that its table may set, and inherits if not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ByteSize

from proxy.config.values import (
    Count,
    OnChangedFile,
    PeerUrl,
    PlainHttpUrl,
    PositiveSeconds,
    Retries,
    Seconds,
    Speculation,
    Table,
    UserPath,
    VanishedFiles,
)


class UpstreamSettings(Table):
    """Each is a setting of the same name, which is in force where the table has none."""

    page_ttl: Seconds | None = None
    page_ttl_min: Seconds | None = None
    honour_no_store: bool | None = None
    absence_ttl: Seconds | None = None
    stale_while_revalidate: Seconds | None = None
    stale_if_error: Seconds | None = None
    soft_deadline: PositiveSeconds | None = None
    on_changed_file: OnChangedFile | None = None
    vanished_files: VanishedFiles | None = None
    netrc: bool | None = None
    outgoing_proxy: PlainHttpUrl | None = None
    ca_bundle: UserPath | None = None
    client_certificate: UserPath | None = None
    client_key: UserPath | None = None
    connect_timeout: PositiveSeconds | None = None
    read_timeout: PositiveSeconds | None = None
    page_timeout: PositiveSeconds | None = None
    retries: Retries | None = None
    upstream_connections: Count | None = None
    peers: list[PeerUrl] | None = None
    peer_timeout: PositiveSeconds | None = None
    speculate: Speculation | None = None
    list_upstream: bool | None = None
    max_file_size: ByteSize | None = None
    max_page_size: ByteSize | None = None

    @property
    def upstream_settings(self) -> Mapping[str, Any]:
        """Those that the table sets."""
        given = {name: getattr(self, name) for name in UpstreamSettings.model_fields}
        return {name: value for name, value in given.items() if value is not None}
