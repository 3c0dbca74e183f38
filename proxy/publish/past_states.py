"""The past states of an index, from the changes in its journal.

A file that was copied in by hand has no change that published it: it counts as listed from its
upload-time on, until its first change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from proxy.model import File, Moment, ProjectName, ProjectStatus
from proxy.publish.base import ChangeJournal, KeptPlace
from proxy.publish.package_changes import NO_PROJECT, Action, PackageChange


class PastFile(msgspec.Struct, frozen=True):
    """The state of a filename at some moment."""

    sha256: str = ""
    is_listed: bool = False
    yanked: bool | str | None = False
    """None: as its file says."""
    by_hand: bool = False
    """No change published it: it was listed only if it was there then."""

    def was_listed(self, file: File | None, moment: Moment) -> bool:
        """``file``: as its page lists it now, or would list it; None: its bytes are gone."""
        if not (self.is_listed and self.by_hand):
            return self.is_listed
        at = file.uploaded_at if file else None
        return at is not None and at.timestamp() < moment.at


class PastProject(msgspec.Struct, frozen=True):
    """The state of a project at some moment."""

    files: Mapping[str, PastFile]
    """By filename; those without any change in the journal are missing."""
    status: ProjectStatus | None
    """None: it had none, so it was active."""
    has_status: bool
    """Whether the journal has its status; else it has always been that of today."""

    def file(self, file: File) -> PastFile:
        """The facts about a file that is here now."""
        unchanged = PastFile(file.sha256 or "", is_listed=True, yanked=None, by_hand=True)
        return self.files.get(file.filename, unchanged)


def state_at(changes: Iterable[PackageChange], moment: Moment) -> PastProject:
    """The state of the project whose changes these all are, from the oldest to the newest."""
    files: dict[str, PastFile] = {}
    status: ProjectStatus | None = None
    has_status = False
    for change in changes:
        if change.action is Action.STATUS:
            has_status = True
            status = change.status if moment.counts(change.number, change.at) else status
        elif change.filename:
            before = files.get(change.filename) or _before_any(change)
            counts = moment.counts(change.number, change.at)
            files[change.filename] = _after(before, change) if counts else before
    return PastProject(files, None if status and status.status == "active" else status, has_status)


class Snapshot(msgspec.Struct, frozen=True):
    """A name for what an index showed."""

    name: str
    number: int
    """Of the change that made it: what was changed before counts."""
    at: float
    """Unix time in seconds."""
    actor: str = ""


def snapshots_of(journal: ChangeJournal) -> dict[str, Snapshot]:
    """The snapshots of an index by name, the oldest first. Blocks, and raises ``OSError``."""
    found: dict[str, Snapshot] = {}
    for change in journal.changes_of(NO_PROJECT):
        if change.action is Action.SNAPSHOT:
            new = Snapshot(change.detail, change.number, change.at, change.actor)
            found.setdefault(change.detail, new)  # two may have been made at the same time
        elif change.action is Action.FORGET:
            found.pop(change.detail, None)
    return found


def needed_by_snapshots(journal: ChangeJournal, *projects: ProjectName) -> set[KeptPlace]:
    """The files of the projects that snapshots have. Blocks, and raises ``OSError``."""
    moments = [Moment(each.at, number=each.number) for each in snapshots_of(journal).values()]
    needed = set[KeptPlace]()
    for project in projects if moments else ():
        changes = journal.changes_of(project)
        for moment in moments:
            files = state_at(changes, moment).files
            needed |= {(each.sha256, name) for name, each in files.items() if each.is_listed}
    return needed


def _before_any(first: PackageChange) -> PastFile:
    """The state before the first change of a file."""
    if first.action is Action.PUBLISH:
        return PastFile()
    if first.action is Action.REPLACE:  # the former bytes are unknown
        return PastFile(by_hand=True)
    yanked = {Action.YANK: False, Action.UNYANK: True}.get(first.action)
    return PastFile(first.sha256, is_listed=True, yanked=yanked, by_hand=True)


def _after(before: PastFile, change: PackageChange) -> PastFile:
    match change.action:
        case Action.PUBLISH | Action.REPLACE:
            return PastFile(change.sha256, is_listed=True)
        case Action.YANK:
            return msgspec.structs.replace(before, yanked=change.detail or True)
        case Action.UNYANK:
            return msgspec.structs.replace(before, yanked=False)
        case Action.DELETE:
            return msgspec.structs.replace(before, sha256=change.sha256, is_listed=False)
        case Action.RESTORE:
            return msgspec.structs.replace(
                before, sha256=change.sha256, is_listed=True, by_hand=False
            )
    return before  # the files beside it, or its kept bytes, have changed
