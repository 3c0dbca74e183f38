"""Moves a lock file to another index: its addresses change, its digests do not."""

from __future__ import annotations

from pathlib import Path

from proxy.requirements.relocking.addresses import NewIndex
from proxy.requirements.relocking.requirements import relock_requirements
from proxy.requirements.relocking.toml_locks import relock_toml
from proxy.requirements.sources import kind_of_source
from proxy.requirements.sources.document import SourceDocument, open_document

__all__ = ["NewIndex", "open_document", "relock"]


def relock(path: Path, document: SourceDocument, index: NewIndex) -> tuple[str, bytes]:
    """The kind of the file, and its content with the addresses of the new index.

    Raises ``UnreadableSource`` for a file that is none of the known kinds.
    """
    kind = kind_of_source(path, document)
    if kind == "pyproject":
        raise document.unreadable("a pyproject.toml has no digests; give the lock file")
    if kind == "requirements":
        return kind, relock_requirements(document, index)
    return kind, relock_toml(document, kind, index)
