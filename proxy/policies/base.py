"""What a policy is: a rule about what may be seen, asked at two moments."""

from __future__ import annotations

from typing import Protocol

from proxy.model import File, ProjectName


class Policy(Protocol):
    """Judges projects before anything is asked, and files after the answer.

    Files are judged one by one, not as a page: so a file asked for by its address is judged
    by the very rule that keeps it off the page, without the page being at hand.
    """

    @property
    def judges_files(self) -> bool:
        """False: every file of an admitted project is allowed, so none need be looked at."""

    def admit(self, project: ProjectName) -> None:
        """Raises ``NoSuchProject``, ``Denied`` or ``IndexUnavailable``; then no index is asked."""

    def allows(self, project: ProjectName, file: File) -> bool: ...
