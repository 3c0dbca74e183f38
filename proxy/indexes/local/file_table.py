"""The table of a local directory's files, by folder and by project. In memory, no I/O."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.distributions import parse_filename, possible_projects, possible_projects_of_folder
from proxy.indexes.local.folder_tree import Seen
from proxy.indexes.local.inotify import Marks
from proxy.indexes.local.scan import ROOT_FOLDER, DirectoryEntry
from proxy.indexes.local.skip_log import EntryPath
from proxy.model import ProjectName, ProjectStatus

ChangedProjects = set[ProjectName] | None
"""Projects whose pages may have changed; None: any."""


class DirectoryTable:
    """The entries. Every method that changes them returns the projects that are affected."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, DirectoryEntry]] = {}
        self.possible: dict[ProjectName, set[EntryPath]] = {}
        """The places of files that may be a project's."""
        self.named: dict[ProjectName, set[str]] = {}
        """The folders that have a project's name."""
        self._stamps: dict[str, int] = {}
        self._statuses: dict[str, ProjectStatus] = {}
        self.links: set[EntryPath] = set()
        """Entries that are symbolic links: their targets change without an event for the link."""

    @property
    def folders(self) -> set[str]:
        return set(self._folders)

    def get(self, place: EntryPath) -> DirectoryEntry | None:
        return self._folders.get(place[0], {}).get(place[1])

    def all(self) -> list[DirectoryEntry]:
        return [entry for entries in self._folders.values() for entry in entries.values()]

    def entries(self, project: ProjectName) -> list[DirectoryEntry]:
        """The entries that may be the project's, by place; each filename once.

        Of two files of one name, the one in the folder that sorts first counts; the root is first.
        """
        places = sorted(self.possible.get(project, ()), reverse=True)
        by_name = {filename: self._folders[folder][filename] for folder, filename in places}
        return sorted(by_name.values(), key=lambda entry: entry.place)

    def status(self, project: ProjectName) -> ProjectStatus | None:
        """The status (PEP 792) that a folder of the project's name has."""
        folders = sorted(self.named.get(project, ()))
        return next((self._statuses[each] for each in folders if each in self._statuses), None)

    def hidden(self, project: ProjectName) -> set[EntryPath]:
        """Places of files that another file of the same name hides."""
        shown = {entry.place for entry in self.entries(project)}
        return self.possible.get(project, set()) - shown

    def folders_of(self, project: ProjectName) -> set[str]:
        """The folders that are named for the project, or hold files of it; if none, all.

        So a new file in any folder is found before another index is asked for its project.
        """
        holding = {folder for folder, _ in self.possible.get(project, ())}
        return holding | self.named.get(project, set()) or self.folders

    def claims(self, project: ProjectName, *, certainly: bool = False) -> bool:
        """Whether a folder has the project's name, or a file may be its; ``certainly``: or is."""
        return project in self.named or any(
            _claims(self._folders[folder][filename], project, certainly=certainly)
            for folder, filename in self.possible.get(project, ())
        )

    def claimed(self, *, certainly: bool = False) -> set[ProjectName]:
        """All claimed projects; ``certainly``: without those that only a file's content decides."""
        files = {e.project for e in self.all() if e.certain or not certainly}
        return files | set(self.named)

    def places(self, marks: Marks) -> set[EntryPath]:
        """The files that are marked."""
        return marks.files | (self.links if marks.others else set())

    def affected(self, marks: Marks) -> ChangedProjects:
        """Projects whose pages may have changed."""
        if marks.everything or marks.folders:
            return None
        projects: set[ProjectName] = set()
        for place in self.places(marks):
            entry, said = self.get(place), parse_filename(place[1])
            if entry is None and said and not said.certain:
                return None  # only its content says which
            projects.update(entry.candidates if entry else (said.project,) if said else ())
        return projects

    def stamps(self, project: ProjectName | None) -> dict[str, int]:
        """When the root was last modified, and the folders of the project; None: all folders."""
        folders = self.folders_of(project) if project else self.folders
        return {name: self._stamps.get(name, 0) for name in {ROOT_FOLDER, *folders}}

    def take(self, seen: Seen, *, everything: bool = False) -> set[ProjectName]:
        """Enter what a scan has seen; ``everything``: and remove all else."""
        changes: set[ProjectName] = set()
        gone = self.folders - set(seen.folders) if everything else set()
        for name, folder in {**seen.folders, **dict.fromkeys(gone)}.items():
            self._stamps[name] = folder.stamp if folder else 0
            self._statuses.pop(name, None)
            if folder and folder.status:
                self._statuses[name] = folder.status
            changes |= self.put_folder(name, folder.entries if folder else None)
        for place, found in seen.files.items():
            changes |= self.put(place, found if isinstance(found, DirectoryEntry) else None)
        return changes

    def put(self, place: EntryPath, entry: DirectoryEntry | None) -> set[ProjectName]:
        """Set or remove one entry; nothing happens in a folder that is not there."""
        folder = self._folders.get(place[0])
        old = folder.get(place[1]) if folder is not None else None
        if folder is None or old == entry:
            return set()
        if old:
            self._unlink(old)
            del folder[place[1]]
        if entry:
            folder[place[1]] = entry
            if entry.linked:
                self.links.add(place)
            for project in entry.candidates:
                self.possible.setdefault(project, set()).add(place)
        return {project for some in (old, entry) if some for project in some.candidates}

    def put_folder(
        self, folder: str, entries: Mapping[str, DirectoryEntry] | None
    ) -> set[ProjectName]:
        """Set all entries of a folder; None: the folder is gone."""
        new = entries or {}
        changes = self._name(folder, there=entries is not None)
        for filename in {*self._folders.setdefault(folder, {}), *new}:
            changes |= self.put((folder, filename), new.get(filename))
        if entries is None:
            del self._folders[folder]
        return changes

    def _name(self, folder: str, *, there: bool) -> set[ProjectName]:
        """Note the claim of a folder that comes or goes; only those in the root claim names."""
        if (folder in self._folders) is there or folder == ROOT_FOLDER or "/" in folder:
            return set()
        projects = possible_projects_of_folder(folder)
        for project in projects:
            folders = self.named.setdefault(project, set())
            (folders.add if there else folders.discard)(folder)
            if not folders:
                del self.named[project]
        return set(projects)

    def _unlink(self, entry: DirectoryEntry) -> None:
        self.links.discard(entry.place)
        for project in entry.candidates:
            places = self.possible[project]
            places.discard(entry.place)
            if not places:
                del self.possible[project]


def _claims(entry: DirectoryEntry, project: ProjectName, *, certainly: bool) -> bool:
    if entry.certain:
        return entry.project == project
    return not certainly and project in possible_projects(entry.filename)
