"""The settings as pydantic models: types, defaults and checks of single values.

``settings.example.toml`` explains every setting; ``proxy.config.loading`` reads the sources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    ByteSize,
    Field,
    HttpUrl,
    SecretStr,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    ForceDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from proxy.config.index_base import IndexTableBase
from proxy.config.index_tables import IndexTable, UpstreamTable
from proxy.config.storage_table import StorageTable
from proxy.config.upstream_settings import UpstreamSettings
from proxy.config.values import (
    DAY,
    Age,
    BuiltLate,
    ClientErrorStatus,
    Count,
    OnChangedFile,
    PeerUrl,
    PlainHttpUrl,
    PositiveSeconds,
    Retries,
    Seconds,
    Speculation,
    UserPath,
    VanishedFiles,
    late_type,
)
from proxy.policies import Reserved

if TYPE_CHECKING:
    from proxy.config.access_table import AccessTable
    from proxy.config.fact_tables import AdvisoriesTable, AnyPolicyTable
    from proxy.config.keep_table import KeepTable
    from proxy.config.operation_tables import AuditTable, LimitsTable, TracesTable, WebhookTable
    from proxy.config.policy_tables import ExemptTable
else:  # most settings have none of these tables, and their models take long to make
    AccessTable = late_type("access_table", "AccessTable")
    AdvisoriesTable = late_type("fact_tables", "AdvisoriesTable")
    AnyPolicyTable = late_type("fact_tables", "AnyPolicyTable")
    KeepTable = late_type("keep_table", "KeepTable")
    AuditTable = late_type("operation_tables", "AuditTable")
    LimitsTable = late_type("operation_tables", "LimitsTable")
    TracesTable = late_type("operation_tables", "TracesTable")
    WebhookTable = late_type("operation_tables", "WebhookTable")
    ExemptTable = late_type("policy_tables", "ExemptTable")

VARIABLE_PREFIX = "WAYSTATION_"
"""Begins the names of environment variables that are settings."""
SHORT_COOLDOWN = "cooldown"
"""The name of the policy that the short form ``cooldown = "3d"`` means."""

T = TypeVar("T")
Tables = Annotated[T, ForceDecode, BuiltLate()]
"""One or more tables, which variables of the environment give as JSON."""


class Settings(BaseSettings):
    """All settings. ``Settings(...)`` reads nothing but its arguments: see ``load_settings``."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        defer_build=True,
        env_prefix=VARIABLE_PREFIX,
        env_ignore_empty=True,
        validate_default=False,  # it would build the validators of all tables; a test does it
        enable_decoding=False,  # lists in variables have commas; only ForceDecode fields are JSON
    )

    # The address of the server
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    prefix: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    public_url: HttpUrl | None = None
    workers: Count | Literal["auto"] = 1
    tls_certificate: UserPath | None = None
    tls_key: UserPath | None = None

    # The served indexes: the short form
    packages: UserPath | None = None
    uploads: bool = False
    legacy_files: bool = False
    watch: bool = True
    reserved: list[str] = []
    cooldown: Age | None = None
    upstream: HttpUrl | None = None
    upstream_username: str | None = None
    upstream_password: SecretStr | None = None
    upstream_missing_statuses: list[ClientErrorStatus] = [404, 410]
    file_hosts: list[str] = []
    # The served indexes: named indexes
    indexes: Tables[dict[str, IndexTable]] = {}
    index: str = "main"

    # Which files may pass
    policies: Tables[dict[str, AnyPolicyTable]] = {}
    exempt: Tables[list[ExemptTable]] = []
    advisories: Tables[AdvisoriesTable | None] = None
    provenance_root: UserPath | None = None
    help: str = ""

    # Access
    access: Tables[AccessTable | None] = None

    # The cache
    cache_dir: UserPath | None = None
    max_size: ByteSize = ByteSize(20 * 10**9)
    max_age: PositiveSeconds | None = None
    max_unused: PositiveSeconds | None = None
    page_ttl: Seconds = 600.0
    page_ttl_min: Seconds = 0.0
    honour_no_store: bool = False
    absence_ttl: Seconds = 30.0
    stale_while_revalidate: Seconds = 600.0
    stale_if_error: Seconds = 7 * DAY
    soft_deadline: PositiveSeconds = 3.0
    on_changed_file: OnChangedFile = "refuse"
    vanished_files: VanishedFiles = "hide"
    storage: Tables[StorageTable | None] = None

    # The cache
    keep: Tables[list[KeepTable]] = []
    change_lists: UserPath | None = None

    # Without a network
    offline: bool = False
    offline_list_all: bool = False
    trusted_keys: list[UserPath] = []

    # Connections to upstream
    netrc: bool = True
    outgoing_proxy: PlainHttpUrl | None = None
    ca_bundle: UserPath | None = None
    client_certificate: UserPath | None = None
    client_key: UserPath | None = None
    connect_timeout: PositiveSeconds = 10.0
    read_timeout: PositiveSeconds = 60.0
    page_timeout: PositiveSeconds = 30.0
    retries: Retries = 2
    upstream_connections: Count = 64
    peers: list[PeerUrl] = []
    peer_timeout: PositiveSeconds = 1.0
    speculate: Speculation = "files"
    list_upstream: bool = False
    max_file_size: ByteSize = ByteSize(5 * 2**30)
    max_page_size: ByteSize = ByteSize(64 * 2**20)

    # Clients
    web: bool = True
    client_refresh: Literal["never", "no-cache", "always"] = "no-cache"
    max_connections: Count = 1000
    keepalive_timeout: PositiveSeconds = 75.0
    write_timeout: PositiveSeconds = 60.0
    drain_delay: Seconds = 0.0
    shutdown_grace: Seconds = 60.0
    limits: Tables[LimitsTable | None] = None

    # Audit
    audit: Tables[AuditTable | None] = None
    traces: Tables[TracesTable | None] = None
    webhooks: Tables[dict[str, WebhookTable]] = {}

    # Logs
    log_format: Literal["plain", "json"] = "plain"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    access_log: bool = True

    @field_validator(
        *("reserved", "file_hosts", "upstream_missing_statuses", "trusted_keys", "peers"),
        mode="before",
    )
    @classmethod
    def _split_list(cls, value: object) -> object:
        """Variables and flags give lists as text, separated by commas or spaces."""
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("reserved")
    @classmethod
    def _check_reserved(cls, value: list[str]) -> list[str]:
        Reserved(value)
        return value

    @property
    def all_policies(self) -> dict[str, AnyPolicyTable]:
        """The tables of policies by name, with the one that the short form means."""
        if self.cooldown is None:
            return self.policies
        from proxy.config.policy_tables import CooldownTable

        return {SHORT_COOLDOWN: CooldownTable(kind="cooldown", age=self.cooldown), **self.policies}

    def of_index(self, table: IndexTableBase) -> Settings:
        """The settings that are in force for an index: its table sets some, and inherits the rest.

        Raises nothing: the values of a table are checked already.
        """
        return self.model_copy(update=table.upstream_settings) if table.upstream_settings else self

    def everywhere(self, **values: Any) -> Settings:
        """These settings with other values for some, which no table of an index overrides."""
        cleared = dict.fromkeys(values.keys() & UpstreamSettings.model_fields.keys())
        indexes = {
            name: table.model_copy(update=cleared) if isinstance(table, UpstreamTable) else table
            for name, table in self.indexes.items()
        }
        return self.model_copy(update={**values, "indexes": indexes})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only arguments: ``load_settings`` reads each other source by itself.

        It has to know the source of each value, and report the errors of all sources at once.
        """
        return (init_settings,)
