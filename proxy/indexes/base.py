"""What an index is: the answers to three questions."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from proxy.model import Artifact, ProjectName, ProjectPage


class Index(Protocol):
    """Answers for projects.

    Raises ``NoSuchProject`` only when it is certain that it does not have the project: that
    error, and no other, lets another index be asked.
    """

    @property
    def name(self) -> str:
        """As the settings call it; for people and logs."""

    async def projects(self) -> Set[ProjectName]:
        """The projects it knows of by itself. A mirror lists what it has stored."""

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        """The project's page.

        A client may insist on news: the answer is then one that was checked with its origin
        after ``checked_after`` (Unix time, seconds), if the origin can be reached.
        Raises ``NoSuchProject``, ``Denied``, ``IndexUnavailable`` or ``UpstreamError``.
        """

    async def file(
        self, project: ProjectName, filename: str, digest: str | None = None
    ) -> Artifact:
        """The file of that name on the project's page, or its ``.metadata`` sibling.

        ``digest`` (as ``File.digest``) names the bytes wanted; other bytes under the same
        name are ``NoSuchFile``. Raises also what ``page`` raises.
        """
