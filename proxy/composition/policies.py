"""The policies that an index names, and what their rules know beside the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.composition.index_tree import AS_OF, resolve_tree
from proxy.config import IndexTable, RoutedTable, Settings
from proxy.events import Observer, PageChanged
from proxy.indexes import Guarded, Index, Routed
from proxy.model import ProjectName
from proxy.policies import AsOf, ConfiguredPolicy, ParsedPages, Policy

if TYPE_CHECKING:
    from proxy.config import HookTable
    from proxy.facts import DecisionFacts, LicenceFacts, ProvenanceFacts
    from proxy.policies import About


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


BUILT_IN_RULES = (AS_OF, "vanished", "quarantined")
"""Rules that are settings of an index, or of a standard, and have no table."""


def build_policies(index: IndexTable, settings: Settings, knowledge: Knowledge) -> list[Policy]:
    """The policies of an index, in the order in which it names them."""
    tables = settings.all_policies
    instant = [as_of(index.as_of.timestamp())] if index.as_of else []
    if not index.policies:
        return instant
    from proxy.composition.policy_rules import build_policy

    named = dict.fromkeys(index.policies)
    return instant + [
        build_policy(name, tables[name], settings.exempt, knowledge) for name in named
    ]


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
