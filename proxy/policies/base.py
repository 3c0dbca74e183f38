"""The contract of policies: rules about which projects and files an index shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from proxy.model import ProjectName, ProjectPage

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


class PageView(msgspec.Struct, frozen=True):
    """What a policy judges: all files of a page, at one instant."""

    page: ProjectPage
    now: float
    """Unix time in seconds."""


class Policy(Protocol):
    """A rule about what an index shows.

    Pages are judged as a whole: a rule such as "the newest three versions" needs all files. A
    stored file that its page no longer lists is judged on a page of its own.
    """

    @property
    def name(self) -> str:
        """As the settings call it."""

    @property
    def mode(self) -> Mode: ...

    @property
    def show(self) -> Look: ...

    @property
    def judges_files(self) -> bool:
        """False: ``judge`` never has a verdict, and is not called."""

    def admit(self, project: ProjectName) -> None:
        """Called before any I/O.

        Raises ``NoSuchProject``, ``Denied`` or ``IndexUnavailable``; then no index is asked.
        """

    def judge(self, view: PageView) -> Iterable[tuple[int, Verdict]]:
        """Verdicts by the position of the file in ``view.page.files``.

        No I/O, and the same verdicts for the same view until the earliest ``until``. A file
        without a verdict passes. May run in a thread.
        """
