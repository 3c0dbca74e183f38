"""The output of the bundle commands, as text or JSON; and their files, options and progress bar.

Digests are sha256 in lowercase hex, sizes in JSON are bytes.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import click
import msgspec

from proxy.bundle import (
    Bundle,
    BundledFile,
    BundledPage,
    BundledVerdict,
    BundleIOError,
    ByteSource,
    Comparison,
    CreatedBundle,
    Manifest,
)
from proxy.errors import how_to_add
from proxy.runtime import count_text, size_text


def facts(bundle: Bundle) -> list[str]:
    """The signature and the amounts of a bundle, one line each."""
    signed = "not signed"
    if bundle.head.signer:
        checked = (
            "" if bundle.signature_verified else f", which was not checked: {how_to_add('sign')}"
        )
        signed = f"by ed25519:{bundle.head.signer}{checked}"
    return [f"manifest   sha256:{bundle.digest}", f"signed     {signed}", *amounts(bundle.manifest)]


def amounts(manifest: Manifest) -> list[str]:
    projects = projects_of(manifest)
    pages, files = count_text(len(manifest.pages), "page"), count_text(len(manifest.files), "file")
    of = count_text(len(projects), "project")
    lines = [f"index      {origin.url}" for origin in manifest.indexes]
    lines.append(f"lists      {pages} and {files} of {of}, {size_text(manifest.total_size)}")
    if manifest.base:
        lines.append(f"since      sha256:{manifest.base}")
        lines.append(
            f"carries    {len(manifest.documents)} pages or provenance and"
            f" {count_text(len(manifest.blobs), 'file')}, {size_text(manifest.carried_size)}"
        )
    if rules := manifest.rules:
        counted = Counter(each.outcome for each in rules.verdicts)
        found = ", ".join(f"{counted[each]} {each}" for each in sorted(counted))
        named = ", ".join(rules.policies)
        lines.append(f"rules      {named or 'none'} of {rules.index}: {found or 'all passed'}")
    return lines


def refused_lines(manifest: Manifest) -> Iterator[str]:
    """One line for each cached file that is left out."""
    for each in manifest.rules.verdicts if manifest.rules else ():
        if each.outcome == "refused":
            yield f"refused, not in the bundle: {_with_reason(each)}"


def verdict_lines(manifest: Manifest) -> Iterator[str]:
    """One line for each verdict of a rule."""
    if manifest.rules and manifest.rules.verdicts:
        yield ""
        for each in manifest.rules.verdicts:
            why = f" (exempted: {each.exemption})" if each.outcome == "exempted" else ""
            yield f"{each.outcome:<8}  {_with_reason(each)}{why}"


def _with_reason(verdict: BundledVerdict) -> str:
    return f"{verdict.filename or verdict.project}: rule {verdict.rule}: {verdict.reason}"


def projects_of(manifest: Manifest) -> set[tuple[int, str]]:
    """The projects, by position of the index and name."""
    entries = chain[BundledPage | BundledFile](manifest.pages, manifest.files)
    return {(each.index, each.project) for each in entries}


def listing(manifest: Manifest) -> Iterator[str]:
    """One line for each entry, by project: bytes, sha256, filename and upload time.

    A star marks the entries that a delta contains; the others are in the base.
    """
    entries: list[BundledPage | BundledFile] = [*manifest.pages, *manifest.provenance]
    entries = sorted([*entries, *manifest.files], key=_order)
    for (index, project), found in groupby(entries, lambda each: (each.index, each.project)):
        yield ""
        yield f"{project}  ({manifest.indexes[index].url})"
        for each in found:
            carried = (
                each.sha256 in manifest.carried_files or each.sha256 in manifest.carried_documents
            )
            mark = "*" if manifest.base and carried else " "
            yield f"{mark} {each.size:>12}  {each.sha256}  {_described(each)}"


def created_lines(done: CreatedBundle, path: Path) -> list[str]:
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
    finished = (f"an interrupted import was completed first: sha256:{e}" for e in found.completed)
    return [*finished, pages, files]


def _order(entry: BundledPage | BundledFile) -> tuple[object, ...]:
    return entry.index, entry.project, getattr(entry, "filename", ""), entry.sha256


def _described(entry: BundledPage | BundledFile) -> str:
    if isinstance(entry, BundledFile):
        return f"{entry.filename}  {entry.uploaded or ''}".rstrip()
    checked = datetime.fromtimestamp(entry.checked, UTC).isoformat(timespec="seconds")
    return f"page as of {checked.replace('+00:00', 'Z')}"


json_option = click.option("--json", "as_json", is_flag=True, help="Print the report in JSON.")


def print_json(report: dict[str, Any], *, err: bool = False) -> None:
    click.echo(msgspec.json.encode(report), err=err)


def about(bundle: Bundle) -> dict[str, Any]:
    """The signature and the amounts of a bundle."""
    signature = {"signer": bundle.head.signer, "signature_checked": bundle.signature_verified}
    return {"manifest": bundle.digest, **signature, **_amounts(bundle.manifest)}


def made(done: CreatedBundle) -> dict[str, Any]:
    archive = {"archive": done.archive_digest, "size": done.size, "manifest": done.digest}
    return {**archive, "left_out": done.omitted, **_amounts(done.manifest)}


def imported(found: Comparison) -> dict[str, Any]:
    """The results of an import: pages by project, and files."""
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
        "bytes": manifest.total_size,
        "carried": {
            "documents": len(manifest.documents),
            "files": len(manifest.blobs),
            "bytes": manifest.carried_size,
        },
        **({"rules": manifest.rules} if manifest.rules else {}),
    }


def _as_json(file: BundledFile) -> dict[str, str]:
    return {"project": file.project, "filename": file.filename, "sha256": file.sha256}


READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)
READABLE_OR_DASH = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
WRITABLE = click.Path(dir_okay=False, path_type=Path)
STANDARD_STREAM = Path("-")
"""Standard input, or standard output."""


@contextmanager
def opened(file: Path, *, hashed: bool = False) -> Iterator[ByteSource]:
    """The file as a source of bytes. Raises ``BundleIOError``."""
    try:
        stream = _standard_input() if file == STANDARD_STREAM else file.open("rb", buffering=0)
    except OSError as error:
        raise BundleIOError(f"{file} cannot be read", error) from error
    with stream:
        yield ByteSource(stream, hashed=hashed)


def _standard_input() -> FileIO:
    return FileIO(0, "rb", closefd=False)


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; ``total`` in bytes."""
    if not sys.stderr.isatty():
        yield lambda size: None
        return
    with click.progressbar(length=total, file=sys.stderr) as bar:
        yield bar.update
