"""Audit: records which client received, or was refused, which files; answers queries about it.

An observer of events that could be left out. It writes in a thread, and no answer waits for it.
"""

from proxy.audit.database import Database
from proxy.audit.entries import Result
from proxy.audit.lines import JsonLines
from proxy.audit.privacy import ClientNames
from proxy.audit.query import AuditQuery
from proxy.audit.search import AuditUnreadable, Found, Wanted, find
from proxy.audit.tools import Tool
from proxy.audit.trail import AuditTrail

__all__ = [
    "AuditQuery",
    "AuditTrail",
    "AuditUnreadable",
    "ClientNames",
    "Database",
    "Found",
    "JsonLines",
    "Result",
    "Tool",
    "Wanted",
    "find",
]
