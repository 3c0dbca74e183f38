"""Parses project pages in JSON (PEP 691).

C code decodes a page in PyPI's form into types, and few checks remain. Any other page is decoded
without types and each value is examined; both ways give the same result.
"""

from __future__ import annotations

import codecs
from itertools import count
from typing import Any

import msgspec
from msgspec import Raw

from proxy.distributions import belongs_to, safe_filename
from proxy.errors import UnreadablePage
from proxy.model import SIGNATURE, File, ProjectName, ProjectPage, normalize
from proxy.simple.file_records import FileRecord, convert_files, fill_metadata, resolve_addresses
from proxy.simple.page import (
    MAX_FILES,
    clean_hashes,
    clean_metadata,
    clean_size,
    clean_status,
    clean_text,
    clean_upload_time,
    clean_yanked,
    is_supported_version,
    make_page,
    only_bad_hashes,
    unknown_keys,
)
from proxy.simple.urls import last_segment, resolve


class _Page(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    """Values that may have any shape are decoded later, if they are small enough."""

    files: list[FileRecord]
    meta: Raw = Raw()
    name: Raw = Raw()
    versions: Raw = Raw()
    project_status: Raw = Raw()
    alternate_locations: Raw = Raw()


_TYPED = msgspec.json.Decoder(_Page)
_DROPPED = ("tracks", "alternate-locations", "namespaces", "gpg-sig")
_PAGE_KEYS = frozenset(("meta", "name", "versions", "project-status", "files", *_DROPPED))
_META_KEYS = frozenset(("api-version", "project-status", "project-status-reason", *_DROPPED))
_METADATA_KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
_FILE_KEYS = frozenset((*FileRecord.__struct_encode_fields__, *_METADATA_KEYS, *_DROPPED))


MAX_EXAMINED = 2_000
"""Unusual files of an ordinary page: the oldest projects have some hundreds."""
MAX_META = 256 * 1024
"""Bytes of ``meta``, ``name`` and ``project-status`` in an ordinary page."""
MAX_VERSIONS = 8 * 2**20
"""Bytes of ``versions`` in an ordinary page."""
_NOT_JSON = "its page is not the JSON of the Simple API"
_TOO_MANY_FILES = f"its page lists more than {MAX_FILES:,} files"


class _NotOrdinary(ValueError):
    """The page is not in PyPI's form."""


def parse_json(project: ProjectName, body: bytes, url: str, source: str) -> ProjectPage:
    """The page in ``body``. Raises ``UnreadablePage``."""
    return parse_ordinary(project, body, url, source) or _examine_all(project, body, url, source)


def parse_ordinary(project: ProjectName, body: bytes, url: str, source: str) -> ProjectPage | None:
    """The page in ``body`` if it is in PyPI's form, else None.

    The length of ``body`` bounds time and memory. Raises ``UnreadablePage``.
    """
    examined = count()

    def examine(file: FileRecord) -> File | None:
        if next(examined) >= MAX_EXAMINED:
            raise _NotOrdinary
        return _examine_file(project, msgspec.json.decode(msgspec.json.encode(file)), url)

    try:
        page = _TYPED.decode(body.removeprefix(codecs.BOM_UTF8))
        if len(page.files) > MAX_FILES:
            raise UnreadablePage(source, _TOO_MANY_FILES)
        fill_metadata(page.files)
        resolve_addresses(page.files, url)
        files = convert_files(project, page.files, examine)
        top = {
            "meta": _decoded(page.meta, MAX_META),
            "name": _decoded(page.name, MAX_META),
            "versions": _decoded(page.versions, MAX_VERSIONS),
            "project-status": _decoded(page.project_status, MAX_META),
        }
    except (msgspec.ValidationError, _NotOrdinary):
        return None
    except (ValueError, RecursionError):  # msgspec's errors and those of UTF-8 are ValueErrors
        raise UnreadablePage(source, _NOT_JSON) from None
    return _page(project, top, files, source)


def is_json(content_type: str, body: bytes) -> bool:
    """Whether to read JSON: by the content type, or by the first character if that is neither."""
    media_type = content_type.lower().partition(";")[0]
    first = body[:1024].removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    return "json" in media_type or ("html" not in media_type and first == b"{")


def _decoded(value: Raw, limit: int) -> Any:
    if len(memoryview(value)) > limit:
        raise _NotOrdinary
    return msgspec.json.decode(value) if value else None


def _examine_all(project: ProjectName, body: bytes, url: str, source: str) -> ProjectPage:
    try:
        top = msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8), type=dict[str, Raw])
        items = msgspec.json.decode(top.pop("files"), type=list[Raw])
        if len(items) > MAX_FILES:
            raise UnreadablePage(source, _TOO_MANY_FILES)
        found = (_examine_file(project, msgspec.json.decode(item), url) for item in items)
        files = [file for file in found if file]
        rest = {key: msgspec.json.decode(value) for key, value in top.items()}
    except (KeyError, ValueError, RecursionError):
        raise UnreadablePage(source, _NOT_JSON) from None
    return _page(project, rest, files, source)


def _page(project: ProjectName, top: dict[str, Any], files: list[File], source: str) -> ProjectPage:
    meta = top.get("meta")
    is_anonymous = not isinstance(meta, dict) and top.get("name") is None
    if not files and is_anonymous and not _PAGE_KEYS.issuperset(top):
        raise UnreadablePage(source, _NOT_JSON)  # other JSON may have "files", too
    meta = meta if isinstance(meta, dict) else {}
    if not is_supported_version(meta.get("api-version")):
        raise UnreadablePage(source, "its page is of an API version that is not known here")
    if not _names_project(top.get("name"), project):
        raise UnreadablePage(source, "its page is that of another project")
    found = clean_status(top.get("project-status"))
    return make_page(
        project,
        files,
        versions=top.get("versions"),
        status=found or clean_status(meta.get("project-status"), meta.get("project-status-reason")),
        source=source,
        meta=unknown_keys(meta, _META_KEYS),
        extra=unknown_keys(top, _PAGE_KEYS),
    )


def _names_project(name: Any, project: ProjectName) -> bool:
    if name is None or name == project:
        return True
    try:
        return isinstance(name, str) and normalize(name) == project
    except ValueError:
        return False


def _examine_file(project: ProjectName, item: Any, base: str) -> File | None:
    if not isinstance(item, dict):
        return None
    url = _resolved_url(base, item.get("url"))
    name = item.get("filename")
    if not isinstance(name, str):
        name = last_segment(url) if url else None
    if url is None or name is None or not _is_file_of(name, project):
        return None
    if only_bad_hashes(item.get("hashes")):
        return None
    candidates = (item.get(key) for key in _METADATA_KEYS)
    return File(
        name,
        url,
        clean_hashes(item.get("hashes")),
        clean_size(item.get("size")),
        clean_text(item.get("requires-python")),
        clean_upload_time(item.get("upload-time")),
        clean_yanked(item.get("yanked")),
        clean_metadata(candidates) if name.endswith(".whl") else False,
        _resolved_url(base, item.get("provenance")),
        unknown_keys(item, _FILE_KEYS),
        (SIGNATURE,) if item.get("gpg-sig") is True else (),
    )


def _is_file_of(name: str, project: ProjectName) -> bool:
    return safe_filename(name) and belongs_to(name, project)


def _resolved_url(base: str, link: Any) -> str | None:
    found = resolve(base, link) if isinstance(link, str) else None
    return found[0] if found else None
