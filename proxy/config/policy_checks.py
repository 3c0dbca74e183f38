"""Checks of policies that concern several tables: names, exemptions, the short form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.util import find_spec

from proxy.advisories import can_compute
from proxy.config.fact_tables import (
    ExpressionTable,
    KnownFaultsTable,
    MalwareTable,
    ProvenanceTable,
)
from proxy.config.policy_tables import POLICY_NAME, CooldownTable, ExemptTable, PolicyTable
from proxy.config.settings import SHORT_COOLDOWN, Settings
from proxy.errors import ConfigurationError, how_to_add
from proxy.policies import Condition

CHECKED_STRICTLY = ("malware",)
"""The kinds whose exemptions have to name the project and its version or digest."""


def policy_problems(settings: Settings, given: object) -> Iterator[ConfigurationError]:
    """Mistakes in the tables of policies, and in references to them.

    ``given``: the tables as a source gives them, which may be wrong and thus not in force.
    """
    tables = settings.all_policies
    for name in settings.policies:
        if not POLICY_NAME.match(name):
            remedy = 'use lowercase letters, digits and "-", at most 40'
            yield ConfigurationError(f"policies.{name}", "it is not a name of a policy", remedy)
    if settings.cooldown is not None and SHORT_COOLDOWN in settings.policies:
        problem = "the setting cooldown is a policy of this name already"
        yield ConfigurationError(f"policies.{SHORT_COOLDOWN}", problem, "leave one of them out")
    yield from _facts_missing(settings)
    known = {*tables, *(given if isinstance(given, Mapping) else ())}
    for name, table in settings.indexes.items():
        yield from _unknown(f"indexes.{name}.policies", table.policies, known)
    for number, row in enumerate(settings.exempt):
        yield from _unknown(f"exempt.{number}.policy", row.policy, known)
        yield from _exemption_problems(f"exempt.{number}", row, tables)


def _facts_missing(settings: Settings) -> Iterator[ConfigurationError]:
    """Policies that need facts which nothing provides."""
    for name, table in settings.all_policies.items():
        key = f"policies.{name}"
        if settings.advisories is None and _needs_advisories(table):
            yield ConfigurationError(
                key, "it needs advisories", "set source in a table [advisories]"
            )
        scores = isinstance(table, KnownFaultsTable) and table.severity != "none"
        if scores and not can_compute():
            problem = "its severities are computed by a library that is missing"
            yield ConfigurationError(key, problem, how_to_add("advisories"))
        if isinstance(table, ProvenanceTable) and find_spec("pypi_attestations") is None:
            problem = "attestations are verified by a library that is missing"
            yield ConfigurationError(key, problem, how_to_add("provenance"))


def _needs_advisories(table: PolicyTable) -> bool:
    if isinstance(table, CooldownTable):
        return table.security_fixes
    if isinstance(table, ExpressionTable):
        return Condition(table.refuse).needs_advisories
    return isinstance(table, MalwareTable | KnownFaultsTable)


def _unknown(
    key: str, names: Iterable[str], known: Collection[str]
) -> Iterator[ConfigurationError]:
    policies = f"the policies are: {', '.join(sorted(known))}"
    for name in names:
        if name not in known:
            remedy = policies if known else "write a table [policies.NAME]"
            yield ConfigurationError(key, f"there is no policy {name!r}", remedy)


def _exemption_problems(
    key: str, row: ExemptTable, tables: Mapping[str, PolicyTable]
) -> Iterator[ConfigurationError]:
    if row.project is None and row.digest is None:
        remedy = "name a project or a digest"
        yield ConfigurationError(key, "it exempts the files of all projects", remedy)
    if (row.until is None) is not row.forever:
        problem = "it has an end and lasts forever" if row.forever else "it has no end"
        yield ConfigurationError(key, problem, "set either until, or forever = true")
    strict = [name for name in row.policy if _is_strict(tables.get(name))]
    exact = row.project is not None and not set(row.project) & {"*", "?"}
    if strict and not (exact and (row.version or row.digest)):
        problem = f"it is too broad for {strict[0]}, which refuses malware"
        remedy = "name the project, without * and ?, and its version or a digest"
        yield ConfigurationError(key, problem, remedy)


def _is_strict(table: PolicyTable | None) -> bool:
    return getattr(table, "kind", None) in CHECKED_STRICTLY
