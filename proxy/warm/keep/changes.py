"""Changes of kept files upstream since the last run, lists of them, and the state between runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Literal

import msgspec

from proxy.errors import NoSuchFile
from proxy.model import File, ProjectName, ProjectPage
from proxy.runtime import compress, decompress
from proxy.storage import NO_LONGER_LISTED, Key, RecordKind, Records
from proxy.warm.keep.table import KeptFileKey


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a change list."""

    change: Literal["added", "removed", "yanked"]
    project: str
    filename: str
    digest: str
    """As ``File.address_digest``: the sha256, else ``<algorithm>-<hex>``."""
    reason: str = ""
    """Why the file is yanked, if upstream says so (PEP 592)."""


class KeptFile(msgspec.Struct, frozen=True, array_like=True):
    """A file in the cache, as it was after the last run."""

    project: ProjectName
    filename: str
    digest: str
    key: str = ""
    """In the store; empty for a file that is not in the store, such as a private one."""
    listed: bool = True
    yanked: bool = False

    @property
    def ident(self) -> KeptFileKey:
        return self.project, self.filename, self.digest


Pages = Mapping[ProjectName, ProjectPage | None]
"""Pages that upstream has just confirmed. None: the project no longer exists."""


def compare(
    known: Iterable[KeptFile],
    cached: Mapping[KeptFileKey, str],
    pages: Pages,
    stored: Container[str],
) -> tuple[list[Change], list[KeptFile]]:
    """The changes since the last run, and the files to remember for the next run.

    ``cached`` are the wanted files in the cache with their keys in the store. Files of earlier
    runs (``known``) are remembered while their keys are ``stored``. The files of projects that
    are not in ``pages`` do not change.
    """
    before = {each.ident: each for each in known}
    changes: list[Change] = []
    after: list[KeptFile] = []
    for ident in sorted(before.keys() | cached.keys()):
        old, now = before.get(ident), _now(ident, before, cached, pages)
        changes += _changes(old, now, pages)
        if ident in cached or now.key in stored:
            after.append(now)
    return changes, after


def _now(
    ident: KeptFileKey,
    before: Mapping[KeptFileKey, KeptFile],
    cached: Mapping[KeptFileKey, str],
    pages: Pages,
) -> KeptFile:
    old = before.get(ident, KeptFile(*ident))
    key = cached.get(ident, old.key)
    if ident[0] not in pages:
        return msgspec.structs.replace(old, key=key)
    file = _listed(ident, pages)
    return KeptFile(*ident, key, file is not None, bool(file and file.yanked is not False))


def _changes(old: KeptFile | None, now: KeptFile, pages: Pages) -> Iterator[Change]:
    if now.listed and (old is None or not old.listed):
        yield Change("added", *now.ident)
    if not now.listed and (old is None or old.listed):
        yield Change("removed", *now.ident)
    if now.yanked and (old is None or not old.yanked):
        file = _listed(now.ident, pages)
        reason = file.yanked if file and isinstance(file.yanked, str) else ""
        yield Change("yanked", *now.ident, reason)


def _listed(ident: KeptFileKey, pages: Pages) -> File | None:
    project, filename, digest = ident
    page = pages[project]
    try:
        file = page.file(filename, digest) if page else None
    except NoSuchFile:
        return None
    return None if file and file.yanked == NO_LONGER_LISTED else file


def write_changes(to: Path, changes: Iterable[Change], now: float) -> Path | None:
    """Write the changes as JSON lines into a file, or into a new file in a folder; its path.

    A file is replaced even if there are no changes; a folder then gets no new file. Raises
    ``OSError``; an incomplete list is never left over.
    """
    lines = b"".join(msgspec.json.encode(each) + b"\n" for each in changes)
    if not to.is_dir():
        _replace(to, lines)
        return to
    if not lines:
        return None
    path = _unused(to, datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ"))
    _replace(path, lines)
    return path


def _unused(folder: Path, name: str) -> Path:
    names = (name + (f"-{number}" if number else "") + ".jsonl" for number in count())
    return next(path for path in (folder / each for each in names) if not path.exists())


def _replace(path: Path, content: bytes) -> None:
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class KeepState(msgspec.Struct, frozen=True):
    ran: float = 0.0
    """Unix time in seconds at which the last run began."""
    not_after: float | None = None
    """Unix time in seconds at which a policy may let other files pass than in the last run."""
    files: Sequence[KeptFile] = ()


class KeepStates:
    """The states by ``Keep.owner``; all processes on the cache share them."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self, owner: str) -> KeepState:
        record = await self._records.get(Key(RecordKind.KEEP_STATE, owner))
        try:
            state = decompress(record) if record else b"{}"
            return msgspec.json.decode(state, type=KeepState)
        except (msgspec.MsgspecError, OSError, EOFError):  # written by another version, or damaged
            return KeepState()

    async def put(self, owner: str, state: KeepState) -> None:
        await self._records.put(
            Key(RecordKind.KEEP_STATE, owner), compress(msgspec.json.encode(state))
        )

    async def retain(self, owners: Collection[str]) -> None:
        """Delete the states of all other owners."""
        for key in await self._records.keys(RecordKind.KEEP_STATE):
            if key.owner not in owners:
                await self._records.forget(key)
