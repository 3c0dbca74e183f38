"""Indexes for one export: a list of files that are elsewhere, or a bare directory.

A line of a list is a file name, or a JSON object. Its keys are those of a file in the Simple API
(PEP 691), with dashes or underscores, and those of common file lists of static indexes:
``hash``, ``upload_timestamp``, ``yanked_reason``. Nothing of a directory is stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Set
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from proxy.distributions import parse_filename
from proxy.errors import NoSuchFile, NoSuchProject, ProxyError
from proxy.events import Events
from proxy.export.simple_pages import flat_url
from proxy.indexes import CheckFile, Explanation, LocalDirectory, Step
from proxy.model import Artifact, File, ProjectName, ProjectPage
from proxy.releases import version_key
from proxy.simple import (
    clean_hashes,
    clean_size,
    clean_upload_time,
    clean_yanked,
    last_segment,
    make_page,
    resolve,
)
from proxy.storage import MemoryRecords

T = TypeVar("T")


class InvalidFileList(ProxyError):
    """The file list cannot be read, or a line of it is invalid."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(path, line, problem)
        self.path = path
        self.line = line
        """Counted from 1; 0: the whole file."""
        self.problem = problem

    def __str__(self) -> str:
        where = f"{self.path}, line {self.line}" if self.line else str(self.path)
        return f"{where}: {self.problem}"


class _ListedFile(msgspec.Struct):
    filename: str
    url: str | None = None
    hash: str | None = None
    hashes: dict[str, str] = {}
    size: int | None = None
    requires_python: str | None = None
    upload_time: str | None = None
    upload_timestamp: float | None = None
    """Unix time in seconds."""
    yanked: bool | str | None = None
    yanked_reason: str | None = None
    core_metadata: bool | str | dict[str, str] | None = None


class FileListIndex:
    """An index with the pages of listed files. It has no file contents."""

    name = "names"

    def __init__(self, files: Iterable[tuple[ProjectName, str, File]]) -> None:
        """``files``: project, version and file; of two files of a name the later one counts."""
        found: dict[ProjectName, dict[str, tuple[str, File]]] = {}
        for project, version, file in files:
            found.setdefault(project, {})[file.filename] = (version, file)
        self._pages = {project: _make_page(project, listed) for project, listed in found.items()}

    async def projects(self) -> Set[ProjectName]:
        return self._pages.keys()

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        if project not in self._pages:
            raise NoSuchProject(project)
        return self._pages[project]

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        raise NoSuchFile(project, filename, "it is listed, but is elsewhere")

    async def explain(self, project: ProjectName) -> Explanation:
        page = self._pages.get(project)
        step = Step(self.name, "names", "answers" if page else "absent")
        return Explanation(steps=(step,), page=page, listed=page)


def read_file_list(path: Path, base: str | None) -> FileListIndex:
    """Read a list; a file without ``url`` is in the folder ``base``.

    Raises ``InvalidFileList``. Blocks on the disk.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InvalidFileList(path, 0, f"cannot be read: {error.strerror}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_parse_line(line, base))
            except (msgspec.MsgspecError, ValueError) as error:
                raise InvalidFileList(path, number, str(error)) from None
    return FileListIndex(found)


def _parse_line(text: bytes, base: str | None) -> tuple[ProjectName, str, File]:
    """Raises ``ValueError`` for values that a client could not use."""
    keys: dict[str, Any] = {"filename": text.strip().decode(errors="replace")}
    if text.lstrip().startswith(b"{"):
        keys = msgspec.json.decode(text, type=dict[str, Any])
    line = msgspec.convert({key.replace("-", "_"): keys[key] for key in keys}, _ListedFile)
    identity = parse_filename(line.filename)
    if identity is None:
        raise ValueError(f"{line.filename!r} names no project and version")
    file = File(
        line.filename,
        _file_url(line, base),
        _valid_hashes("hash", {**line.hashes, **_hash_pair(line.hash or "")}),
        _require_valid("size", line.size, clean_size(line.size)),
        _requires_python(line.requires_python),
        _upload_time(line),
        clean_yanked(line.yanked_reason or line.yanked),
        _core_metadata(line.core_metadata),
    )
    return identity.project, identity.version, file


def _file_url(line: _ListedFile, base: str | None) -> str:
    if line.url is None:
        if base is None:
            raise ValueError("it has no url, and there is no --base-url")
        return flat_url(base, line.filename)
    found = resolve(base or "", line.url)
    if found is None or last_segment(found[0]) != line.filename:
        raise ValueError("url is not an address that ends in the filename")
    return found[0]


def _hash_pair(text: str) -> dict[str, str]:
    """``sha256=…`` or ``sha256:…``."""
    if not text:
        return {}
    name, _, digest = text.replace(":", "=", 1).partition("=")
    return {name: digest}


def _requires_python(text: str | None) -> str | None:
    try:
        return str(SpecifierSet(text)) and text if text else None
    except InvalidSpecifier:
        raise ValueError(f"requires-python is not a specifier: {text!r}") from None


def _upload_time(line: _ListedFile) -> str | None:
    if line.upload_timestamp is not None:
        try:
            moment = datetime.fromtimestamp(line.upload_timestamp, UTC)
        except (OverflowError, OSError, ValueError):
            raise ValueError("upload_timestamp is not a Unix time in seconds") from None
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return _require_valid("upload-time", line.upload_time, clean_upload_time(line.upload_time))


def _core_metadata(value: bool | str | dict[str, str] | None) -> bool | Mapping[str, str]:
    if isinstance(value, bool) or value is None:
        return value or False
    return _valid_hashes("core-metadata", _hash_pair(value) if isinstance(value, str) else value)


def _valid_hashes(key: str, given: Mapping[str, str]) -> Mapping[str, str]:
    found = clean_hashes(given)
    if len(found) < len(given):
        raise ValueError(f"{key} is malformed: {dict(given)}")
    return found


def _require_valid(key: str, given: T | None, found: T | None) -> T | None:
    if given is not None and found is None:
        raise ValueError(f"{key} is malformed: {given!r}")
    return found


def _make_page(project: ProjectName, listed: Mapping[str, tuple[str, File]]) -> ProjectPage:
    ordered = sorted(listed.values(), key=lambda one: (*version_key(one[0]), one[1].filename))
    versions = list(dict.fromkeys(version for version, _ in ordered))
    files = [file for _, file in ordered]
    return make_page(project, files, versions=versions, status=None, source=FileListIndex.name)


@asynccontextmanager
async def open_directory(root: Path, *, legacy: bool = False) -> AsyncIterator[LocalDirectory]:
    """The directory as it is now; legacy formats only if ``legacy``."""
    records = MemoryRecords()
    found = LocalDirectory(
        root.name or str(root), root, records, Events(), legacy=legacy, watch=False
    )
    await found.open()
    try:
        yield found
    finally:
        await found.close()
