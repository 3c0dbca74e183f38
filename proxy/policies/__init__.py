"""Policies: rules about which projects and files an index shows."""

from proxy.policies.base import Look, Mode, PageView, Policy, Verdict
from proxy.policies.configured import ConfiguredPolicy, Exemption, Finding, Rule
from proxy.policies.files import Files, Status
from proxy.policies.lists import Allow, Criteria, Deny, parse_digest
from proxy.policies.names import Reserved, Withheld, matcher
from proxy.policies.parsed_page import (
    ParsedFile,
    ParsedPage,
    ParsedPages,
    Release,
    parse_names,
    parse_version,
)
from proxy.policies.times import AsOf, Cooldown

__all__ = [
    "Allow",
    "AsOf",
    "ConfiguredPolicy",
    "Cooldown",
    "Criteria",
    "Deny",
    "Exemption",
    "Files",
    "Finding",
    "Look",
    "Mode",
    "PageView",
    "ParsedFile",
    "ParsedPage",
    "ParsedPages",
    "Policy",
    "Release",
    "Reserved",
    "Rule",
    "Status",
    "Verdict",
    "Withheld",
    "matcher",
    "parse_digest",
    "parse_names",
    "parse_version",
]
