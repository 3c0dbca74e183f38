"""Project names (PEP 503, PEP 508) and what file names say about them."""

from __future__ import annotations

import re

from proxy.model import ProjectName

_VALID = re.compile(r"[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?\Z", re.IGNORECASE | re.ASCII)
_RUNS = re.compile(r"[-_.]+")


def normalize(name: str) -> ProjectName:
    """The normalized form of a project name. Raises ``ValueError`` if it is not one."""
    if not _VALID.match(name):
        raise ValueError(f"not a project name: {name!r}")
    return ProjectName(_RUNS.sub("-", name).lower())
