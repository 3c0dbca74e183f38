"""Project pages in JSON (PEP 691).

A page as PyPI sends it is decoded into types by C code, and little is left to look at. Any
other is decoded untyped and each value examined; both ways mean the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from proxy.errors import UnreadablePage
from proxy.model import File, ProjectName, ProjectPage
from proxy.simple import names, sanitize
from proxy.simple.addresses import last_segment, resolve
from proxy.simple.page import make_page
from proxy.simple.typed import TypedFile, taken, with_addresses, with_metadata


class _Page(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    files: list[TypedFile]
    meta: Any = None
    name: Any = None
    versions: Any = None
    project_status: Any = None
    alternate_locations: Any = None


_TYPED = msgspec.json.Decoder(_Page)
_DROPPED = ("tracks", "alternate-locations", "namespaces", "gpg-sig")
_PAGE_KEYS = frozenset(("meta", "name", "versions", "project-status", "files", *_DROPPED))
_META_KEYS = frozenset(("api-version", "project-status", "project-status-reason", *_DROPPED))
_METADATA_KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
_FILE_KEYS = frozenset((*TypedFile.__struct_encode_fields__, *_METADATA_KEYS, *_DROPPED))


def parse_json(project: ProjectName, body: bytes, url: str, source: str) -> ProjectPage:
    """The page in ``body``. Raises ``UnreadablePage``."""
    try:
        top, files = _decode(project, body, url)
    except (ValueError, RecursionError):  # msgspec's errors and those of UTF-8 are ValueErrors
        raise UnreadablePage(source, "its page is not the JSON of the Simple API") from None
    meta = top.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    if not sanitize.first_major(meta.get("api-version")):
        raise UnreadablePage(source, "its page is of an API version that is not known here")
    if not _is_named(top.get("name"), project):
        raise UnreadablePage(source, "its page is that of another project")
    found = sanitize.status(top.get("project-status"))
    return make_page(
        project,
        files,
        versions=top.get("versions"),
        status=found
        or sanitize.status(meta.get("project-status"), meta.get("project-status-reason")),
        source=source,
        meta=sanitize.unknown(meta, _META_KEYS),
        extra=sanitize.unknown(top, _PAGE_KEYS),
    )


def _decode(project: ProjectName, body: bytes, base: str) -> tuple[dict[str, Any], Iterable[File]]:
    """The page's keys and its files. Raises ``ValueError`` and ``RecursionError``."""
    try:
        page = _TYPED.decode(body)
        with_metadata(page.files)
        with_addresses(page.files, base)
    except msgspec.ValidationError:
        top = msgspec.json.decode(body)
        if not isinstance(top, dict) or not isinstance(top.get("files"), list):
            raise ValueError("no files") from None
        found = (_examined(project, item, base) for item in top["files"])
        return top, [file for file in found if file]
    top = {
        "meta": page.meta,
        "name": page.name,
        "versions": page.versions,
        "project-status": page.project_status,
    }

    def examine(file: TypedFile) -> File | None:
        return _examined(project, msgspec.json.decode(msgspec.json.encode(file)), base)

    return top, taken(project, page.files, examine)


def _is_named(name: Any, project: ProjectName) -> bool:
    if name is None or name == project:
        return True
    try:
        return isinstance(name, str) and names.normalize(name) == project
    except ValueError:
        return False


def _examined(project: ProjectName, item: Any, base: str) -> File | None:
    if not isinstance(item, dict):
        return None
    url = _address(base, item.get("url"))
    name = item.get("filename")
    if not isinstance(name, str):
        name = last_segment(url) if url else None
    if url is None or name is None or not _wanted(name, project):
        return None
    if sanitize.unusable(item.get("hashes")):
        return None
    candidates = (item.get(key) for key in _METADATA_KEYS)
    return File(
        name,
        url,
        sanitize.hashes(item.get("hashes")),
        sanitize.size(item.get("size")),
        sanitize.text(item.get("requires-python")),
        sanitize.upload_time(item.get("upload-time")),
        sanitize.yanked(item.get("yanked")),
        sanitize.metadata(candidates) if name.endswith(".whl") else False,
        _address(base, item.get("provenance")),
        sanitize.unknown(item, _FILE_KEYS),
    )


def _wanted(name: str, project: ProjectName) -> bool:
    return names.safe_filename(name) and names.belongs(name, project)


def _address(base: str, link: Any) -> str | None:
    found = resolve(base, link) if isinstance(link, str) else None
    return found[0] if found else None
