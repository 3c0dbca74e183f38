"""Project pages in JSON (PEP 691).

A page as PyPI sends it is decoded into types by C code, and little is left to look at. Any
other is decoded untyped and each value examined; both ways mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from proxy.errors import UnreadablePage
from proxy.model import File, ProjectName, ProjectPage
from proxy.simple import names, sanitize
from proxy.simple.addresses import PLAIN, last_segment, resolve
from proxy.simple.page import make_page


class _Sha256(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    sha256: str


class _File(msgspec.Struct, gc=False, forbid_unknown_fields=True, rename="kebab"):
    filename: str
    url: str
    hashes: _Sha256
    requires_python: str | None = None
    core_metadata: bool | _Sha256 | None = None
    data_dist_info_metadata: bool | _Sha256 | None = None
    size: Annotated[int, Meta(ge=0, le=sanitize.LARGEST)] | None = None
    upload_time: str | None = None
    yanked: bool | str | None = None
    provenance: str | None = None


class _Page(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    files: list[_File]
    meta: Any = None
    name: Any = None
    versions: Any = None
    project_status: Any = None
    alternate_locations: Any = None


_TYPED = msgspec.json.Decoder(_Page)
MANY = 300
"""Files of a page from which on a search made for its project is worth the making."""

_DROPPED = ("tracks", "alternate-locations", "namespaces", "gpg-sig")
_PAGE_KEYS = frozenset(("meta", "name", "versions", "project-status", "files", *_DROPPED))
_META_KEYS = frozenset(("api-version", "project-status", "project-status-reason", *_DROPPED))
_METADATA_KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
_FILE_KEYS = frozenset((*_File.__struct_encode_fields__, *_METADATA_KEYS, *_DROPPED))


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
    return top, [file for file in _typed(project, page.files, base) if file]


def _is_named(name: Any, project: ProjectName) -> bool:
    if name is None or name == project:
        return True
    try:
        return isinstance(name, str) and names.normalize(name) == project
    except ValueError:
        return False


def _typed(project: ProjectName, files: list[_File], base: str) -> Iterator[File | None]:
    """Takes ordinary files as they are, and has the others examined.

    One search a file, over all that has to be looked at, takes a third of the time of one
    for each value.
    """
    ordinary = _ordinary(project) if len(files) >= MANY else _ordinary_in_two(project)
    shared: dict[str, str] = {}  # a page has few different ones, thousands of times
    for file in files:
        digest = file.hashes.sha256
        metadata = file.core_metadata
        if metadata is None:
            metadata = file.data_dist_info_metadata
        hashed = metadata if isinstance(metadata, _Sha256) else None
        other = hashed.sha256 if hashed else digest
        time, provenance = file.upload_time or "", file.provenance or ""
        if not ordinary(f"{file.filename}\n{file.url}\n{digest}\n{other}\n{time}\n{provenance}"):
            yield _examined(project, msgspec.to_builtins(file), base)
            continue
        yield File(
            file.filename,
            file.url,
            {"sha256": digest},
            file.size,
            shared.setdefault(file.requires_python, file.requires_python)
            if file.requires_python
            else None,
            time or None,
            file.yanked or False,
            ({"sha256": other} if hashed else metadata is True)
            if file.filename.endswith(".whl")
            else False,
            provenance or None,
        )


@lru_cache(maxsize=64)
def _ordinary(project: ProjectName) -> Callable[[str], object]:
    """Whether the lines that ``_typed`` makes of a file have nothing to look into.

    No part can hold a line break, so that none can pass for another.
    """
    return re.compile(rf"{names.ordinary(project)}\n{_described()}\Z").match


def _ordinary_in_two(project: ProjectName) -> Callable[[str], object]:
    """The same in two steps: to make a search for the project would take longer than these."""
    return lambda lines: (
        _DESCRIBED.match(lines) and names.is_ordinary(lines.partition("\n")[0], project)
    )


def _described() -> str:
    """A pattern of the lines after the name."""
    digest = "[0-9a-f]{64}"
    day = (  # 29 February is examined
        "(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
        "|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    )
    clock = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?Z"
    time = f"(?:20[0-9]{{2}}-{day}T{clock})?"
    return "\n".join((PLAIN, digest, digest, time, f"(?:{PLAIN})?"))


_DESCRIBED = re.compile(rf"[^\n]*\n{_described()}\Z")


def _examined(project: ProjectName, item: Any, base: str) -> File | None:
    if not isinstance(item, dict):
        return None
    url = _address(base, item.get("url"))
    name = item.get("filename")
    if not isinstance(name, str):
        name = last_segment(url) if url else None
    if url is None or name is None or not _wanted(name, project):
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
