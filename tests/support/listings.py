"""What a fake index lists: distributions and the pages of their projects, as JSON or HTML."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.utils import parse_sdist_filename, parse_wheel_filename

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
UPLOADED = "2024-01-02T03:04:05.000000Z"


@dataclass(frozen=True)
class Listed:
    """A distribution on a page, with what lies beside it."""

    project: str
    version: str
    path: str
    """Below the files' root, percent-encoded."""
    content: Path
    entry: Mapping[str, Any]
    """The file as the JSON page has it, without ``url`` unless that was given."""
    metadata: bytes | None
    provenance: bytes | None

    @property
    def contents(self) -> dict[str, bytes | Path]:
        """What is served, by path below the files' root."""
        beside = {".metadata": self.metadata, ".provenance": self.provenance}
        found = {self.path + suffix: data for suffix, data in beside.items() if data is not None}
        return {self.path: self.content, **found}


def listed(
    content: Path,
    *,
    requires_python: str | None = None,
    metadata: bool | bytes = True,
    yanked: bool | str = False,
    uploaded: str | None = UPLOADED,
    hashes: Iterable[str] = ("sha256",),
    size: bool = True,
    provenance: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Listed:
    """``overrides`` are keys of the file in JSON, such as ``url`` or ``hashes``, as they go out."""
    data = content.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    path = f"{digest[:2]}/{digest[2:]}/{quote(content.name)}"
    project, version = _project_of(content.name)
    beside = (
        metadata if isinstance(metadata, bytes) else _metadata_of(content) if metadata else None
    )
    entry: dict[str, Any] = {
        "filename": content.name,
        "hashes": {name: hashlib.new(name, data).hexdigest() for name in hashes},
        "requires-python": requires_python,
        "size": len(data) if size else None,
        "upload-time": uploaded,
        "yanked": yanked or None,
        "core-metadata": {"sha256": hashlib.sha256(beside).hexdigest()} if beside else None,
    }
    known = {key: value for key, value in entry.items() if value is not None}
    proof = None if provenance is None else json.dumps(provenance).encode()
    return Listed(project, version, path, content, known | overrides, beside, proof)


class Shelf:
    """All that an index lists."""

    def __init__(self) -> None:
        self.files: dict[str, Listed] = {}
        """By file name."""
        self.contents: dict[str, bytes | Path] = {}
        """What is served, by path below the files' root."""
        self.pages: dict[str, tuple[bytes, str]] = {}
        """By project: body and content type instead of what is listed."""
        self.keys: dict[str, dict[str, Any]] = {}
        """By project: top-level keys for its JSON page."""
        self.serials: dict[str, int | None] = {}
        self._rendered: dict[tuple[str, str, str], bytes] = {}

    def add(self, file: Listed) -> Listed:
        self.files[file.content.name] = file
        self.contents |= file.contents
        self.serials[file.project] = (self.serials.get(file.project) or 1000) + 1
        self._rendered.clear()
        return file

    def remove(self, filename: str) -> None:
        for path in self.files.pop(filename).contents:
            del self.contents[path]
        self._rendered.clear()

    def page(self, project: str, media: str, root: str) -> tuple[bytes, str]:
        """Body and content type; both empty if there is no such project."""
        if project in self.pages:
            return self.pages[project]
        found = [each for each in self.files.values() if each.project == project]
        if not found and project not in self.keys:
            return b"", ""
        key = (project, media, root + repr(self.keys.get(project)))
        if key not in self._rendered:
            entries = [_entry(each, root) for each in found]
            keys = {"versions": sorted({each.version for each in found})}
            keys |= self.keys.get(project, {})
            self._rendered[key] = (
                json_page(project, entries, keys) if media == JSON else html_page(project, entries)
            )
        return self._rendered[key], media

    def list(self, media: str) -> tuple[bytes, str]:
        names = sorted({each.project for each in self.files.values()} | set(self.pages))
        if media == JSON:
            page = {"meta": {"api-version": "1.4"}, "projects": [{"name": name} for name in names]}
            return json.dumps(page).encode(), media
        return html_page(
            "all", [{"filename": name, "url": f"/simple/{name}/"} for name in names]
        ), media


def _entry(found: Listed, root: str) -> dict[str, Any]:
    entry = {"url": root + found.path, **found.entry}
    if found.provenance is not None:
        entry.setdefault("provenance", f"{root}{found.path}.provenance")
    return entry


def json_page(name: str, entries: Sequence[Mapping[str, Any]], keys: Mapping[str, Any]) -> bytes:
    page = {"meta": {"api-version": "1.4"}, "name": name, "files": entries}
    return json.dumps({**page, **keys}).encode()


def html_page(name: str, entries: Sequence[Mapping[str, Any]]) -> bytes:
    anchors = "\n".join(_anchor(entry) for entry in entries)
    head = '<meta name="pypi:repository-version" content="1.4">'
    return (
        f"<!DOCTYPE html><html><head>{head}<title>Links for {escape(name)}</title></head>"
        f"<body><h1>Links for {escape(name)}</h1>\n{anchors}\n</body></html>"
    ).encode()


def _anchor(entry: Mapping[str, Any]) -> str:
    digest = next((f"#{name}={value}" for name, value in entry.get("hashes", {}).items()), "")
    attributes = {"href": entry["url"] + digest}
    if wanted := entry.get("requires-python"):
        attributes["data-requires-python"] = wanted
    if yanked := entry.get("yanked"):
        attributes["data-yanked"] = "" if yanked is True else yanked
    if beside := entry.get("core-metadata"):
        attributes["data-core-metadata"] = (
            "true" if beside is True else f"sha256={beside['sha256']}"
        )
    if proof := entry.get("provenance"):
        attributes["data-provenance"] = proof
    if "gpg-sig" in entry:
        attributes["data-gpg-sig"] = str(entry["gpg-sig"]).lower()
    written = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
    return f"<a {written}>{escape(entry['filename'])}</a><br>"


def _project_of(filename: str) -> tuple[str, str]:
    if filename.endswith(".whl"):
        name, version, *_ = parse_wheel_filename(filename)
    else:
        name, version = parse_sdist_filename(filename)
    return name, str(version)


def _metadata_of(content: Path) -> bytes | None:
    if content.suffix != ".whl" or not zipfile.is_zipfile(content):
        return None
    with zipfile.ZipFile(content) as archive:
        members = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(members[0]) if members else None
