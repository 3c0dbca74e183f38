"""Policies: rules about which projects and files an index shows."""

from proxy.policies.base import Look, Mode, PageView, Policy, Verdict
from proxy.policies.names import (
    Reserved,
    Withheld,
    matcher,
)

__all__ = [
    "Look",
    "Mode",
    "PageView",
    "Policy",
    "Reserved",
    "Verdict",
    "Withheld",
    "matcher",
]
