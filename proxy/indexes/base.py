"""The contract of an index: which projects, which page, which file.

``tests/contracts`` has the suite that every implementation runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Set
from typing import Protocol

from proxy.indexes.explanation import Explanation
from proxy.model import Artifact, ProjectName, ProjectPage

CheckFile = Callable[[ProjectPage], Awaitable[None]]
"""Gets the page that lists a file which is asked for; what it raises is the answer."""


class Index(Protocol):
    """Answers for projects.

    Raises ``NoSuchProject`` only when it is certain that it does not have the project: that
    error, and no other, lets another index be asked.
    """

    @property
    def name(self) -> str:
        """As the settings call it; for people and logs."""

    async def projects(self) -> Set[ProjectName]:
        """The projects that this index can list. A mirror lists those it has stored."""

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        """The project's page.

        ``checked_after``: Unix time in seconds. The answer is a page that was checked with its
        origin after that time, if the origin can be reached.
        Raises ``NoSuchProject``, ``Denied``, ``IndexUnavailable`` or ``UpstreamError``.
        """

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        """The file of that name on the project's page, or its ``.metadata`` or ``.provenance``.

        ``digest`` (as ``File.address_digest``, of the distribution) names the bytes wanted;
        other bytes under the same name are ``NoSuchFile``. ``check`` is awaited with the page
        that lists the file before anything of the file is fetched or marked as used; for a
        stored file that the project's page no longer lists, with a page of that file alone.
        Raises also what ``page`` and ``check`` raise.
        """

    async def explain(self, project: ProjectName) -> Explanation:
        """The answer that ``page`` would give, and its reasons, without a request to an upstream.

        Raises nothing: an error is a step of the explanation.
        """


class PrivateIndex(Index, Protocol):
    """An index whose names are private: no upstream is asked for them."""

    @property
    def root(self) -> str:
        """Where its packages are: an absolute path, or an address. Names are claimed for it."""

    @property
    def is_there(self) -> bool:
        """False only for what is optional, and has not appeared so far."""

    def poll(self) -> None:
        """Emit ``PageChanged`` for the changes so far. Takes microseconds."""

    async def release(self, project: ProjectName) -> None:
        """Give up the claim on a project, unless files of it are here."""
