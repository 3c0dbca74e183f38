"""Pages and project lists as JSON (PEP 691); with ``render_html`` all that is rendered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from proxy.model import PROVENANCE, File, ProjectName, ProjectPage, ProjectStatus
from proxy.simple.links import Link, absolute_link, relative_link
from proxy.simple.render_html import page_html, projects_html

__all__ = [
    "Link",
    "absolute_link",
    "page_html",
    "page_json",
    "projects_html",
    "projects_json",
    "relative_link",
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


def page_json(page: ProjectPage, link: Link, provenance: Link | None = None) -> bytes:
    """The page in JSON. Optional keys are left out where unknown: ``null`` breaks clients.

    ``provenance``: the link that provenance addresses are made from, if not ``link``.
    """
    sized = all(file.size is not None for file in page.files)
    body: dict[str, Any] = {
        "meta": {"api-version": API_VERSION if sized else _WITHOUT_SIZES},
        "name": page.project,
        "versions": page.versions,
    }
    body["meta"] |= _beside(page.meta, body["meta"])
    if page.status is not None:
        body["project-status"] = _status(page.status)
    body["files"] = [_file(page.project, file, link, provenance) for file in page.files]
    return _ENCODER.encode(body | _beside(page.extra, _PAGE_KEYS))


def _file(
    project: ProjectName, file: File, link: Link, provenance: Link | None
) -> _File | dict[str, Any]:
    url = link(project, file)
    known = _File(
        file.filename,
        url,
        file.hashes,
        file.requires_python,
        file.metadata or False,
        file.size,
        file.uploaded,
        file.yanked or False,
        (provenance or link)(project, file) + PROVENANCE if file.provenance else None,
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
