"""How bundles are told to programs: one JSON object. Digests are sha256 in hex, sizes in bytes."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from proxy.bundle.archive.creating import Created
from proxy.bundle.archive.manifest import BundledFile, Manifest
from proxy.bundle.archive.reading import Bundle
from proxy.bundle.archive.survey import Comparison
from proxy.cli.bundle_text import projects_of

json_option = click.option("--json", "as_json", is_flag=True, help="Report in JSON.")


def print_json(report: dict[str, Any], *, err: bool = False) -> None:
    click.echo(msgspec.json.encode(report), err=err)


def about(bundle: Bundle) -> dict[str, Any]:
    """Whose it is, and how much."""
    whose = {"signer": bundle.head.signer, "signature_checked": bundle.verified}
    return {"manifest": bundle.digest, **whose, **_amounts(bundle.manifest)}


def made(done: Created) -> dict[str, Any]:
    archive = {"archive": done.archive_digest, "size": done.size, "manifest": done.digest}
    return {**archive, "left_out": done.left_out, **_amounts(done.manifest)}


def imported(found: Comparison) -> dict[str, Any]:
    """What became of each page, by project, and of each file."""
    pages = {
        "new": found.new_pages,
        "changed": found.changed_pages,
        "same": [*found.same_pages, *found.confirmed_pages],
        "older": found.older_pages,
    }
    files = {
        "new": found.new_files,
        "same": found.same_files,
        "conflicting": found.conflicting,
    }
    return {
        "pages": {kind: [each.project for each in which] for kind, which in pages.items()},
        "files": {kind: [_as_json(each) for each in which] for kind, which in files.items()},
        "completed": found.completed,
    }


def _amounts(manifest: Manifest) -> dict[str, Any]:
    return {
        "base": manifest.base,
        "indexes": [origin.url for origin in manifest.indexes],
        "projects": len(projects_of(manifest)),
        "pages": len(manifest.pages),
        "files": len(manifest.files),
        "bytes": manifest.total,
        "carried": {
            "documents": len(manifest.documents),
            "files": len(manifest.blobs),
            "bytes": manifest.load,
        },
    }


def _as_json(file: BundledFile) -> dict[str, str]:
    return {"project": file.project, "filename": file.filename, "sha256": file.sha256}
