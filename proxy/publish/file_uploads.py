"""Content in a directory: how a file gets its bytes and its name, also if that is interrupted.

The journal notes each change before and after. A change that a kill interrupted is completed, with
all files beside it, if the file has its bytes; else the file is left as it was before.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from proxy.errors import FileConflict
from proxy.model import ProjectName
from proxy.publish.base import Content
from proxy.publish.journal import PackageJournal
from proxy.publish.package_changes import Action, BegunChange, PackageChange
from proxy.publish.package_files import (
    folder_below,
    keep_copy,
    make_folder,
    place,
    put_beside,
    remove_sidecars,
    remove_unfinished,
    sha256_of,
    sidecars_of,
)
from proxy.publish.past_states import needed_by_snapshots


class FileUploads:
    """All methods block, and are called while other writers are kept out."""

    def __init__(self, root: Path, deleted: Path, journal: PackageJournal) -> None:
        """``deleted``: the folder of deleted files, each in a folder of its digest."""
        self._root = root
        self._deleted = deleted
        self._journal = journal

    def make(
        self,
        changes: Sequence[PackageChange],
        content: Content,
        target: Path,
        owners: Sequence[str],
    ) -> list[PackageChange]:
        """The first change is about the file ``target``, and the others belong to it.

        ``owners``: the users to whom the project belongs after it, if it has no owners yet. Returns
        no change if that has become impossible, or needless. Raises ``FileConflict`` and
        ``OSError``.
        """
        change = changes[0]
        if change.action is Action.ATTEST and not target.is_file():
            return []
        make_folder(target.parent)
        if change.action is Action.REPLACE:
            self._keep_for_snapshots(target, change.project)
        begun = self._begin(changes, target, owners)
        try:
            if change.action is Action.ATTEST:
                put_beside(target, content.beside)
            else:
                place(
                    content.path,
                    target,
                    content.beside,
                    replace=change.action is Action.REPLACE,
                )
        except FileExistsError:  # copied in by hand a moment ago
            self._journal.abandon(change.filename)
            if sha256_of(target) == change.sha256:
                return []
            raise FileConflict(change.filename, "published a moment ago") from None
        except OSError:
            with suppress(OSError):  # else the next change does this
                self._undo(target, begun)
            raise
        self._complete(begun)
        return list(changes)

    def finish(self) -> None:
        """Complete or undo the changes during which a process was killed."""
        for folder, begun in self._journal.begun():
            target = self._root / folder / begun.filename
            remove_unfinished(target.parent)
            if begun.action is not Action.ATTEST and _has_bytes(target, begun.sha256):
                self._complete(begun)
            else:
                self._undo(target, begun)

    def _begin(
        self, changes: Sequence[PackageChange], target: Path, owners: Sequence[str]
    ) -> BegunChange:
        begun = BegunChange(
            **msgspec.structs.asdict(changes[0]),
            further=tuple(changes[1:]),
            owners=tuple(owners),
            former=sidecars_of(target),
        )
        self._journal.begin(folder_below(self._root, target), begun)
        return begun

    def _complete(self, begun: BegunChange) -> None:
        is_owned = bool(self._journal.owners(begun.project))
        owners = () if is_owned or begun.action is Action.ATTEST else begun.owners
        self._journal.complete(begun, *begun.further, new_owners=owners)

    def _undo(self, target: Path, begun: BegunChange) -> None:
        """Forget the change, and restore the files beside the file."""
        if not target.exists():
            remove_sidecars(target)
        elif begun.former is not None:
            put_beside(target, begun.former, alone=True)
        self._journal.abandon(begun.filename)

    def _keep_for_snapshots(self, path: Path, project: ProjectName) -> None:
        """Keep a file that is about to be replaced, if a snapshot has it."""
        needed = needed_by_snapshots(self._journal, project)
        digests = {digest for digest, name in needed if name == path.name}
        if digests and (digest := sha256_of(path)) in digests:
            keep_copy(path, self._deleted / digest)


def _has_bytes(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256
