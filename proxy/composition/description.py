"""The indexes of the settings as text: what each is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from proxy.access import ANY
from proxy.composition.index_checks import DefaultDirectory, upstream_url, without_credentials
from proxy.composition.index_tree import IndexNode, IndexTree, resolve_tree
from proxy.config import (
    DENY,
    RESERVED,
    FallthroughTable,
    IndexTable,
    LocalTable,
    MirrorTable,
    ReleasesTable,
    RoutedTable,
    RuleTable,
    Settings,
    UpstreamTable,
)
from proxy.indexes import is_zip

if TYPE_CHECKING:
    from proxy.config import OidcRuleTable

JOB_CLAIMS = {
    *("environment", "ref", "ref_type", "ref_protected", "event_name", "sub", "build_branch"),
    *("workflow_ref", "job_workflow_ref", "ci_config_ref_uri", "oidc.circleci.com/vcs-ref"),
}
"""Claims that say which of the jobs of a repository it is, at GitHub, GitLab and others."""


def describe(tree: IndexTree) -> Iterator[str]:
    """All indexes as lines: the one at the root, then the others that nothing is made of.

    Indexes below another are in the order in which it asks them.
    """
    shown: set[IndexNode] = set()
    for top in tree.tops:
        yield from _lines(top, 0, shown)


def described_addresses(tree: IndexTree) -> str:
    """The address of each index; empty if only the root is served."""
    if len(tree.named) == 1 or len(tree.served) == 1:
        return ""
    return "each also at /NAME/simple/: " + ", ".join(tree.served)


def _lines(node: IndexNode, depth: int, shown: set[IndexNode]) -> Iterator[str]:
    """``shown``: the indexes whose lines are above; what they are made of is not repeated."""
    if node in shown and node.children:
        yield "  " * depth + f"{node.name}: as above"
        return
    shown.add(node)
    yield "  " * depth + f"{node.name}: {_description(node.table)}"
    if rules := _rules(node.table):
        yield "  " * (depth + 1) + f"({rules})"
    for exposure in _exposures(node):
        yield "  " * (depth + 1) + f"({exposure})"
    for child in node.children:
        yield from _lines(child, depth + 1, shown)


def _description(table: IndexTable) -> str:
    if isinstance(table, LocalTable):
        if table.packages:
            return f"object store {table.packages}{'; takes uploads' if table.uploads else ''}"
        missing = isinstance(table, DefaultDirectory) and table.is_missing()
        note = " (does not exist yet; it is read once it exists)" if missing else ""
        kinds = (f"{'archive' if is_zip(root) else 'directory'} {root}" for root in table.roots)
        return f"{', '.join(kinds)}{note}{'; takes uploads' if table.uploads else ''}"
    if isinstance(table, UpstreamTable):
        reserved = f", never asked for {', '.join(table.reserved)}" if table.reserved else ""
    if isinstance(table, ReleasesTable):
        of = f" of {', '.join(table.projects)}" if table.projects else ""
        where = f"{', '.join(table.repositories)} at {without_credentials(table.api)}"
        return f"releases{of} in {where}{reserved}{_MODES[table.mode]}"
    if isinstance(table, MirrorTable):
        others = ", ".join(without_credentials(url) for url in table.mirrors)
        where = without_credentials(upstream_url(table)) + (f", also at {others}" if others else "")
        follows = "; followed, and uploads are passed on to it" if table.follow else ""
        return f"mirror of {where}{reserved}{_MODES[table.mode]}{follows}"
    if isinstance(table, RoutedTable):
        return "; ".join(_rule(each) for each in table.rules) + "; nothing else"
    return "the first of these that has the project"


_MODES = {
    "proxy": "",
    "stream": "; files are verified and not stored: none are available offline",
    "redirect": "; clients fetch files from its hosts themselves, which have to be reachable:"
    " nothing is verified or stored here, or available offline",
}


def _rule(rule: RuleTable) -> str:
    target = rule.to if isinstance(rule.to, str) else f"the page file {rule.to.page}"
    return (
        f"{', '.join(rule.projects)} from {target}"
        if target not in (DENY, RESERVED)
        else (f"{', '.join(rule.projects)} {'denied' if target == DENY else 'reserved'}")
    )


def _rules(table: IndexTable) -> str:
    """The policies that judge every file, in order."""
    instant = [f"as of {table.as_of:%Y-%m-%dT%H:%M:%SZ}"] if table.as_of else []
    named = [f"policies: {', '.join(table.policies)}"] if table.policies else []
    return "; ".join(instant + named)


def policy_remarks(settings: Settings, now: float) -> Iterator[str]:
    """Policies that no index has, and exemptions that have ended, with the key of each."""
    used = {name for node in resolve_tree(settings).named.values() for name in node.table.policies}
    for name in settings.policies:
        if name not in used:
            yield f"policies.{name}: no index has it in its policies"
    for number, row in enumerate(settings.exempt):
        if row.until and row.until.timestamp() <= now:
            yield f"exempt.{number}: it ended at {row.until:%Y-%m-%dT%H:%M:%SZ}"


def upload_remarks(settings: Settings) -> Iterator[str]:
    """The warning about indexes that take uploads from clients without authentication."""
    if settings.access is None:
        for name, node in resolve_tree(settings).named.items():
            if isinstance(node.table, LocalTable) and node.table.uploads:
                yield f"{name}: without [access], uploads are accepted from this machine only"


def publisher_remarks(settings: Settings) -> Iterator[str]:
    """The trusted publishers: entries of issuers that may upload, and what is odd about them."""
    accepting = resolve_tree(settings).accepting_uploads
    for name, issuer in settings.access.oidc.items() if settings.access else ():
        for number, rule in enumerate(issuer.allow):
            remarks = _remarks_on(rule, accepting) if rule.uploads else ()
            yield from (f"access.oidc.{name}.allow.{number}: {remark}" for remark in remarks)


def _remarks_on(rule: OidcRuleTable, accepting: Collection[str]) -> Iterator[str]:
    claims = (f"{claim} = {' or '.join(values)}" for claim, values in rule.claims.items())
    yield f"{', '.join(claims)} may {', '.join(map(str, rule.uploads))}"
    for grant in rule.uploads:
        if grant.index not in (ANY, *accepting) or not accepting:
            yield f"no index takes uploads by {grant}"
    if not any(claim == "sub" or claim.endswith(("_id", "-id")) for claim in rule.claims):
        yield "names can change hands: bind a number such as repository_id"
    if not JOB_CLAIMS & rule.claims.keys():
        yield "every job of the repository may publish: bind environment, ref or workflow_ref"


def _exposures(node: IndexNode) -> Iterator[str]:
    """The risk of merging, in words."""
    if isinstance(node.table, FallthroughTable) and node.table.merge:
        names = ", ".join(node.table.merge)
        below = ", ".join(node.table.of)
        yield f"{names}: from all of {below}; an upload of a higher version to any is installed"
