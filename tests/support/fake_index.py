"""An index whose pages and bytes a test lays out itself, for tests of what is built on indexes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Set
from typing import Any

import msgspec

from proxy.errors import NoSuchProject
from proxy.events import Events, FileAnswered, Outcome, PageAnswered, PageChanged
from proxy.indexes import CheckFile, Explanation, Step
from proxy.model import Artifact, Blob, File, ProjectName, ProjectPage
from proxy.storage.in_memory import BytesBlob


class FakeIndex:
    """``error``, if set, is raised by every call; ``outcome`` is that of the events."""

    def __init__(
        self, name: str = "stock", projects: Mapping[str, Iterable[str]] | None = None
    ) -> None:
        """``projects``: file names by project; each file holds its own name."""
        self.name = name
        self.error: Exception | None = None
        self.outcome = Outcome.HIT
        self.asked: list[str] = []
        self.checked_after = 0.0
        self.pages: dict[ProjectName, ProjectPage] = {}
        self.blobs: dict[tuple[str, str], Blob] = {}
        self.events = Events()
        self._versions = 0
        for project, filenames in (projects or {}).items():
            self.page_of(project)
            for filename in filenames:
                self.add(project, filename, filename.encode())

    def page_of(self, name: str, *files: File, **described: Any) -> ProjectPage:
        """Lay out a page, new or changed; ``described`` as for ``ProjectPage``."""
        project = ProjectName(name)
        self._versions += 1
        described.setdefault("version", str(self._versions))
        page = ProjectPage(project, files, source=self.name, **described)
        self.pages[project] = page
        self.events(PageChanged(project))
        return page

    def add(self, name: str, filename: str, content: bytes | Blob, **described: Any) -> File:
        """List one more file; of a blob, ``hashes`` and ``size`` come with ``described``."""
        if isinstance(content, bytes):
            described.setdefault("hashes", {"sha256": hashlib.sha256(content).hexdigest()})
            described.setdefault("size", len(content))
        file = File(filename, f"https://files.example.org/{filename}", **described)
        self.blobs[name, filename] = BytesBlob(content) if isinstance(content, bytes) else content
        former = self.pages.get(ProjectName(name))
        self.page_of(name, *(former.files if former else ()), file)
        return file

    def add_sibling(self, name: str, filename: str, content: bytes) -> None:
        """The bytes of a ``.metadata`` or ``.provenance`` that a listed file promises."""
        self.blobs[name, filename] = BytesBlob(content)

    def describe(self, name: str, **described: Any) -> None:
        """Change what the page says of itself."""
        former = self.pages[ProjectName(name)]
        self._versions += 1
        described.setdefault("version", str(self._versions))
        self.pages[former.project] = msgspec.structs.replace(former, **described)
        self.events(PageChanged(former.project))

    async def projects(self) -> Set[ProjectName]:
        self._ask("projects")
        return set(self.pages)

    async def explain(self, project: ProjectName) -> Explanation:
        self._ask("explain")
        page = self.pages.get(project)
        step = Step(self.name, "fake", "answers" if page else "absent")
        return Explanation(steps=(step,), page=page, listed=page)

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        self._ask(project)
        self.checked_after = checked_after
        if project not in self.pages:
            raise NoSuchProject(project)
        self.events(PageAnswered(project, self.name, self.outcome))
        return self.pages[project]

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        self._ask(f"{project}/{filename}")
        if project not in self.pages:
            raise NoSuchProject(project)
        file = self.pages[project].file(filename, None if digest == "-" else digest)
        if check:
            await check(self.pages[project])
        self.events(FileAnswered(project, filename, self.name, self.outcome))
        return Artifact(file, self.blobs[project, filename])

    def _ask(self, question: str) -> None:
        self.asked.append(question)
        if self.error is not None:
            raise self.error
