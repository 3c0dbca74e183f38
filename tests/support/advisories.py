"""Makes OSV records, and folders and archives of them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def osv(
    name: str = "GHSA-1",
    project: str = "aaa",
    *,
    versions: Sequence[str] = ("1.0",),
    events: Sequence[Mapping[str, str]] = (),
    range_type: str = "ECOSYSTEM",
    **fields: Any,
) -> dict[str, Any]:
    """A record about one project."""
    ranges = [{"type": range_type, "events": list(events)}] if events else []
    return {
        "id": name,
        "schema_version": "1.7.0",
        "modified": "2026-01-01T00:00:00Z",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": project},
                "versions": list(versions),
                "ranges": ranges,
            }
        ],
    } | fields


def write_archive(path: Path, *records: Mapping[str, Any]) -> Path:
    """Replace ``path`` by a zip archive of the records, in one step."""
    new = path.with_suffix(".new")
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
        for record in records:
            archive.writestr(f"{record['id']}.json", json.dumps(record))
    return new.replace(path)


def write_folder(path: Path, *records: Mapping[str, Any]) -> Path:
    path.mkdir(exist_ok=True)
    for record in records:
        (path / f"{record['id']}.json").write_text(json.dumps(record))
    return path
