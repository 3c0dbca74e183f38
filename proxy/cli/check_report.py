"""The report of ``waystation check --json``: indexes, their policies, and a dry run of these.

The dry run judges the pages that are in the cache; nothing is requested from an upstream.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Set
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Literal

import msgspec

from proxy.composition import AS_OF, IndexNode, Proxy, open_proxy, resolve_tree
from proxy.config import CooldownTable, Settings, cache_folder
from proxy.errors import PolicyFailed, ProxyError
from proxy.indexes import Guarded, Index
from proxy.model import ProjectName, ProjectPage
from proxy.policies import Facts, Policy, digest_of
from proxy.runtime import count_text

DATED = ("cooldown", AS_OF)
"""Kinds of policies that need upload times."""
ADVISED = ("malware", "advisories")
"""Kinds of policies that need advisories."""


class PolicyReport(msgspec.Struct):
    name: str
    kind: str
    mode: Literal["enforce", "observe"]
    lacks: list[str] = []
    """Data that the policy needs and does not have, as text."""
    refused: int = 0
    """Listed files that the policy refuses now, or would refuse in mode ``observe``."""
    refused_stored: int = 0
    """Those of them whose bytes are in the cache."""


class IndexReport(msgspec.Struct):
    name: str
    kind: str
    made_of: list[str]
    """The indexes below, in the order in which it asks them."""
    policies: list[PolicyReport]
    """Its own; those of the indexes below judge before."""
    projects: int = 0
    """With a page in the cache, or in a directory."""
    files: int = 0
    """That these pages list, before the policies of this index."""


class AdvisoryReport(msgspec.Struct):
    records: int
    age: float | None
    """Seconds since the last check that succeeded; None: none has."""


class CheckReport(msgspec.Struct):
    indexes: list[IndexReport]
    advisories: AdvisoryReport | None
    """None: the settings name no source, or there is no cache."""
    cache_read: bool
    """Whether the numbers are those of a cache; False: there is none, or none that can be read."""


@asynccontextmanager
async def cached_proxy(settings: Settings) -> AsyncIterator[Proxy | None]:
    """The indexes, offline; None without a cache, or where they cannot be opened."""
    folder = cache_folder(settings)
    async with AsyncExitStack() as stack:
        proxy = None
        if (folder / "records").is_dir() and os.access(folder, os.W_OK | os.X_OK):
            offline = settings.model_copy(update={"offline": True})
            with suppress(ProxyError):  # what is tried next says why
                proxy = await stack.enter_async_context(open_proxy(offline))
        yield proxy


async def report_on(settings: Settings, proxy: Proxy | None) -> CheckReport:
    """``proxy``: the running indexes of the settings, if there is a cache."""
    nodes = resolve_tree(settings).named.values()
    found = CheckReport([_described(node, settings) for node in nodes], None, proxy is not None)
    if proxy is None:
        return found
    for index in found.indexes:
        with suppress(ProxyError):  # what is tried next says why
            await _Trial(index, proxy.indexes[index.name]).run()
    if advisories := proxy.advisories:
        age = advisories.age if advisories.age < float("inf") else None
        found.advisories = AdvisoryReport(advisories.records, age)
    _note_advisories(found, settings)
    return found


def _described(node: IndexNode, settings: Settings) -> IndexReport:
    tables = settings.all_policies
    policies = [PolicyReport(AS_OF, AS_OF, "enforce")] if node.table.as_of else []
    policies += [
        PolicyReport(name, tables[name].kind, tables[name].mode)
        for name in dict.fromkeys(node.table.policies)
    ]
    return IndexReport(
        node.name, node.table.kind, [child.name for child in node.children], policies
    )


def _note_advisories(report: CheckReport, settings: Settings) -> None:
    """Say it of each policy that has no advisories, or old ones."""
    table, known = settings.advisories, report.advisories
    if table is None or known is None or known.age is None:
        lack = "advisories: none yet"
    elif known.age > table.max_age:
        lack = f"advisories: checked {known.age / 3600:.0f} hours ago"
    else:
        return
    for policy in (each for index in report.indexes for each in index.policies):
        rule = settings.all_policies.get(policy.name)
        fixes = isinstance(rule, CooldownTable) and rule.security_fixes
        if policy.kind in ADVISED or fixes:
            policy.lacks.append(lack)


class _Trial:
    """A dry run of the policies of one index over all pages that it is made of."""

    def __init__(self, report: IndexReport, index: Index) -> None:
        self._report = report
        self._guard = index if isinstance(index, Guarded) else None
        self._inner = index.index if isinstance(index, Guarded) else index
        self._policies = self._guard.policies if self._guard else ()
        self._refused: Counter[str] = Counter()
        self._stored: Counter[str] = Counter()
        self._judged: Counter[str] = Counter()
        self._lacking: Counter[str] = Counter()

    async def run(self) -> None:
        for project in sorted(await self._inner.projects()):
            found = await self._inner.explain(project)
            if found.page is not None:
                self._report.projects += 1
                self._report.files += len(found.page.files)
                await self._judge(found.page, found.stored)
        for row in self._report.policies:
            row.refused, row.refused_stored = self._refused[row.name], self._stored[row.name]
            if lacking := self._lacking[row.name]:
                files = count_text(self._judged[row.name], "file")
                row.lacks.append(f"{_needs(row.kind)} of {lacking} of {files}")

    async def _judge(self, page: ProjectPage, stored: Set[str]) -> None:
        if self._guard is None:
            return
        for rule, names in (await _refusals(self._guard, page)).items():
            self._refused[rule] += len(names)
            self._stored[rule] += len(stored & names)
        self._look_for_data(page)

    def _look_for_data(self, page: ProjectPage) -> None:
        for policy in self._policies:
            if policy.concerns(page.project):
                self._judged[policy.name] += len(page.files)
                self._lacking[policy.name] += sum(1 for _ in _unknown(policy, page))


async def _refusals(guard: Guarded, page: ProjectPage) -> Mapping[str, Set[str]]:
    """The names of the files that each policy refuses, enforced or not."""
    every = {file.filename for file in page.files}
    found: defaultdict[str, set[str]] = defaultdict(set)
    try:
        judged = await guard.judge(page)
    except PolicyFailed as error:  # then no file passes
        found[error.policy] |= every
        return found
    for verdicts in (judged.refusals, judged.observed):
        for filename, given in verdicts.items():
            for verdict in given:
                found[verdict.rule].add(filename)
    return found


def _unknown(policy: Policy, page: ProjectPage) -> Iterator[str]:
    """The files of which the policy lacks what it needs."""
    if policy.kind in DATED:
        yield from (file.filename for file in page.files if not file.uploaded)
    elif policy.facts and (known := _known(policy.facts, page.project)):
        yield from (file.filename for file in page.files if known(digest_of(file)) is None)


def _known(facts: Facts, project: ProjectName) -> Callable[[str], object] | None:
    from proxy.facts import DecisionFacts, LicenceFacts, ProvenanceFacts  # not at every start

    if isinstance(facts, LicenceFacts):
        return facts.licences_of(project)
    if isinstance(facts, DecisionFacts):
        return facts.decisions_of(project)
    return facts.proofs_of(project) if isinstance(facts, ProvenanceFacts) else None


def _needs(kind: str) -> str:
    facts = {"hook": "decisions", "provenance": "verified provenance"}
    return "upload times" if kind in DATED else facts.get(kind, "licences")
