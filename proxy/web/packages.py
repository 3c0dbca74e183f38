"""``/packages/…/<filename>``: addresses of files as PyPI has them, for lock files made against it.

In such a lock file only the host has to be replaced. The folders of the address are a digest of
the file (``/packages/aa/bb/<the rest>/``: BLAKE2b with 256 bits, formerly MD5), or, in old ones,
name the project (``/packages/source/f/foo/``). The file name says which project is meant, whose
page decides, as always, whether the file is there and may be fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiohttp import web

from proxy.access import Scope
from proxy.distributions import belongs_to, parse_filename, safe_filename, split_readings
from proxy.errors import NoSuchFile, NotFound
from proxy.indexes import Index
from proxy.model import Artifact, ProjectName, distribution_of, new_hash, normalize
from proxy.runtime import BoundedDict
from proxy.web.authentication import require
from proxy.web.files import FileHandler
from proxy.web.request_state import REQUEST_STATE
from proxy.web.response_cache import ResponseCache

_DIGEST_FOLDERS = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/(?:[0-9a-f]{28}|[0-9a-f]{60})\Z")
_BY_PROJECT = re.compile(r"[a-z0-9][a-z0-9.]{1,20}/[A-Za-z0-9]/([A-Za-z0-9._-]{1,255})\Z")
_DIGEST_IN_URL = re.compile(r"/([0-9a-f]{2}/[0-9a-f]{2}/(?:[0-9a-f]{28}|[0-9a-f]{60}))/[^/]+\Z")
_ALGORITHMS = {32: "md5", 64: "blake2b"}
"""By the number of hexadecimal digits."""
MAX_READINGS = 8
"""Projects that are considered for the name of an old sdist."""
MAX_DIGESTS = 10_000
"""Files of which another digest than their sha256 is remembered."""


class NoSuchAddress(NotFound):
    def __str__(self) -> str:
        return f"no file at this address: {self.args[0]}"


class Packages:
    """Handler of the addresses of one index."""

    def __init__(self, index: Index, files: FileHandler, cache: ResponseCache) -> None:
        self._index = index
        self._files = files
        self._cache = cache
        self._digests: BoundedDict[tuple[str, str], str] = BoundedDict(MAX_DIGESTS)

    async def file(self, request: web.Request) -> web.StreamResponse:
        state = request[REQUEST_STATE]
        state.index = self._index.name
        filename, folders = request.match_info["filename"], request.match_info["folders"]
        project = state.project = await self._project(folders, filename)
        require(request, Scope.READ, self._index.name, project)
        state.changes = self._cache.changes(project)
        artifact = await self._index.file(project, filename)
        if digest := _digest(folders):
            await self._check(project, artifact, digest)
        state.digest = artifact.file.address_digest
        return await self._files.answer(request, artifact, state.digest if digest else "-")

    async def _project(self, folders: str, filename: str) -> ProjectName:
        """Raises ``NoSuchAddress``."""
        owner = distribution_of(filename)
        if not safe_filename(filename):
            raise NoSuchAddress("its file name is not one of a distribution")
        if named := _BY_PROJECT.match(folders):
            if belongs_to(owner, found := _normalized(named[1])):
                return found
            raise NoSuchAddress("its file name is not one of the project in it")
        if not _DIGEST_FOLDERS.match(folders):
            raise NoSuchAddress("its folders are neither a digest nor name a project")
        parsed = parse_filename(owner)
        if parsed is None:
            raise NoSuchAddress("its file name names no project")
        return parsed.project if parsed.certain else await self._listing(owner, parsed.project)

    async def _listing(self, filename: str, likeliest: ProjectName) -> ProjectName:
        """The project that lists the file, of all that its name can be read as.

        Asks no upstream: a guess must not carry a private name there.
        """
        for project in _readings(filename):
            known = await self._index.explain(project)
            if known.listed and any(file.filename == filename for file in known.listed.files):
                return project
        return likeliest

    async def _check(self, project: ProjectName, artifact: Artifact, digest: str) -> None:
        """Raises ``NoSuchFile`` if the digest is that of other bytes."""
        found = _listed_digest(artifact, digest) or await self._computed(artifact, digest)
        if found != digest:
            filename = artifact.file.filename
            raise NoSuchFile(project, filename, "the index lists other bytes than the address")

    async def _computed(self, artifact: Artifact, digest: str) -> str:
        """The digest of the bytes, where the index does not say it: they are fetched for that."""
        key = artifact.file.address_digest, _ALGORITHMS[len(digest)]
        if (known := self._digests.get(key)) is None or artifact.file.sha256 is None:
            computing = new_hash(key[1])
            async for piece in artifact.blob.chunks():
                computing.update(piece)
            known = self._digests[key] = computing.hexdigest()
        return known


def _digest(folders: str) -> str:
    """The digest that the folders are; empty for others."""
    return folders.replace("/", "") if _DIGEST_FOLDERS.match(folders) else ""


def _listed_digest(artifact: Artifact, digest: str) -> str | None:
    """The digest of that kind by the page: in its hashes, or in the file's address upstream."""
    if known := artifact.file.hashes.get(_ALGORITHMS[len(digest)]):
        return known
    found = _DIGEST_IN_URL.search(artifact.file.url.partition("?")[0])
    listed = found[1].replace("/", "") if found else ""
    return listed if len(listed) == len(digest) else None


def _readings(filename: str) -> Iterator[ProjectName]:
    readings = dict.fromkeys(name for name, rest in split_readings(filename) if rest)
    yield from list(readings)[:MAX_READINGS]


def _normalized(name: str) -> ProjectName:
    """Raises ``NoSuchAddress``."""
    try:
        return normalize(name)
    except ValueError:
        raise NoSuchAddress("it names no project") from None
