"""All steps so far, folded into what they make together: the journal, and what is published.

A step is applied on the event loop; reading methods may run in threads at the same time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from proxy.model import ProjectName, ProjectStatus
from proxy.publish.base import KeptPlace
from proxy.publish.objects.steps import ChangeStep, StoredFile
from proxy.publish.package_changes import NO_PROJECT, Action, PackageChange
from proxy.publish.past_states import needed_by_snapshots


class PublishedFile(msgspec.Struct, frozen=True, gc=False):
    """A file that is listed, or that was and is kept."""

    change: PackageChange
    """That published it."""
    stored: StoredFile
    yanked: bool | str = False
    """As ``File.yanked``."""
    deletion: PackageChange | None = None
    """That took it away; None also for a file that was replaced."""


class PublishedProject(msgspec.Struct, gc=False):
    """Every name that was ever changed has one, and stays private."""

    files: dict[str, PublishedFile] = {}
    """The listed ones by filename."""
    deleted: dict[KeptPlace, PublishedFile] = {}
    """Those that can be restored."""
    replaced: dict[KeptPlace, PublishedFile] = {}
    """Former bytes of names: kept as long as a snapshot has them."""
    status: ProjectStatus | None = None
    """None: active."""
    owners: tuple[str, ...] = ()
    is_claimed: bool = False


class Folded:
    """A ``ChangeJournal``; none of its methods waits for the store."""

    def __init__(self) -> None:
        self.number = 0
        """Of the last change."""
        self.published: dict[ProjectName, PublishedProject] = {}
        self.steps: list[ChangeStep] = []
        self._changes: list[PackageChange] = []
        self._of_file: defaultdict[str, list[PackageChange]] = defaultdict(list)
        self._of_project: defaultdict[ProjectName, list[PackageChange]] = defaultdict(list)

    def apply(self, step: ChangeStep) -> set[ProjectName]:
        """Take the next step; returns the projects that it changes."""
        for change in step.changes:
            if change.project != NO_PROJECT:
                project = self.published.setdefault(change.project, PublishedProject())
                _apply(project, change, step)
            self._of_project[change.project].append(change)
            if change.filename:
                self._of_file[change.filename].append(change)
            self._changes.append(change)
        self.steps.append(step)
        self.number = step.last
        return {change.project for change in step.changes} - {NO_PROJECT}

    def step(self, number: int) -> ChangeStep | None:
        """The step that begins with the number."""
        at = bisect_left(self.steps, number, key=lambda step: step.first)
        found = self.steps[at] if at < len(self.steps) else None
        return found if found and found.first == number else None

    def possible(self, changes: Iterable[PackageChange]) -> Iterator[PackageChange]:
        """The changes, one after the other, without those that restore or remove bytes that are
        not kept, or restore a file beside one of its name."""
        listed: dict[tuple[ProjectName, str], bool] = {}
        for change in changes:
            name = change.project, change.filename
            project = self.published.get(change.project) or PublishedProject()
            is_listed = listed.get(name, change.filename in project.files)
            if change.action is Action.RESTORE:
                fits = not is_listed and self.find(change.project, place_of(change)) is not None
            else:
                fits = change.action is not Action.REMOVE or place_of(change) in project.deleted
            if fits:
                listed[name] = _LISTED_AFTER.get(change.action, is_listed)
                yield change

    def find(self, project: ProjectName, place: KeptPlace) -> PublishedFile | None:
        """A file that is not listed any more, and kept."""
        found = self.published.get(project) or PublishedProject()
        if place in found.replaced and place in needed_by_snapshots(self, project):
            return found.replaced[place]
        return found.deleted.get(place)

    def projects_of(self, filename: str) -> set[ProjectName]:
        """The projects that had a file of that name."""
        return {change.project for change in self._of_file.get(filename, ())}

    def kept_folders(self) -> set[str]:
        """The folders of all files that are listed, or kept."""
        folders = set()
        for name, project in list(self.published.items()):
            files = [*project.files.values(), *project.deleted.values()]
            if project.replaced:
                needed = needed_by_snapshots(self, name)
                files += [each for at, each in list(project.replaced.items()) if at in needed]
            folders |= {file.stored.folder for file in files}
            folders |= {file.stored.attested for file in files}
        return folders

    def changes(self, since: int = 0, limit: int = 1000) -> list[PackageChange]:
        start = bisect_right(self._changes, since, key=lambda change: change.number)
        return self._changes[start : start + limit]

    def changes_of(self, project: ProjectName) -> list[PackageChange]:
        return list(self._of_project.get(project, ()))

    def first_changes(self) -> list[PackageChange]:
        changes = dict(self._of_project)
        return [of_project[0] for project, of_project in changes.items() if project != NO_PROJECT]

    def last_of_file(self, filename: str, *actions: Action) -> PackageChange | None:
        found = reversed(list(self._of_file.get(filename, ())))
        return next((change for change in found if change.action in actions), None)

    def deleted(self) -> list[PackageChange]:
        deletions = [
            file.deletion
            for project in list(self.published.values())
            for file in list(project.deleted.values())
        ]
        return sorted(filter(None, deletions), key=lambda change: change.number)

    def last_number(self) -> int:
        return self.number

    def owners(self, project: ProjectName) -> list[str]:
        found = self.published.get(project)
        return sorted(found.owners) if found else []

    def is_claimed(self, project: ProjectName) -> bool:
        found = self.published.get(project)
        return found is not None and found.is_claimed

    def bytes_of(self, actor: str) -> int:
        return sum(
            file.change.size
            for project in list(self.published.values())
            for file in list(project.files.values())
            if file.change.actor == actor
        )


_LISTED_AFTER = {Action.PUBLISH: True, Action.RESTORE: True, Action.DELETE: False}


def place_of(change: PackageChange) -> KeptPlace:
    return change.sha256, change.filename


def _apply(project: PublishedProject, change: PackageChange, step: ChangeStep) -> None:
    """What one change does to its project. A change that fits nothing has no effect."""
    match change.action:
        case Action.PUBLISH | Action.REPLACE if step.file:
            actor = (change.actor,) if change.actor else ()
            project.owners = project.owners or (actor if step.owners is None else step.owners)
            _list(project, PublishedFile(change, step.file))
        case Action.ATTEST if step.file and (file := project.files.get(change.filename)):
            stored = file.stored.with_attested(step.file)
            project.files[change.filename] = msgspec.structs.replace(file, stored=stored)
        case Action.STATUS:
            active = change.status.status == "active"
            project.status = None if active else change.status
        case Action.CLAIM:
            project.is_claimed = True
        case Action.OWNERS:
            project.owners = step.owners or ()
        case _:
            _apply_to_file(project, change)


def _list(project: PublishedProject, file: PublishedFile) -> None:
    name = file.change.filename
    if former := project.files.get(name):
        project.replaced[former.change.sha256, name] = former
    project.files[name] = file


def _apply_to_file(project: PublishedProject, change: PackageChange) -> None:
    name, at, replace = change.filename, place_of(change), msgspec.structs.replace
    match change.action:
        case Action.YANK | Action.UNYANK if file := project.files.get(name):
            yanked = (change.detail or True) if change.action is Action.YANK else False
            project.files[name] = replace(file, yanked=yanked)
        case Action.DELETE if file := project.files.pop(name, None):
            project.deleted[file.change.sha256, name] = replace(file, deletion=change)
        case Action.RESTORE:
            if file := project.deleted.pop(at, None) or project.replaced.pop(at, None):
                project.files[name] = replace(file, deletion=None)
        case Action.REMOVE:
            project.deleted.pop(at, None)
