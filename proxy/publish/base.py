"""Contracts of publishing: the place that keeps packages and changes them, and its journal.

``tests/contracts`` has the suite that every place runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from proxy.indexes import Index
from proxy.model import Blob, File, ProjectName
from proxy.publish.package_changes import Action, PackageChange

Prepare = Callable[[], Awaitable[Sequence[PackageChange]]]
"""Checks what is published now, and returns the changes to make, all of one step. An exception ends
the step. It may be awaited again: another process may have been faster."""


class Content(msgspec.Struct, frozen=True):
    """The bytes of a file that is to be published."""

    path: Path
    """A complete file that is durable, last modified when its bytes were uploaded."""
    beside: Mapping[str, bytes] = {}
    """Further files by suffix, such as signatures."""


KeptPlace = tuple[str, str]
"""The sha256 and the name of a file."""


class KeptPackages(Protocol):
    """Files that are not listed any more, and whose bytes are not removed yet.

    All methods raise ``IndexUnavailable``.
    """

    async def find(self, places: Iterable[KeptPlace]) -> dict[KeptPlace, File]:
        """Those of the files that are kept, as pages list them."""

    async def blob(self, place: KeptPlace, suffix: str = "") -> Blob:
        """The bytes of a file that was found, or of a file beside it, such as ``.metadata``."""


class ChangeJournal(Protocol):
    """The changes so far, and what follows from them.

    All methods block, and belong in threads. They raise ``OSError``.
    """

    def changes(self, since: int = 0, limit: int = 1000) -> list[PackageChange]:
        """The changes after that number, the oldest first."""

    def changes_of(self, project: ProjectName) -> list[PackageChange]:
        """All changes of a project, the oldest first; those of ``NO_PROJECT``: of the index."""

    def first_changes(self) -> list[PackageChange]:
        """The first change of each project that has any."""

    def last_of_file(self, filename: str, *actions: Action) -> PackageChange | None:
        """The newest change of the file that is one of these."""

    def deleted(self) -> list[PackageChange]:
        """The deletion of each file that was neither restored nor removed since."""

    def last_number(self) -> int:
        """Of the newest change; 0 if there is none."""

    def owners(self, project: ProjectName) -> list[str]:
        """The users who may change the project, sorted; none: all who may upload."""

    def is_claimed(self, project: ProjectName) -> bool:
        """Whether an administrator has claimed the name for this index."""

    def bytes_of(self, actor: str) -> int:
        """Bytes of the files that the user has published, without those deleted or replaced."""


class PackageStore(Protocol):
    """Where an index has its packages. Several processes may change them at the same time."""

    @property
    def index(self) -> Index:
        """Lists the packages; a change that ``make`` has made is on the next page."""

    @property
    def journal(self) -> ChangeJournal: ...

    @property
    def kept(self) -> KeptPackages: ...

    @property
    def incoming(self) -> Path:
        """The folder of spool files for uploads."""

    async def open(self) -> None:
        """Complete the changes of dead processes."""

    async def spread(self, made: Sequence[PackageChange]) -> None:
        """Wait until all servers know these changes."""

    async def tidy(self) -> None:
        """Remove what dead processes left. Called now and then. May raise ``ProxyError``."""

    async def close(self) -> None: ...

    async def held(self, project: ProjectName) -> Sequence[File]:
        """The listed files, and those of a quarantined project, which its page does not list."""

    async def make(
        self,
        prepare: Prepare,
        content: Content | None = None,
        owners: Sequence[str] | None = None,
    ) -> list[PackageChange]:
        """Make the changes that ``prepare`` returns, durably; returns those that were made.

        Changes that have become impossible are left out: to restore or remove bytes that are not
        kept, and to publish bytes that are published already. ``content``: of a file that the first
        change publishes or replaces; of a change that attests, what is to be written beside the
        file, and the bytes stay. ``owners``: the users of a change of owners; of a file that is
        published, those of its project if it has none, where None means the actor. A kill at any
        moment leaves each file as before, or changed. Raises ``FileConflict``, other ``ProxyError``
        if the place does not answer, and ``OSError``.
        """

    def staged(self, file: File, folder: Path) -> AbstractAsyncContextManager[Content]:
        """A listed file with all files beside it, as a spool file in the folder.

        Raises ``UploadRefused`` if the bytes are not those that are listed, and ``OSError``.
        """
