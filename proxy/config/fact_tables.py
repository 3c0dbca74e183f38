"""The tables of policies that need facts beside the page, and ``[advisories]``."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, field_validator

from proxy import late_pattern
from proxy.config.policy_tables import (
    AllowTable,
    CooldownTable,
    DenyTable,
    FilesTable,
    PolicyTable,
    SeverityName,
    StatusTable,
)
from proxy.config.values import DAY, HOUR, PositiveSeconds, Table
from proxy.model import normalize
from proxy.policies import Condition, Look, parse_licence

_SERVICE_URL = late_pattern(r"https?://[^\s/]+", re.IGNORECASE)
OrUnknown = Literal["allow", "refuse"]


def _check_licences(value: list[str]) -> list[str]:
    for each in value:
        parse_licence(each)
    return value


LicenceNames = Annotated[list[str], AfterValidator(_check_licences)]
"""Single licences by their SPDX identifiers, each perhaps WITH an exception."""


class AdvisoriesTable(Table):
    """The source of advisories (OSV)."""

    source: Annotated[str, Field(min_length=1)]
    """A folder of JSON documents, a zip archive of them, or the http(s) address of one."""
    every: Annotated[PositiveSeconds, Field(ge=1)] = HOUR
    max_age: PositiveSeconds = 3 * DAY

    @property
    def is_url(self) -> bool:
        return bool(_SERVICE_URL.match(self.source))


class MalwareTable(PolicyTable):
    """Refuses releases that are reported as malicious."""

    default_look: ClassVar[Look] = "yank"

    kind: Literal["malware"]


class KnownFaultsTable(PolicyTable):
    """Refuses releases with known faults."""

    default_look: ClassVar[Look] = "yank"

    kind: Literal["advisories"]
    severity: SeverityName | Literal["none"] = "critical"
    unknown: OrUnknown = "allow"
    ids: list[str] = []
    ignore: list[str] = []
    only_if_fixed: bool = True


class ExpressionTable(PolicyTable):
    """Refuses the files for which a condition in CEL is true."""

    kind: Literal["expression"]
    refuse: str

    @field_validator("refuse")
    @classmethod
    def _check(cls, value: str) -> str:
        Condition(value)
        return value


class LicenceTable(PolicyTable):
    """Refuses files by their licence."""

    kind: Literal["licence"]
    allow: LicenceNames = []
    deny: LicenceNames = []
    unknown: OrUnknown = "allow"
    prefetch: bool = False


class HookTable(PolicyTable):
    """Asks a service outside about files."""

    kind: Literal["hook"]
    url: HttpUrl
    secret: SecretStr | None = None
    scope: Literal["file", "page"] = "file"
    ttl: PositiveSeconds = HOUR
    timeout: PositiveSeconds = 3.0
    on_failure: OrUnknown = "refuse"
    unknown: OrUnknown = "allow"


class ProvenanceTable(PolicyTable):
    """Refuses files without attestations, or with those of another publisher."""

    kind: Literal["provenance"]
    require: Literal["any", "unchanged", "pinned"] = "any"
    pinned: dict[str, list[str]] = {}
    unknown: OrUnknown = "refuse"

    @field_validator("pinned")
    @classmethod
    def _check_pinned(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        return {str(normalize(project)): publishers for project, publishers in value.items()}

    @property
    def look(self) -> Look:
        """Files that lack something are hidden; a changed publisher is shown to people."""
        return self.show or ("hide" if self.require == "any" else "yank")


POLICY_TABLES: dict[str, type[PolicyTable]] = {
    "deny": DenyTable,
    "allow": AllowTable,
    "files": FilesTable,
    "cooldown": CooldownTable,
    "status": StatusTable,
    "malware": MalwareTable,
    "advisories": KnownFaultsTable,
    "expression": ExpressionTable,
    "licence": LicenceTable,
    "hook": HookTable,
    "provenance": ProvenanceTable,
}
"""All kinds."""
AnyPolicyTable = Annotated[
    DenyTable
    | AllowTable
    | FilesTable
    | CooldownTable
    | StatusTable
    | MalwareTable
    | KnownFaultsTable
    | ExpressionTable
    | LicenceTable
    | HookTable
    | ProvenanceTable,
    Field(discriminator="kind"),
]
