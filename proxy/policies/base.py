"""The contract of policies: rules about which projects and files an index shows."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Literal, Protocol

import msgspec

from proxy.model import ProjectName, ProjectPage
from proxy.policies.parsed_page import ParsedPage

Mode = Literal["enforce", "observe"]
"""``observe``: the verdicts are recorded, and the files pass."""
Look = Literal["hide", "yank"]
"""A refused file is left out of the page, or is shown as yanked with the reason (PEP 592)."""


class Verdict(msgspec.Struct, frozen=True):
    """What a policy says about one file."""

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
    """What a policy judges: all files of a page, at one instant."""

    page: ProjectPage
    now: float
    """Unix time in seconds."""
    parsed: ParsedPage
    """What the names of the files say; positions are those of ``page.files``."""
    refused: Set[int] = frozenset()
    """The positions of the files that other enforced policies refuse, for a policy that
    ``judges_last``."""


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
    judges_files: bool = True
    """False: ``judge`` never has a verdict, and is not called."""
    judges_last: bool = False
    """The verdicts depend on what the other policies refuse: see ``PageView.refused``."""
    is_changing: bool = False
    """What the policy knows may change at any time, so clients may reuse pages for less time."""

    def admit(self, project: ProjectName) -> None:
        """Called before any I/O.

        Raises ``NoSuchProject``, ``Denied`` or ``IndexUnavailable``; then no index is asked.
        """
        return

    def judge(self, view: PageView) -> Iterable[tuple[int, Verdict]]:
        """Verdicts by the position of the file in ``view.page.files``.

        No I/O, and the same verdicts for the same view until the earliest ``until``. A file
        without a verdict passes. May run in a thread.
        """
        return ()
