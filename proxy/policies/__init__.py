"""Policies: rules about what an index may show."""

from proxy.policies.base import Policy
from proxy.policies.names import (
    Reserved,
    Withheld,
    matcher,
)

__all__ = [
    "Policy",
    "Reserved",
    "Withheld",
    "matcher",
]
