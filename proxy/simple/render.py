"""Pages and project lists as JSON (PEP 691); with ``render_html`` all that is rendered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from proxy.model import PROVENANCE, File, ProjectName, ProjectPage, ProjectStatus, Sha256
from proxy.simple.links import Links, absolute_links, batches, relative_links
from proxy.simple.render_html import html_pieces, page_html, projects_html

__all__ = [
    "Links",
    "absolute_links",
    "html_pieces",
    "json_pieces",
    "page_html",
    "page_json",
    "projects_html",
    "projects_json",
    "relative_links",
]

API_VERSION = "1.4"
_WITHOUT_SIZES = "1.0"  # ``size`` is required from 1.1 on


class _File(msgspec.Struct, gc=False, omit_defaults=True, rename="kebab"):
    filename: str
    url: str
    hashes: Mapping[str, str]
    requires_python: str | None = None
    core_metadata: bool | Mapping[str, str] = False
    size: int | None = None
    upload_time: str | None = None
    yanked: bool | str = False
    provenance: str | None = None


_FILE_KEYS = frozenset((*_File.__struct_encode_fields__, "dist-info-metadata"))
_PAGE_KEYS = frozenset(("meta", "name", "versions", "project-status", "files"))


def _plainly(value: Any) -> Any:
    """Mappings other than ``dict``, which msgspec does not encode by itself."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"not JSON: {type(value).__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_plainly)


def page_json(page: ProjectPage, links: Links, provenance: Links | None = None) -> bytes:
    """The page in JSON. Optional keys are left out where unknown: ``null`` breaks clients.

    ``provenance``: the links that provenance addresses are made from, if not ``links``.
    """
    return b"".join(json_pieces(page, links, provenance))


def json_pieces(
    page: ProjectPage, links: Links, provenance: Links | None = None
) -> Iterator[bytes]:
    """The same in pieces that are small, of however many files: the start, files, the end."""
    yield _ENCODER.encode(_start(page))[:-1] + b',"files":['
    between = b""
    for files in batches(page.files):
        urls = links(page.project, files)
        proofs = provenance(page.project, files) if provenance else urls
        yield between + _ENCODER.encode(list(map(_file, files, urls, proofs)))[1:-1]
        between = b","
    extra = _beside(page.extra, _PAGE_KEYS)
    yield b"]," + _ENCODER.encode(extra)[1:] if extra else b"]}"


def _start(page: ProjectPage) -> dict[str, Any]:
    sized = all(file.size is not None for file in page.files)
    body: dict[str, Any] = {
        "meta": {"api-version": API_VERSION if sized else _WITHOUT_SIZES},
        "name": page.project,
        "versions": page.versions,
    }
    body["meta"] |= _beside(page.meta, body["meta"])
    if page.status is not None:
        body["project-status"] = _status(page.status)
    return body


def _file(file: File, url: str, proof: str) -> _File | dict[str, Any]:
    metadata = file.metadata
    known = _File(
        file.filename,
        url,
        file.hashes,
        file.requires_python,
        metadata if type(metadata) is Sha256 else metadata or False,
        file.size,
        file.uploaded,
        file.yanked or False,
        proof + PROVENANCE if file.provenance else None,
    )
    if not file.extra:
        return known
    plain: dict[str, Any] = msgspec.to_builtins(known, enc_hook=_plainly)
    return plain | _beside(file.extra, _FILE_KEYS)


def _status(status: ProjectStatus) -> dict[str, str]:
    reason = {"reason": status.reason} if status.reason else {}
    return {"status": status.status, **reason}


def _beside(extra: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in extra.items() if key not in known}


def projects_json(names: Iterable[ProjectName]) -> bytes:
    """The list of projects in JSON, sorted."""
    projects = [{"name": name} for name in sorted(names)]
    return _ENCODER.encode({"meta": {"api-version": API_VERSION}, "projects": projects})
