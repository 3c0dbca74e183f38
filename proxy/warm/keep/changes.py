"""What became of kept files upstream since the last run, and how it is written down.

What is remembered of each keep table from one run to the next.
"""

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
from proxy.warm.keep.table import FileKey


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a change list."""

    change: Literal["added", "removed", "yanked"]
    project: str
    filename: str
    digest: str
    """As ``File.digest``: the sha256, else ``<algorithm>-<hex>``."""
    reason: str = ""
    """Why it is yanked, where upstream says so (PEP 592)."""


class KeptFile(msgspec.Struct, frozen=True, array_like=True):
    """A file that was had, as it stood after the last run."""

    project: ProjectName
    filename: str
    digest: str
    key: str = ""
    """In the store; empty for a file that lies elsewhere."""
    listed: bool = True
    yanked: bool = False

    @property
    def ident(self) -> FileKey:
        return self.project, self.filename, self.digest


Pages = Mapping[ProjectName, ProjectPage | None]
"""As upstream has just vouched for them. None: there is no such project any more."""


def compare(
    known: Iterable[KeptFile], had: Mapping[FileKey, str], pages: Pages, stored: Container[str]
) -> tuple[list[Change], list[KeptFile]]:
    """What changed, and how things stand now.

    ``had`` is what is wanted and could be had, with its key in the store. Earlier files are
    remembered while their keys are in ``stored``. Nothing is known of projects without a page here.
    """
    before = {each.ident: each for each in known}
    changes: list[Change] = []
    after: list[KeptFile] = []
    for ident in sorted(before.keys() | had.keys()):
        old, now = before.get(ident), _now(ident, before, had, pages)
        changes += _changes(old, now, pages)
        if ident in had or now.key in stored:
            after.append(now)
    return changes, after


def _now(
    ident: FileKey, before: Mapping[FileKey, KeptFile], had: Mapping[FileKey, str], pages: Pages
) -> KeptFile:
    old = before.get(ident, KeptFile(*ident))
    key = had.get(ident, old.key)
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


def _listed(ident: FileKey, pages: Pages) -> File | None:
    project, filename, digest = ident
    page = pages[project]
    try:
        file = page.file(filename, digest) if page else None
    except NoSuchFile:
        return None
    return None if file and file.yanked == NO_LONGER_LISTED else file


def write_changes(to: Path, changes: Iterable[Change], now: float) -> Path | None:
    """As JSON lines into a file, or into a new one in a folder; where they are now.

    A file is replaced, also by an empty one; in a folder nothing is written if nothing changed.
    Raises ``OSError``; then no half of a list is there.
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
    files: Sequence[KeptFile] = ()


class KeepStates:
    """By owner, see ``Keep``; shared by all processes on the cache."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self, owner: str) -> KeepState:
        record = await self._records.get(Key(RecordKind.KEEP_STATE, owner))
        try:
            return (
                msgspec.json.decode(decompress(record), type=KeepState) if record else KeepState()
            )
        except (msgspec.MsgspecError, OSError, EOFError):  # of another version, or damaged
            return KeepState()

    async def put(self, owner: str, state: KeepState) -> None:
        await self._records.put(
            Key(RecordKind.KEEP_STATE, owner), compress(msgspec.json.encode(state))
        )

    async def retain(self, owners: Collection[str]) -> None:
        """Forget those of nobody of these."""
        for key in await self._records.keys(RecordKind.KEEP_STATE):
            if key.owner not in owners:
                await self._records.forget(key)
