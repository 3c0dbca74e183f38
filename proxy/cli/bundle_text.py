"""How bundles are told to people: one fact a line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, groupby
from pathlib import Path

from proxy.bundle.archive.creating import Created
from proxy.bundle.archive.manifest import BundledFile, BundledPage, Manifest
from proxy.bundle.archive.reading import Bundle
from proxy.bundle.archive.survey import Comparison
from proxy.errors import how_to_add
from proxy.sizes import count_text, size_text


def facts(bundle: Bundle) -> list[str]:
    """Whose it is, and how much."""
    signed = "not signed"
    if bundle.head.signer:
        checked = "" if bundle.verified else f", which was not checked: {how_to_add('sign')}"
        signed = f"by ed25519:{bundle.head.signer}{checked}"
    return [f"manifest   sha256:{bundle.digest}", f"signed     {signed}", *amounts(bundle.manifest)]


def amounts(manifest: Manifest) -> list[str]:
    projects = projects_of(manifest)
    pages, files = count_text(len(manifest.pages), "page"), count_text(len(manifest.files), "file")
    of = count_text(len(projects), "project")
    lines = [f"index      {origin.url}" for origin in manifest.indexes]
    lines.append(f"lists      {pages} and {files} of {of}, {size_text(manifest.total)}")
    if manifest.base:
        lines.append(f"since      sha256:{manifest.base}")
        lines.append(
            f"carries    {len(manifest.documents)} pages or provenance and"
            f" {count_text(len(manifest.blobs), 'file')}, {size_text(manifest.load)}"
        )
    return lines


def projects_of(manifest: Manifest) -> set[tuple[int, str]]:
    """By index and name."""
    entries = chain[BundledPage | BundledFile](manifest.pages, manifest.files)
    return {(each.index, each.project) for each in entries}


def listing(manifest: Manifest) -> Iterator[str]:
    """Project by project, one line an entry: bytes, sha256, name, and when it was uploaded.

    A star marks what a delta carries.
    """
    entries: list[BundledPage | BundledFile] = [*manifest.pages, *manifest.provenance]
    entries = sorted([*entries, *manifest.files], key=_order)
    for (index, project), found in groupby(entries, lambda each: (each.index, each.project)):
        yield ""
        yield f"{project}  ({manifest.indexes[index].url})"
        for each in found:
            carried = each.sha256 in manifest.carried or each.sha256 in manifest.documented
            mark = "*" if manifest.base and carried else " "
            yield f"{mark} {each.size:>12}  {each.sha256}  {_told(each)}"


def created_lines(done: Created, path: Path) -> list[str]:
    return [
        f"{path}: {size_text(done.size)}",
        f"archive    sha256:{done.archive_digest}",
        f"manifest   sha256:{done.digest}",
        *amounts(done.manifest),
    ]


def imported_lines(found: Comparison) -> list[str]:
    pages = (
        f"pages  {len(found.new_pages)} new, {len(found.changed_pages)} changed,"
        f" {len(found.same_pages) + len(found.confirmed_pages)} same,"
        f" {len(found.older_pages)} older than here"
    )
    files = (
        f"files  {len(found.new_files)} new, {len(found.same_files)} same,"
        f" {len(found.conflicting)} conflicting"
    )
    finished = (f"finished first, as it had been cut off: sha256:{e}" for e in found.completed)
    return [*finished, pages, files]


def _order(entry: BundledPage | BundledFile) -> tuple[object, ...]:
    return entry.index, entry.project, getattr(entry, "filename", ""), entry.sha256


def _told(entry: BundledPage | BundledFile) -> str:
    if isinstance(entry, BundledFile):
        return f"{entry.filename}  {entry.uploaded or ''}".rstrip()
    checked = datetime.fromtimestamp(entry.checked, UTC).isoformat(timespec="seconds")
    return f"its page as of {checked.replace('+00:00', 'Z')}"
