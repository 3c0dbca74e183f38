"""A list of files that live elsewhere, one in each line, as an index without bytes.

A line is a file name, or a JSON object. Its keys are those of a file in the Simple API (PEP 691),
with dashes or underscores, and those of lists as they are common for static indexes: ``hash``,
``upload_timestamp``, ``yanked_reason``.

A bare directory of distributions as an index, for one run: nothing of it is remembered.
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
from proxy.export.selection import rank
from proxy.export.simple_pages import flat_address
from proxy.indexes import CheckFile, LocalDirectory
from proxy.model import Artifact, File, ProjectName, ProjectPage
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


class UnreadableNames(ProxyError):
    """A line of the list is not what it should be."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(path, line, problem)
        self.path = path
        self.line = line
        """Counted from 1; 0: the file as a whole."""
        self.problem = problem

    def __str__(self) -> str:
        where = f"{self.path}, line {self.line}" if self.line else str(self.path)
        return f"{where}: {self.problem}"


class _Line(msgspec.Struct):
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


class Listing:
    """Pages of what is listed. No file can be had from it."""

    name = "names"

    def __init__(self, files: Iterable[tuple[ProjectName, str, File]]) -> None:
        """Projects, versions and files; of two files of a name the later counts."""
        found: dict[ProjectName, dict[str, tuple[str, File]]] = {}
        for project, version, file in files:
            found.setdefault(project, {})[file.filename] = (version, file)
        self._pages = {project: _page(project, listed) for project, listed in found.items()}

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
        raise NoSuchFile(project, filename, "it is only listed")


def read_names(path: Path, base: str | None) -> Listing:
    """The files of the list, at ``base`` where a line names no ``url``.

    Raises ``UnreadableNames``. Blocks on the disk.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UnreadableNames(path, 0, f"cannot be read: {error.strerror}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_read(line, base))
            except (msgspec.MsgspecError, ValueError) as error:
                raise UnreadableNames(path, number, str(error)) from None
    return Listing(found)


def _read(line: bytes, base: str | None) -> tuple[ProjectName, str, File]:
    """Raises ``ValueError`` for what a client would stumble over."""
    keys: dict[str, Any] = {"filename": line.strip().decode(errors="replace")}
    if line.lstrip().startswith(b"{"):
        keys = msgspec.json.decode(line, type=dict[str, Any])
    said = msgspec.convert({key.replace("-", "_"): keys[key] for key in keys}, _Line)
    identity = parse_filename(said.filename)
    if identity is None:
        raise ValueError(f"{said.filename!r} names no project and version")
    file = File(
        said.filename,
        _address(said, base),
        _hashes("hash", {**said.hashes, **_pair(said.hash or "")}),
        _checked("size", said.size, clean_size(said.size)),
        _specifier(said.requires_python),
        _moment(said),
        clean_yanked(said.yanked_reason or said.yanked),
        _metadata(said.core_metadata),
    )
    return identity.project, identity.version, file


def _address(said: _Line, base: str | None) -> str:
    if said.url is None:
        if base is None:
            raise ValueError("it has no url, and there is no --base-url")
        return flat_address(base, said.filename)
    found = resolve(base or "", said.url)
    if found is None or last_segment(found[0]) != said.filename:
        raise ValueError("url is not an address that ends in the filename")
    return found[0]


def _pair(text: str) -> dict[str, str]:
    """``sha256=…`` or ``sha256:…``."""
    if not text:
        return {}
    name, _, digest = text.replace(":", "=", 1).partition("=")
    return {name: digest}


def _specifier(text: str | None) -> str | None:
    try:
        return str(SpecifierSet(text)) and text if text else None
    except InvalidSpecifier:
        raise ValueError(f"requires-python is not a specifier: {text!r}") from None


def _moment(said: _Line) -> str | None:
    if said.upload_timestamp is not None:
        try:
            moment = datetime.fromtimestamp(said.upload_timestamp, UTC)
        except (OverflowError, OSError, ValueError):
            raise ValueError("upload_timestamp is not a Unix time in seconds") from None
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return _checked("upload-time", said.upload_time, clean_upload_time(said.upload_time))


def _metadata(value: bool | str | dict[str, str] | None) -> bool | Mapping[str, str]:
    if isinstance(value, bool) or value is None:
        return value or False
    return _hashes("core-metadata", _pair(value) if isinstance(value, str) else value)


def _hashes(key: str, told: Mapping[str, str]) -> Mapping[str, str]:
    found = clean_hashes(told)
    if len(found) < len(told):
        raise ValueError(f"{key} is malformed: {dict(told)}")
    return found


def _checked(key: str, told: T | None, found: T | None) -> T | None:
    if told is not None and found is None:
        raise ValueError(f"{key} is malformed: {told!r}")
    return found


def _page(project: ProjectName, listed: Mapping[str, tuple[str, File]]) -> ProjectPage:
    ordered = sorted(listed.values(), key=lambda one: (*rank(one[0]), one[1].filename))
    versions = list(dict.fromkeys(version for version, _ in ordered))
    files = [file for _, file in ordered]
    return make_page(project, files, versions=versions, status=None, source=Listing.name)


@asynccontextmanager
async def open_directory(root: Path, *, legacy: bool = False) -> AsyncIterator[LocalDirectory]:
    """The directory as it is now; files of the kinds of old only if ``legacy``."""
    records = MemoryRecords()
    found = LocalDirectory(
        root.name or str(root), root, records, Events(), legacy=legacy, watch=False
    )
    await found.open()
    try:
        yield found
    finally:
        await found.close()
