"""Policies: rules about which projects and files an index shows."""

from typing import TYPE_CHECKING

from proxy import late_names
from proxy.policies.base import Facts, Look, Mode, NoVerdict, OpenFile, PageView, Policy, Verdict
from proxy.policies.configured import ConfiguredPolicy, Exemption, Finding, Rule
from proxy.policies.names import Reserved, Withheld, matcher, patterns_overlap
from proxy.policies.parsed_page import (
    ParsedFile,
    ParsedPage,
    ParsedPages,
    Release,
    digest_of,
    parse_names,
    parse_version,
)
from proxy.policies.project_patterns import EXPRESSION, captured_names, project_pattern
from proxy.policies.times import AsOf, Cooldown

if TYPE_CHECKING:
    from proxy.policies.advisories import About, KnownFaults, Malware
    from proxy.policies.decisions import Decided, Decision
    from proxy.policies.expressions import Condition, Expression
    from proxy.policies.file_rules import Files, Status
    from proxy.policies.licence_rules import Licences, parse_licence
    from proxy.policies.lists import Allow, Criteria, Deny, parse_digest
    from proxy.policies.provenance import COMPARED, Proof, Provenance, by_upload
    from proxy.policies.security_fixes import CooldownWithFixes, FixCriteria, fixes
else:  # what a start without such settings does not need
    __getattr__ = late_names(
        __name__,
        "advisories",
        "decisions",
        "expressions",
        "file_rules",
        "licence_rules",
        "lists",
        "provenance",
        "security_fixes",
    )

__all__ = [
    "COMPARED",
    "EXPRESSION",
    "About",
    "Allow",
    "AsOf",
    "Condition",
    "ConfiguredPolicy",
    "Cooldown",
    "CooldownWithFixes",
    "Criteria",
    "Decided",
    "Decision",
    "Deny",
    "Exemption",
    "Expression",
    "Facts",
    "Files",
    "Finding",
    "FixCriteria",
    "KnownFaults",
    "Licences",
    "Look",
    "Malware",
    "Mode",
    "NoVerdict",
    "OpenFile",
    "PageView",
    "ParsedFile",
    "ParsedPage",
    "ParsedPages",
    "Policy",
    "Proof",
    "Provenance",
    "Release",
    "Reserved",
    "Rule",
    "Status",
    "Verdict",
    "Withheld",
    "by_upload",
    "captured_names",
    "digest_of",
    "fixes",
    "matcher",
    "parse_digest",
    "parse_licence",
    "parse_names",
    "parse_version",
    "patterns_overlap",
    "project_pattern",
]
