"""Settings: their types, and how they are loaded from file, environment and command line.

``load_settings`` merges the sources and reports all errors at once, in plain words. Other packages
take a ``Settings`` value only where things are composed.
"""

from typing import TYPE_CHECKING

from proxy import late_names
from proxy.config.folders import audit_folder, cache_folder
from proxy.config.index_tables import (
    FallthroughTable,
    IndexTable,
    LocalTable,
    MirrorTable,
    ReleasesTable,
    UpstreamTable,
)
from proxy.config.loading import TOKEN_VARIABLE, config_file, load_settings
from proxy.config.routed_table import DENY, RESERVED, PageTarget, RoutedTable, RuleTable
from proxy.config.settings import SHORT_COOLDOWN, Settings
from proxy.config.storage_table import StorageTable
from proxy.config.upstream_settings import UpstreamSettings
from proxy.config.values import age_seconds, parse_instant

if TYPE_CHECKING:
    from proxy.config.access_table import AccessTable, LdapTable, OidcRuleTable, OidcTable
    from proxy.config.fact_tables import (
        AdvisoriesTable,
        ExpressionTable,
        HookTable,
        KnownFaultsTable,
        LicenceTable,
        MalwareTable,
        ProvenanceTable,
    )
    from proxy.config.keep_table import KeepTable
    from proxy.config.operation_tables import AuditTable, LimitsTable, WebhookTable
    from proxy.config.policy_tables import (
        AllowTable,
        CooldownTable,
        DenyTable,
        ExemptTable,
        FilesTable,
        PolicyTable,
        StatusTable,
    )
else:  # models that most settings do not need: making them takes 25 ms of CPU
    __getattr__ = late_names(
        __name__, "access_table", "policy_tables", "fact_tables", "keep_table", "operation_tables"
    )

__all__ = [
    "DENY",
    "RESERVED",
    "SHORT_COOLDOWN",
    "TOKEN_VARIABLE",
    "AccessTable",
    "AdvisoriesTable",
    "AllowTable",
    "AuditTable",
    "CooldownTable",
    "DenyTable",
    "ExemptTable",
    "ExpressionTable",
    "FallthroughTable",
    "FilesTable",
    "HookTable",
    "IndexTable",
    "KeepTable",
    "KnownFaultsTable",
    "LdapTable",
    "LicenceTable",
    "LimitsTable",
    "LocalTable",
    "MalwareTable",
    "MirrorTable",
    "OidcRuleTable",
    "OidcTable",
    "PageTarget",
    "PolicyTable",
    "ProvenanceTable",
    "ReleasesTable",
    "RoutedTable",
    "RuleTable",
    "Settings",
    "StatusTable",
    "StorageTable",
    "UpstreamSettings",
    "UpstreamTable",
    "WebhookTable",
    "age_seconds",
    "audit_folder",
    "cache_folder",
    "config_file",
    "load_settings",
    "parse_instant",
]
