"""Exports of folders of distributions and of caches, and what is in a tree afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import HttpUrl

from proxy.composition.proxy import Proxy, open_proxy
from proxy.config.loading import load_settings
from proxy.export.export import ExportOptions, ExportResult, export
from proxy.export.file_list import open_directory
from proxy.export.selection import ExportSelection
from proxy.export.tree import STATE_FOLDER, Tree
from proxy.indexes.base import Index
from proxy.model import ProjectName
from tests.support.content import read_blob
from tests.support.distributions import make_wheel, spelled
from tests.support.upstream import Upstream

FOO = ProjectName("foo")
BAR = ProjectName("bar")


def described(
    folder: Path, name: str, version: str, text: str, content_type: str = "", **fields: str
) -> Path:
    """A wheel with a description; ``fields`` are headers, with underscores for dashes."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Description-Content-Type: {content_type}"] if content_type else []
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in fields.items()]
    metadata = "\n".join(lines) + "\n\n" + text
    member = f"{spelled(name)}-{version}.dist-info/METADATA"
    return make_wheel(folder, name, version, files={member: metadata.encode()})


async def export_folder(
    source: Path,
    root: Path,
    form: ExportOptions | None = None,
    selection: ExportSelection | None = None,
    *,
    verify: bool = False,
) -> ExportResult:
    async with open_directory(source) as index:
        return await export(index, Tree(root, verify=verify), form or ExportOptions(), selection)


async def export_index(
    index: Index,
    root: Path,
    form: ExportOptions | None = None,
    selection: ExportSelection | None = None,
) -> ExportResult:
    return await export(index, Tree(root), form or ExportOptions(), selection)


def content(root: Path) -> dict[str, bytes]:
    """All files of a tree by path, but for what is kept about it."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] != STATE_FOLDER
    }


def reproducible(root: Path) -> dict[str, bytes]:
    """All files of a tree but those that say when it was exported."""
    return {name: data for name, data in content(root).items() if not name.startswith("changes/")}


def inodes(root: Path) -> dict[str, int]:
    """The inode of each file; a file that is written again has another."""
    return {name: (root / name).lstat().st_ino for name in content(root)}


@asynccontextmanager
async def cached(
    folder: Path, upstream: Upstream, *, offline: bool = False, **more: Any
) -> AsyncIterator[Proxy]:
    """All indexes on a cache in that folder, with only cached files listed if ``offline``."""
    flags = {"upstream": HttpUrl(upstream.url), "cache_dir": folder / "cache", "netrc": False}
    async with open_proxy(load_settings({**flags, "offline": offline, **more}).settings) as proxy:
        yield proxy


async def fetch(proxy: Proxy, project: ProjectName, *suffixes: str) -> None:
    """Have all files of the project in the cache, with these of their siblings."""
    for file in (await proxy.index.page(project)).files:
        for suffix in ("", *suffixes):
            artifact = await proxy.index.file(project, file.filename + suffix, file.address_digest)
            await read_blob(artifact.blob)
