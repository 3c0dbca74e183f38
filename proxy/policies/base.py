"""The contract of policies: rules about which projects and files an index shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Set
from typing import Literal, Protocol

import msgspec

from proxy.model import Artifact, File, ProjectName, ProjectPage
from proxy.policies.parsed_page import ParsedPage

Mode = Literal["enforce", "observe"]
"""``observe``: the verdicts are recorded, and the files pass."""
Look = Literal["hide", "yank"]
"""A refused file is left out of the page, or is shown as yanked with the reason (PEP 592)."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The decision of a policy about one file."""

    rule: str
    """The name of the rule that decided, for logs and events."""
    reason: str
    """One sentence for the client."""
    until: float | None = None
    """Unix time in seconds at which the verdict may change; None: only with the page or the
    policy."""
    refuses: bool = True
    """False: the file passes; such a verdict only says until when."""
    exemption: str = ""
    """Why the file passes although the rule refuses it: the reason of the exemption."""
    spares_locked: bool = False
    """The file passes at an address with its full sha256, as lock files have it."""


class PageView(msgspec.Struct, frozen=True):
    """All files of a page at one instant, for policies to judge."""

    page: ProjectPage
    now: float
    """Unix time in seconds."""
    parsed: ParsedPage
    """What the names of the files say; positions are those of ``page.files``."""
    refused: Set[int] = frozenset()
    """The positions of the files that other enforced policies refuse, for a policy that
    ``judges_last``."""


OpenFile = Callable[[str], Awaitable[Artifact]]
"""Opens a file of a page by its name, or the sibling of one, whatever policies say of the file."""


class Facts(Protocol):
    """Facts about single files, collected before pages are judged, and never by ``judge``.

    No method raises an error of the index or the network: then the fact stays unknown.
    """

    async def load(self, project: ProjectName) -> None:
        """Before a page of the project is judged: take into memory what is stored."""

    async def prefetch(self, page: ProjectPage, open_file: OpenFile) -> None:
        """For a page that a client requested: begin to collect in the background."""

    async def learn(self, page: ProjectPage, file: File, open_file: OpenFile) -> None:
        """Before the page is judged for a request for this file, or a sibling of this file."""


class NoVerdict(ValueError):
    """A rule cannot judge a file, and says why: what it needs to know of the file is absent."""


class Policy(Protocol):
    """A rule about what an index shows. Implementations inherit the defaults of the optional parts.

    Pages are judged as a whole: a rule such as "the newest three versions" needs all files. A
    stored file that its page no longer lists is judged on a page of its own.
    """

    name: str
    """As the settings call it."""
    kind: str = ""
    """As the settings call it; empty for a rule that has no table."""
    mode: Mode = "enforce"
    show: Look = "hide"
    judges_projects: bool = True
    """False: ``admit`` never raises, and is not called."""
    judges_files: bool = True
    """False: ``judge`` never has a verdict, and is not called."""
    judges_last: bool = False
    """The verdicts depend on what the other policies refuse: see ``PageView.refused``."""
    facts: Facts | None = None
    """Those that the verdicts depend on."""
    is_changing: bool = False
    """The facts of the policy may change at any time, so clients may reuse pages for less time."""

    def admit(self, project: ProjectName) -> None:
        """Called before any I/O.

        Raises ``NoSuchProject``, ``Denied`` or ``IndexUnavailable``; then no index is asked.
        """
        return

    def concerns(self, project: ProjectName) -> bool:
        """Whether there may be verdicts about the project."""
        return True

    def judge(self, view: PageView) -> Iterable[tuple[int, Verdict]]:
        """Verdicts by the position of the file in ``view.page.files``.

        No I/O, and the same verdicts for the same view until the earliest ``until``. A file
        without a verdict passes. May run in a thread.
        """
        return ()
