"""Builds the policies that an index names from their tables: one line for each kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packaging.specifiers import SpecifierSet

from proxy.advisories import BANDS
from proxy.composition.index_tree import AS_OF, resolve_tree
from proxy.config import (
    AllowTable,
    CooldownTable,
    DenyTable,
    ExemptTable,
    ExpressionTable,
    FilesTable,
    HookTable,
    IndexTable,
    KnownFaultsTable,
    LicenceTable,
    MalwareTable,
    PolicyTable,
    ProvenanceTable,
    RoutedTable,
    Settings,
    StatusTable,
    age_seconds,
)
from proxy.events import Observer, PageChanged
from proxy.indexes import Guarded, Index, Routed
from proxy.model import ProjectName, normalize
from proxy.policies import (
    About,
    Allow,
    AsOf,
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
    ParsedPages,
    Policy,
    Provenance,
    Rule,
    Status,
    matcher,
    parse_digest,
)

if TYPE_CHECKING:
    from proxy.facts import DecisionFacts, LicenceFacts, ProvenanceFacts


class Epoch:
    """A number that grows with each new fact of the policies."""

    def __init__(
        self, events: Observer, announce: Callable[[ProjectName], None] = lambda project: None
    ) -> None:
        """``announce`` is called with each project about which this process has learnt a fact."""
        self._events = events
        self._announce = announce
        self._number = 0
        self.listeners: list[Callable[[ProjectName], None]] = []
        """Called with each project about which another process has learnt a fact."""

    def __call__(self) -> int:
        return self._number

    def grow(self, projects: Iterable[ProjectName] | None = None) -> None:
        """The facts about these projects have changed; None: about all projects."""
        self._number += 1
        for project in [None] if projects is None else projects:
            self._events(PageChanged(project))
            if project:
                self._announce(project)

    def hear(self, project: ProjectName) -> None:
        """Another process has learnt a fact about the project."""
        for listener in self.listeners:
            listener(project)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Facts for rules, beside the page. Rules do no I/O: tasks collect the facts."""

    epoch: Epoch
    clock: Callable[[], float] = time.time
    about: About = lambda project: ()
    """The advisories about a project."""
    licences: LicenceFacts | None = None
    decisions: Callable[[HookTable], DecisionFacts] | None = None
    provenance: ProvenanceFacts | None = None
    parsed_pages: ParsedPages = field(default_factory=ParsedPages)


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

BUILT_IN_RULES = (AS_OF, "vanished", "quarantined")
"""Rules that are settings of an index, or of a standard, and have no table."""
LISTS = (DenyTable, AllowTable)
"""Their ``projects`` are entries of the list, and not the projects that the policy applies to."""


def build_policies(index: IndexTable, settings: Settings, knowledge: Knowledge) -> list[Policy]:
    """The policies of an index, in the order in which it names them."""
    tables = settings.all_policies
    instant = [as_of(index.as_of.timestamp())] if index.as_of else []
    named = dict.fromkeys(index.policies)
    return instant + [
        build_policy(name, tables[name], settings.exempt, knowledge) for name in named
    ]


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


def as_of(instant: float) -> Policy:
    """The policy of what was uploaded before an instant, a Unix time in seconds."""
    return ConfiguredPolicy(AS_OF, AS_OF, AsOf(instant), mode="enforce", show="hide")


def possible_refusals(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Index, rule, mode and kind of every refusal that the policies may make.

    An index may answer by the policies of the indexes that it is made of.
    """
    tables, nodes = settings.all_policies, resolve_tree(settings).named
    used = {name for node in nodes.values() for name in node.table.policies}
    rules: list[tuple[str, str, str]]
    rules = [(name, table.mode, table.kind) for name, table in tables.items() if name in used]
    rules += [(rule, "enforce", rule) for rule in BUILT_IN_RULES]
    routed = (name for name, node in nodes.items() if isinstance(node.table, RoutedTable))
    rules += [(name, "enforce", "routed") for name in routed]
    return [(index, *rule) for index in nodes for rule in rules]


def kind_of_rule(indexes: Iterable[Index], rule: str) -> str:
    """The kind of the policy of that name, as the settings call it; of another rule, its name."""
    for index in indexes:
        for policy in index.policies if isinstance(index, Guarded) else ():
            if policy.name == rule and policy.kind:
                return policy.kind
        if isinstance(index, Routed) and index.name == rule:
            return "routed"
    return rule


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
