"""Caches filled from a fake index, and bundles of them carried into others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.bundle.bundle_selection import BundleSelection, select_everything
from proxy.bundle.compare import Comparison
from proxy.bundle.importer import ImportRules, import_bundle
from proxy.bundle.reader import Bundle, ByteSource
from proxy.bundle.writer import CreatedBundle, create_bundle
from proxy.composition.cache import open_cache
from proxy.composition.proxy import open_proxy
from proxy.composition.upstream_connections import mirrored
from proxy.config.settings import Settings
from proxy.model import METADATA, PROVENANCE, ProjectName
from proxy.storage.keys import RecordKind
from proxy.upstream.answers import UpstreamOrigin
from tests.support.content import read_blob
from tests.support.distributions import make_sdist, make_wheel
from tests.support.fork_server import ROOT, Finished, run_forked
from tests.support.stored import stored_keys, stored_path
from tests.support.upstream import Upstream

PROOF = {"version": 1, "attestation_bundles": []}


def settings(cache: Path, upstream: str, **more: Any) -> Settings:
    return Settings(cache_dir=cache, upstream=upstream, netrc=False, **more)


def stock(upstream: Upstream, folder: Path) -> None:
    """Three projects: wheels with metadata, an sdist, provenance, and an index with md5 only."""
    upstream.add(make_wheel(folder, "alpha", "1.0", requires=["beta"]), provenance=PROOF)
    upstream.add(make_sdist(folder, "alpha", "1.0", requires=["beta"]))
    upstream.add(make_wheel(folder, "beta", "1.0"))
    upstream.add(make_wheel(folder, "gamma", "1.0"), hashes=("md5",), metadata=False)


async def fill(cache: Path, upstream: Upstream, *projects: str, skip: str = " ") -> None:
    """Read everything of the projects through the proxy, but files with ``skip`` in the name."""
    now = settings(cache, upstream.url, stale_while_revalidate=0, soft_deadline=60)
    async with open_proxy(now) as proxy:  # what upstream lists now, not what is stored
        for each in projects:
            project = ProjectName(each)
            for file in (await proxy.index.page(project)).files:
                if skip in file.filename:
                    continue
                await read_blob((await proxy.index.file(project, file.filename)).blob)
                for suffix in (METADATA, PROVENANCE):
                    if file.metadata if suffix is METADATA else file.provenance:
                        beside = await proxy.index.file(project, file.filename + suffix)
                        await read_blob(beside.blob)


def peak(*arguments: str | Path) -> int:
    """The most memory in bytes that ``waystation bundle`` ever had; its parent's does not count."""
    code = "import atexit, pathlib; from proxy.cli import main; "
    code += "status = pathlib.Path('/proc/self/status'); "
    code += "atexit.register(lambda: print(status.read_text())); main()"
    command = [sys.executable, "-c", code, "bundle", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return int(re.findall(r"VmHWM:\s+(\d+) kB", done.stdout)[0]) * 1024


async def offline(cache: Path, upstream: str) -> dict[str, bytes]:
    """Every page and every file that an offline proxy lists and serves, by request."""
    found: dict[str, bytes] = {}
    async with open_proxy(settings(cache, upstream, offline=True)) as proxy:
        for project in await proxy.index.projects():
            page = await proxy.index.page(project)
            found[project] = b""
            for file in page.files:
                names = [file.filename]
                names += [file.filename + METADATA] if file.metadata else []
                names += [file.filename + PROVENANCE] if file.provenance else []
                for name in names:
                    artifact = await proxy.index.file(project, name, file.address_digest)
                    found[name] = await read_blob(artifact.blob)
    return found


@contextmanager
def quiet(total: int) -> Iterator[Callable[[int], None]]:
    yield lambda size: None


async def create(
    cache: Path,
    upstream: str,
    path: Path,
    *,
    using: Mapping[str, Any] | None = None,
    origins: Sequence[UpstreamOrigin] = (),
    selection: BundleSelection | None = None,
    **options: Any,
) -> CreatedBundle:
    """All of the cache, or what is selected. ``using``: more settings."""
    chosen = settings(cache, upstream, **using or {})
    found = origins or list(mirrored(chosen).values())
    async with open_cache(chosen) as opened:
        namespaces = [origin.namespace for origin in found]
        wanted = selection or await select_everything(opened.records, namespaces)
        return await create_bundle(opened, found, wanted, path, quiet, **options)


async def take(
    cache: Path,
    upstream: str,
    path: Path,
    *,
    trusted: frozenset[str] = frozenset(),
    tell: Callable[[int], None] = lambda size: None,
    **rules: Any,
) -> Comparison:
    """Import."""
    chosen = settings(cache, upstream)
    rules = {"here": list(mirrored(chosen).values()), **rules}
    with path.open("rb", buffering=0) as stream:
        bundle = Bundle(ByteSource(stream, hashed="expected" in rules), trusted)
        async with open_cache(chosen) as opened:
            return await import_bundle(opened, bundle, ImportRules(**rules), tell)


@dataclass(frozen=True, repr=False)
class Near:
    """The cache and the bundle to import; no server listens at ``upstream`` any more."""

    cache: Path
    upstream: str
    bundle: Path
    created: CreatedBundle
    served: Mapping[str, bytes]
    """What an offline proxy on the cache serves."""

    @property
    def data(self) -> bytes:
        return self.bundle.read_bytes()


async def make_near(folder: Path) -> Near:
    return await _made(folder, stock)


async def make_large(folder: Path, size: int) -> Near:
    """Three wheels of ``size`` bytes."""

    def add(upstream: Upstream, dists: Path) -> None:
        for name in ("alpha", "beta", "gamma"):
            upstream.add(make_wheel(dists, name, "1.0", padding=size))

    return await _made(folder, add, with_content=False)


async def _made(
    folder: Path, add: Callable[[Upstream, Path], None], *, with_content: bool = True
) -> Near:
    cache, bundle = folder / "cache", folder / "all.bundle"
    async with Upstream() as upstream:
        add(upstream, folder / "dists")
        await fill(cache, upstream, "alpha", "beta", "gamma")
    created = await create(cache, upstream.url, bundle)
    served = await offline(cache, upstream.url) if with_content else {}
    return Near(cache, upstream.url, bundle, created, served)


async def seen(cache: Path) -> dict[str, bytes]:
    """What is in a cache for anybody to see: records by key, and files."""
    async with open_cache(settings(cache, "http://127.0.0.1:1/simple/")) as opened:
        kinds = [kind for kind in RecordKind if kind.is_carried]
        keys = [key for kind in kinds for key in await opened.records.keys(kind)]
        found: dict[str, bytes] = {key: await opened.records.get(key) or b"" for key in keys}
        files = {
            key: stored_path(opened.folder / "blob", key).read_bytes()
            for key in stored_keys(opened.folder / "blob")
        }
    return found | files


def run(*arguments: str | Path, status: int = 0, **environ: str) -> Finished:
    """``waystation bundle`` as a process of its own."""
    done = run_forked(["bundle", *arguments], os.environ | environ, ROOT)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done
