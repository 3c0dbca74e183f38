"""Makes rules from their tables: one function for each kind. Most servers have no policies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from packaging.specifiers import SpecifierSet

from proxy.advisories import BANDS
from proxy.composition.policies import Knowledge
from proxy.config import (
    AllowTable,
    CooldownTable,
    DenyTable,
    ExemptTable,
    ExpressionTable,
    FilesTable,
    HookTable,
    KnownFaultsTable,
    LicenceTable,
    MalwareTable,
    PolicyTable,
    ProvenanceTable,
    StatusTable,
    age_seconds,
)
from proxy.model import ProjectName, normalize
from proxy.policies import (
    Allow,
    Condition,
    ConfiguredPolicy,
    Cooldown,
    CooldownWithFixes,
    Criteria,
    Decided,
    Deny,
    Exemption,
    Expression,
    Files,
    FixCriteria,
    KnownFaults,
    Licences,
    Malware,
    Policy,
    Provenance,
    Rule,
    Status,
    matcher,
    parse_digest,
)


def _nothing_known(project: ProjectName) -> Callable[[str], None]:
    return lambda digest: None


BuildRule = Callable[[Any, Knowledge], Rule]


def _deny(table: DenyTable, knowledge: Knowledge) -> Rule:
    return Deny(_criteria(table))


def _allow(table: AllowTable, knowledge: Knowledge) -> Rule:
    return Allow(_criteria(table))


def _files(table: FilesTable, knowledge: Knowledge) -> Rule:
    return Files(
        sdists=table.sdists,
        prereleases=table.prereleases,
        legacy=table.legacy,
        platforms=table.platforms,
        pythons=table.pythons,
        max_size=table.max_size,
        latest=table.latest,
    )


def _cooldown(table: CooldownTable, knowledge: Knowledge) -> Rule:
    age = age_seconds(table.age)
    cooldown = Cooldown(
        age, age_seconds(table.batch), table.unknown, spares_locked=table.locked == "allow"
    )
    if not table.security_fixes:
        return cooldown
    criteria = FixCriteria(
        BANDS[table.fix_severity],
        frozenset(table.fix_sources),
        table.fix_loose,
        table.fix_min_age,
    )
    return CooldownWithFixes(cooldown, age, knowledge.about, criteria)


def _status(table: StatusTable, knowledge: Knowledge) -> Rule:
    return Status(table.refuse)


def _malware(table: MalwareTable, knowledge: Knowledge) -> Rule:
    return Malware(knowledge.about)


def _known_faults(table: KnownFaultsTable, knowledge: Knowledge) -> Rule:
    return KnownFaults(
        knowledge.about,
        lowest=BANDS.get(table.severity),
        refuses_unknown=table.unknown == "refuse",
        refused=table.ids,
        ignored=table.ignore,
        only_if_fixed=table.only_if_fixed,
    )


def _expression(table: ExpressionTable, knowledge: Knowledge) -> Rule:
    condition, licences = Condition(table.refuse), knowledge.licences
    if licences is None or not condition.needs_licences:
        return Expression(condition, knowledge.about)
    licences.watch(lambda licence: True)
    return Expression(condition, knowledge.about, licences.licences_of, licences)


def _licence(table: LicenceTable, knowledge: Knowledge) -> Rule:
    facts = knowledge.licences
    rule = Licences(
        facts.licences_of if facts else _nothing_known,
        facts,
        allowed=table.allow,
        denied=table.deny,
        refuses_unknown=table.unknown == "refuse",
    )
    if facts:
        facts.watch(rule.is_decisive)
        facts.prefetches = facts.prefetches or table.prefetch
    return rule


def _hook(table: HookTable, knowledge: Knowledge) -> Rule:
    facts = knowledge.decisions(table) if knowledge.decisions else None
    rule = Decided(
        facts.decisions_of if facts else _nothing_known,
        facts,
        refuses_unknown=table.unknown == "refuse",
        refuses_undecided=table.scope == "page" and table.unknown == "refuse",
    )
    if facts:
        facts.refuses = rule.refuses
    return rule


def _provenance(table: ProvenanceTable, knowledge: Knowledge) -> Rule:
    facts = knowledge.provenance
    if facts and table.require == "unchanged":
        facts.compares = True
    return Provenance(
        facts.proofs_of if facts else _nothing_known,
        facts,
        require=table.require,
        pinned={normalize(project): publishers for project, publishers in table.pinned.items()},
        refuses_unknown=table.unknown == "refuse",
    )


RULES: Mapping[str, BuildRule] = {
    "deny": _deny,
    "allow": _allow,
    "files": _files,
    "cooldown": _cooldown,
    "status": _status,
    "malware": _malware,
    "advisories": _known_faults,
    "expression": _expression,
    "licence": _licence,
    "hook": _hook,
    "provenance": _provenance,
}
"""By the kind of the table."""

LISTS = (DenyTable, AllowTable)
"""Their ``projects`` are entries of the list, and not the projects that the policy applies to."""


def build_policy(
    name: str, table: Any, exempt: Iterable[ExemptTable], knowledge: Knowledge
) -> Policy:
    """The policy that a table describes, with the exemptions that name it."""
    assert isinstance(table, PolicyTable)
    kind: str = table.kind  # type: ignore[attr-defined]  # every subclass has one
    return ConfiguredPolicy(
        name,
        kind,
        RULES[kind](table, knowledge),
        mode=table.mode,
        show=table.look,
        projects=["*"] if isinstance(table, LISTS) else table.projects,
        except_projects=table.except_projects,
        note=table.reason,
        exemptions=[_exemption(row) for row in exempt if name in row.policy],
        clock=knowledge.clock,
    )


def _criteria(table: DenyTable | AllowTable) -> Criteria:
    return Criteria(table.projects, table.versions, table.filenames, table.digests)


def _exemption(row: ExemptTable) -> Exemption:
    return Exemption(
        row.reason,
        matcher([row.project]) if row.project else None,
        SpecifierSet(row.version) if row.version else None,
        parse_digest(row.digest) if row.digest else None,
        row.until.timestamp() if row.until else None,
    )
