"""Changes of the files in a directory, planned in its journal before they are made.

After a kill all that was planned is made, so that a change of many files happens as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from proxy.errors import reason
from proxy.model import STATUS_FILE, YANKED_SUFFIX
from proxy.publish.journal import PackageJournal
from proxy.publish.package_changes import Action, PackageChange
from proxy.publish.package_files import (
    bring_back,
    make_folder,
    move_with_sidecars,
    remove_durably,
    remove_with_sidecars,
    write_durably,
)

_log = logging.getLogger(__name__)

FileStep = tuple[str, PackageChange]
"""The folder of the file or project, below the root of the directory, and the change."""


class FileChanges:
    """All methods block, and are called while other writers are kept out."""

    def __init__(self, root: Path, deleted: Path, journal: PackageJournal) -> None:
        """``deleted``: the folder of deleted files, each in a folder of its digest."""
        self._root = root
        self._deleted = deleted
        self._journal = journal

    def make(self, steps: Sequence[FileStep]) -> list[PackageChange]:
        """Make changes in their order; returns those that were possible.

        After an error the rest is not made. Raises ``OSError``.
        """
        self._journal.plan(steps)
        return self._carry_out(again=False)

    def finish(self) -> None:
        """Make what was planned when its process was killed."""
        try:
            self._carry_out(again=True)
        except OSError as error:
            _log.error("changes that a kill had interrupted cannot be made: %s", reason(error))

    def _carry_out(self, *, again: bool) -> list[PackageChange]:
        """``again``: the first change may have been made already."""
        made, left = [], self._journal.planned()
        try:
            while left:
                position, folder, change = left[0]
                done = self._act(self._root / folder, change, again=again)
                self._journal.close_planned(position, *([change] if done else []))
                made += [change] if done else []
                del left[0]
        except OSError:
            for position, _, _ in left:
                self._journal.close_planned(position)
            raise
        return made

    def _act(self, folder: Path, change: PackageChange, *, again: bool) -> bool:
        """Change files; False if they do not allow it."""
        path, kept = folder / change.filename, self._deleted / change.sha256 / change.filename
        match change.action:
            case Action.STATUS:
                _write_status(folder, change)
            case Action.YANK if path.is_file():
                write_durably(_mark(path), change.detail.encode())
            case Action.UNYANK if path.is_file():
                remove_durably(_mark(path))
            case Action.DELETE if path.is_file() or (again and kept.is_file()):
                move_with_sidecars(path, kept.parent)
            case Action.RESTORE if kept.is_file() and not path.exists():
                make_folder(folder)
                bring_back(kept.parent, change.filename, path)
            case Action.REMOVE if kept.is_file():
                remove_with_sidecars(kept)
            case Action.RESTORE | Action.REMOVE:
                return again and (change.action is Action.REMOVE or path.is_file())
            case _:
                return False
        return True


def _mark(path: Path) -> Path:
    return path.with_name(path.name + YANKED_SUFFIX)


def _write_status(folder: Path, change: PackageChange) -> None:
    make_folder(folder)
    if change.status.status == "active":
        remove_durably(folder / STATUS_FILE)
    else:
        write_durably(folder / STATUS_FILE, msgspec.json.encode(change.status))
